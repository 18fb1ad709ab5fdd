"""API keys: how one is made and checked, and what is kept of it."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

import attrs

from atriz_realtime.api import ConfigurationError, EntityRef, format_timestamp

Action = Literal["publish", "track"]

PREFIX = "ak_"
"""How every key begins; no JWT does, whose first character is always ``e``."""

ID_BYTES = 8
"""Random bytes of a new id.  It is public, and only has to be unique."""

SECRET_BYTES = 32
"""Random bytes of a new secret: 256 bits, 43 characters of URL-safe base64."""

KEY_FORM = re.compile(r"ak_(?P<id>[a-z0-9]{1,32})_(?P<secret>[A-Za-z0-9_-]{43,128})")
"""A whole key.  Ids are lower-case, as environment variables that configure them are read so."""

MAX_LABEL = 100
"""Characters of a label."""

MAX_SCOPE = 256
"""Characters of a scope."""

_ID_FORM = re.compile(r"[a-z0-9]{1,32}")
_HASH_FORM = re.compile(r"sha256:[0-9a-f]{64}")

NO_HASH = "sha256:" + "0" * 64
"""What a key with an unknown id is compared with; the hash of nothing that anybody has."""


def new_key() -> tuple[str, str]:
    """Make a key; returns its id, and the key itself, which is nowhere kept."""
    key_id = secrets.token_hex(ID_BYTES)
    return key_id, f"{PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"


def hash_key(key: str) -> str:
    """What is kept instead of a key.

    One SHA-256 is enough, without salt or stretching: those make guessing slow where there
    are few likely secrets, as with passwords, but nobody guesses 256 random bits however
    fast the hash is.  NIST SP 800-63B, section 5.1.2.2, draws that line at 112 bits: secrets
    above it "SHALL be hashed with an approved one-way function", those below with a salted
    key derivation function.  A slow one would cost every request its time instead.  The id
    is hashed with the secret, so that a hash is of no use under another id.
    """
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def hash_matches(key: str, stored: str) -> bool:
    """Whether a hash is that of a key, in a time that does not tell how much of it is."""
    return hmac.compare_digest(hash_key(key), stored)


def is_id(value: object) -> bool:
    """Whether something can be the id of a key."""
    return isinstance(value, str) and _ID_FORM.fullmatch(value) is not None


def _check_id(_: object, __: object, value: Any) -> None:
    # the message leaves the value out: somebody may have put a key there
    if not is_id(value):
        raise ConfigurationError("an id is 1 to 32 lower-case letters and digits")


def _check_hash(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str) or not _HASH_FORM.fullmatch(value):
        raise ConfigurationError("hash must be sha256: and 64 hexadecimal digits", field="hash")


def _scopes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(scope, str) for scope in value):
        raise ConfigurationError("publish and track must be lists of scopes such as vehicle:bus-*")
    return tuple(value)


def _check_scopes(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for scope in value:
        kind, _separator, entity_id = scope.partition(":")
        if not kind or not entity_id or not scope.isprintable() or len(scope) > MAX_SCOPE:
            raise ConfigurationError(
                f"{attribute.name}: a scope is <type>:<id>, such as vehicle:bus-*",
                field=attribute.name,
            )


def _text(limit: int) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, str) or len(value) > limit or not value.isprintable():
            raise ConfigurationError(
                f"{attribute.name} must be at most {limit} printable characters",
                field=attribute.name,
            )

    return check


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, datetime) and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ConfigurationError(
        "expires must be a time with a zone, such as 2027-01-31T12:00:00Z", field="expires"
    )


@attrs.frozen(kw_only=True)
class ApiKey:
    """What is known of a key: everything but the key.

    :raises ConfigurationError: naming the field that cannot be, without its value.
    """

    id: str = attrs.field(validator=_check_id)
    """The public part."""
    hash: str = attrs.field(validator=_check_hash, repr=False)
    """See :func:`hash_key`."""
    publish: tuple[str, ...] = attrs.field(default=(), converter=_scopes, validator=_check_scopes)
    """What it may publish: ``<type>:<id>``, each part a pattern with ``*``, ``?`` and ``[…]``."""
    track: tuple[str, ...] = attrs.field(default=(), converter=_scopes, validator=_check_scopes)
    """What it may watch and read, in the same form; nothing unless said."""
    label: str = attrs.field(default="", validator=_text(MAX_LABEL))
    """A name for people."""
    user: str = attrs.field(validator=_text(256))
    """The user it acts for."""
    expires: datetime | None = attrs.field(default=None, converter=_moment)
    """When it stops to be good; ``None``: never."""

    @user.default
    def _own_user(self) -> str:
        return f"device:{self.id}"

    def __attrs_post_init__(self) -> None:
        if not self.publish and not self.track:
            raise ConfigurationError("publish or track must name what the key is for")
        if not self.user:
            raise ConfigurationError("user must not be empty", field="user")

    @classmethod
    def from_table(cls, key_id: str, table: object) -> ApiKey:
        """Read a table of the configuration.

        :raises ConfigurationError: for an unknown name, too: a misspelt ``expires`` would
            make a key that never does.
        """
        if not isinstance(table, Mapping):
            raise ConfigurationError("must be a table with hash, and publish or track")
        known = sorted(attrs.fields_dict(cls).keys() - {"id"})
        for name in table:
            if name not in known:
                raise ConfigurationError(
                    f"unknown key {str(name)[:16]!r}; there are {', '.join(known)}"
                )
        if "hash" not in table:
            raise ConfigurationError("hash is required", field="hash")
        return cls(id=key_id, **table)

    def to_table(self) -> dict[str, Any]:
        """Plain values, those that say nothing left out."""
        table: dict[str, Any] = {
            "hash": self.hash,
            "publish": list(self.publish),
            "track": list(self.track),
            "label": self.label,
            "user": self.user,
        }
        if self.expires is not None:
            table["expires"] = format_timestamp(self.expires)
        return {name: value for name, value in table.items() if value}

    def expired(self, now: float) -> bool:
        """Whether it is no longer good at a time, in seconds since the epoch."""
        return self.expires is not None and self.expires.timestamp() <= now

    def may(self, action: Action, entity: EntityRef) -> bool:
        """Whether one of its scopes covers an entity."""
        scopes = self.publish if action == "publish" else self.track
        return any(_covers(scope, entity) for scope in scopes)


def _covers(scope: str, entity: EntityRef) -> bool:
    """The parts are matched apart: no ``*`` reaches over the colon into the other."""
    kind, _, entity_id = scope.partition(":")
    return fnmatchcase(entity.type, kind) and fnmatchcase(entity.id, entity_id)

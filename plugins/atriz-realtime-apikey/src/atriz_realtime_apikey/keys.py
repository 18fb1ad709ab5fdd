"""API keys: their form, their hash, and the record that is stored of each."""

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
"""The prefix of every key, and of no JWT: those start with ``e``."""

ID_BYTES = 8
"""Random bytes of a new id, which is public and only has to be unique."""

SECRET_BYTES = 32
"""Random bytes of a new secret: 256 bits, 43 characters of URL-safe base64."""

KEY_FORM = re.compile(r"ak_(?P<id>[a-z0-9]{1,32})_(?P<secret>[A-Za-z0-9_-]{43,128})")
"""A whole key.  Ids are lower case, like the keys of settings in environment variables."""

MAX_LABEL = 100
"""Characters of a label."""

MAX_SCOPE = 256
"""Characters of a scope."""

_ID_FORM = re.compile(r"[a-z0-9]{1,32}")
_HASH_FORM = re.compile(r"sha256:[0-9a-f]{64}")

NO_HASH = "sha256:" + "0" * 64
"""The hash that a key with an unknown id is compared with; no key has it."""


def new_key() -> tuple[str, str]:
    """Make a key; returns its id and the key, which is stored nowhere."""
    key_id = secrets.token_hex(ID_BYTES)
    return key_id, f"{PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"


def hash_key(key: str) -> str:
    """The hash that is stored instead of a key.

    One SHA-256 is enough, without salt or stretching.  Those slow down guessing where few secrets
    are likely, as with passwords; 256 random bits cannot be guessed however fast the hash is.
    NIST SP 800-63B, section 5.1.2.2, draws the line at 112 bits: secrets above it "SHALL be hashed
    with an approved one-way function", those below with a salted key derivation function.  A slow
    function would only delay every request.  The hash covers the id, so it is useless under
    another id.
    """
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def hash_matches(key: str, stored: str) -> bool:
    """Whether a hash is that of a key, compared in constant time."""
    return hmac.compare_digest(hash_key(key), stored)


def is_id(value: object) -> bool:
    """Whether a value has the form of a key's id."""
    return isinstance(value, str) and _ID_FORM.fullmatch(value) is not None


def _check_id(_: object, __: object, value: Any) -> None:
    # the message leaves out the value, which may be a key
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
    """The record of a key, which does not contain the key.

    :raises ConfigurationError: naming the invalid field, without its value.
    """

    id: str = attrs.field(validator=_check_id)
    """The public part."""
    hash: str = attrs.field(validator=_check_hash, repr=False)
    """See :func:`hash_key`."""
    publish: tuple[str, ...] = attrs.field(default=(), converter=_scopes, validator=_check_scopes)
    """Entities it may publish: ``<type>:<id>``, each part a pattern with ``*``, ``?``, ``[…]``."""
    track: tuple[str, ...] = attrs.field(default=(), converter=_scopes, validator=_check_scopes)
    """Entities it may track and read, in the same form."""
    label: str = attrs.field(default="", validator=_text(MAX_LABEL))
    """A name for people."""
    user: str = attrs.field(validator=_text(256))
    """The user it acts for."""
    expires: datetime | None = attrs.field(default=None, converter=_moment)
    """When it expires; ``None``: never."""

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

        :raises ConfigurationError: also for an unknown name: a misspelt ``expires`` would make a
            key that never expires.
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
        """Plain values; empty ones are left out."""
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
        """Whether it has expired at a time, in seconds since the epoch."""
        return self.expires is not None and self.expires.timestamp() <= now

    def may(self, action: Action, entity: EntityRef) -> bool:
        """Whether one of its scopes allows an action on an entity."""
        scopes = self.publish if action == "publish" else self.track
        return any(_covers(scope, entity) for scope in scopes)


def _covers(scope: str, entity: EntityRef) -> bool:
    """Match the two parts separately: no ``*`` extends across the colon."""
    kind, _, entity_id = scope.partition(":")
    return fnmatchcase(entity.type, kind) and fnmatchcase(entity.id, entity_id)

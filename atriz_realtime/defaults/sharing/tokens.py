"""The tokens and ids of shares, which carry everything about a share: none is stored.

A token is a JWT with a type and an audience of its own (RFC 8725, sections 3.11 and 3.12), signed
with a key that is derived for this purpose, so a token of a share never passes for a user's, nor
a user's for one of a share.  An id holds the time when its share ends, and a tag by which the
server recognises the user who created it.
"""

from __future__ import annotations

import base64
import hmac
import math
import secrets
import time
from typing import Any

import attrs
import jwt

from atriz_realtime.api import (
    AuthenticationRejected,
    EntityRef,
    Identity,
    InvalidRequest,
    NotAuthorized,
    RealtimeError,
)
from atriz_realtime.defaults.shared.extras import extra
from atriz_realtime.defaults.sharing.details import Details

NAME = "sharing"
"""The name of the plugin's authenticator, and of its view."""

TYPE = "share+jwt"
AUDIENCE = "atriz-realtime:share"
ALGORITHM = "HS256"

HEADER = jwt.encode({}, bytes(32), ALGORITHM, {"typ": TYPE}).partition(".")[0] + "."
"""The first characters of every token of a share, and of no other token."""

SHOW_CLAIM = "show"
"""The claim of an identity that says what its link shows of ``metadata``; missing: all."""

MAX_TOKEN_LENGTH = 4_096
"""Characters of a share's token; a longer one is refused without being parsed."""

_REQUIRED = ("aud", "exp", "iat", "jti", "type", "id")

_MALFORMED = (jwt.PyJWTError, RealtimeError, ValueError, AttributeError)

_EXPIRY_BYTES = 5
_RANDOM_BYTES = 9
_TAG_BYTES = 10
_NONCE_BYTES = 12
_ID_BYTES = _EXPIRY_BYTES + _RANDOM_BYTES + _TAG_BYTES


@attrs.frozen
class Share:
    """A share: one entity, for a while."""

    id: str
    entity: EntityRef
    issued: int
    """Seconds since the epoch."""
    expires: int
    """Seconds since the epoch."""
    by: str | None = None
    """The user who created it; ``None``: the operator, on the command line."""
    details: Details = attrs.field(factory=Details)
    """What its creator says about the entity."""

    def identity(self) -> Identity:
        """The identity of a token's holder."""
        claims: dict[str, Any] = {"jti": self.id, "iat": self.issued}
        if self.details.show is not None:
            claims[SHOW_CLAIM] = self.details.show
        return Identity(
            user_id=f"share:{self.id}",
            claims=claims,
            authenticator=NAME,
            expires_at=self.expires,
            only=self.entity,
            granted_by=self.by,
            sees_from=self.issued,
        )


class ShareTokens:
    """Makes tokens, and reads them.

    :param secret: the keys are derived from it; a new one ends every share.
    :raises ConfigurationError: when ``cryptography`` is not installed.
    """

    def __init__(self, secret: str) -> None:
        def key(purpose: str) -> bytes:
            return hmac.digest(
                secret.encode(), f"atriz-realtime share {purpose}".encode(), "sha256"
            )

        self._signing = key("signature")
        self._naming = key("id")
        with extra("crypto", "plugin sharing"):
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
        self._cipher = AESGCM(key("creator"))
        self._invalid_tag = InvalidTag

    def make(
        self,
        entity: EntityRef,
        seconds: int,
        by: str | None = None,
        details: Details | None = None,
    ) -> tuple[Share, str]:
        """Make a share that starts now, and its token.

        :raises InvalidRequest: when the token would be too long to be read.
        """
        details = details or Details()
        now = time.time()
        expires = math.ceil(now + seconds)
        unique = expires.to_bytes(_EXPIRY_BYTES) + secrets.token_bytes(_RANDOM_BYTES)
        share = Share(_text(unique + self._tag(unique, by)), entity, int(now), expires, by, details)
        claims: dict[str, Any] = {
            "aud": AUDIENCE,
            "jti": share.id,
            "iat": share.issued,
            "exp": share.expires,
            "type": entity.type,
            "id": entity.id,
            **details.to_wire(),
        }
        if by is not None:  # encrypted: the holder of the link need not know it
            nonce = secrets.token_bytes(_NONCE_BYTES)
            sealed = self._cipher.encrypt(nonce, by.encode(), share.id.encode())
            claims["by"] = _text(nonce + sealed)
        token = jwt.encode(claims, self._signing, ALGORITHM, {"typ": TYPE})
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidRequest("the link would be too long: use a shorter name or label")
        return share, token

    def read(self, token: str, *, expired: bool = False) -> Share | None:
        """The share of a token; ``None`` for a token of another kind.

        :param expired: whether to read one that has expired.
        :raises AuthenticationRejected: when it is forged, malformed or expired.
        """
        if not token.startswith(HEADER):
            return None
        if len(token) > MAX_TOKEN_LENGTH:
            raise AuthenticationRejected("the token is too long")
        try:
            claims = jwt.decode(
                token,
                self._signing,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                # another server's clock may be ahead of this one's
                options={
                    "require": list(_REQUIRED),
                    "verify_iat": False,
                    "verify_exp": not expired,
                },
            )
            by = None
            if "by" in claims:
                sealed = _bytes(claims["by"])
                nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
                by = self._cipher.decrypt(nonce, encrypted, claims["jti"].encode()).decode()
            entity = EntityRef(claims["type"], claims["id"])
            details = Details.from_wire(claims)
        except (*_MALFORMED, self._invalid_tag) as error:
            raise AuthenticationRejected(f"a share's token: {type(error).__name__}") from None
        issued, expires = int(claims["iat"]), int(claims["exp"])
        return Share(claims["jti"], entity, issued, expires, by, details)

    def made_by(self, share_id: str, user: str) -> int:
        """The time when a user's share ends, in seconds since the epoch.

        :raises NotAuthorized: when another user created it, or the id is no share's.
        """
        try:
            raw = _raw_id(share_id)
        except InvalidRequest:
            raise NotAuthorized from None
        unique, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(unique, user)):
            raise NotAuthorized
        return expiry_of(share_id)

    def _tag(self, unique: bytes, by: str | None) -> bytes:
        return hmac.digest(self._naming, unique + (by or "").encode(), "sha256")[:_TAG_BYTES]


def expiry_of(share_id: str) -> int:
    """The time when a share ends, in seconds since the epoch, from its id.

    :raises InvalidRequest: when the id is no share's.
    """
    return int.from_bytes(_raw_id(share_id)[:_EXPIRY_BYTES])


def id_in(text: str) -> str:
    """The id of a share, from its link, its token or the id itself.

    The signature is not checked: a caller that has the id may end the share.

    :raises InvalidRequest: when the text is none of the three.
    """
    last = text.rpartition("#")[2].rpartition("/")[2]
    if not last.startswith(HEADER):
        _raw_id(last)
        return last
    try:
        found = jwt.decode(last, options={"verify_signature": False}).get("jti", "")
    except jwt.PyJWTError:
        found = ""
    _raw_id(found)
    return str(found)


def _raw_id(share_id: str) -> bytes:
    try:
        raw = _bytes(share_id)
    except (ValueError, AttributeError):
        raw = b""
    if len(raw) != _ID_BYTES or _text(raw) != share_id:
        raise InvalidRequest("that is no share", field="id")
    return raw


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), b"-_", validate=True)

"""The tokens of shares, and their ids: nothing about a share is stored anywhere.

A token is a JWT of a kind of its own (RFC 8725, sections 3.11 and 3.12): its type and its
audience are no other token's, and it is signed with a key that is derived for this alone,
so that neither passes for the other whatever the rest says.  An id says when its share ends,
and to whoever has the key, whether a user made it.
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
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from atriz_realtime.api import (
    AuthenticationRejected,
    EntityRef,
    Identity,
    InvalidRequest,
    NotAuthorized,
    RealtimeError,
)

NAME = "sharing"
"""The authenticator that knows these tokens, and the view of those who have one."""

TYPE = "share+jwt"
AUDIENCE = "atriz-realtime:share"
ALGORITHM = "HS256"

HEADER = jwt.encode({}, bytes(32), ALGORITHM, {"typ": TYPE}).partition(".")[0] + "."
"""What every token begins with: one that begins otherwise is somebody else's."""

MAX_TOKEN_LENGTH = 4_096
"""Characters of the token of a share; a longer one is refused unread."""

_REQUIRED = ("aud", "exp", "iat", "jti", "type", "id")

_EXPIRY_BYTES = 5
_RANDOM_BYTES = 9
_TAG_BYTES = 10
_ID_BYTES = _EXPIRY_BYTES + _RANDOM_BYTES + _TAG_BYTES
_NONCE_BYTES = 12


@attrs.frozen
class Share:
    """Who may see what, and until when."""

    id: str
    entity: EntityRef
    issued: int
    """Seconds since the epoch."""
    expires: int
    """Seconds since the epoch."""
    by: str | None = None
    """The user who made it; ``None``: who runs the server did."""

    def identity(self) -> Identity:
        """Who has the token."""
        return Identity(
            user_id=f"share:{self.id}",
            claims={"jti": self.id, "iat": self.issued},
            authenticator=NAME,
            expires_at=self.expires,
            only=self.entity,
            granted_by=self.by,
        )


class ShareTokens:
    """Makes tokens and reads them.

    :param secret: what the keys are derived from; another one ends every share.
    """

    def __init__(self, secret: str) -> None:
        def key(purpose: str) -> bytes:
            return hmac.digest(
                secret.encode(), f"atriz-realtime share {purpose}".encode(), "sha256"
            )

        self._signing = key("signature")
        self._naming = key("id")
        self._sealing = AESGCM(key("creator"))

    def make(self, entity: EntityRef, seconds: int, by: str | None = None) -> tuple[Share, str]:
        """A share from now on, and its token."""
        now = time.time()
        expires = math.ceil(now + seconds)
        unique = expires.to_bytes(_EXPIRY_BYTES) + secrets.token_bytes(_RANDOM_BYTES)
        share = Share(_text(unique + self._tag(unique, by)), entity, int(now), expires, by)
        claims: dict[str, Any] = {
            "aud": AUDIENCE,
            "jti": share.id,
            "iat": share.issued,
            "exp": share.expires,
            "type": entity.type,
            "id": entity.id,
        }
        if by is not None:  # which the bearer need not know
            nonce = secrets.token_bytes(_NONCE_BYTES)
            sealed = self._sealing.encrypt(nonce, by.encode(), share.id.encode())
            claims["by"] = _text(nonce + sealed)
        return share, jwt.encode(claims, self._signing, ALGORITHM, {"typ": TYPE})

    def read(self, token: str) -> Share | None:
        """The share that a token is of; ``None`` when it is a token of another kind.

        :raises AuthenticationRejected: when it is of none, or of one that has expired.
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
                options={"require": list(_REQUIRED), "verify_iat": False},
            )
            by = None
            if "by" in claims:
                sealed = _bytes(claims["by"])
                by = self._sealing.decrypt(
                    sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], claims["jti"].encode()
                ).decode()
            entity = EntityRef(claims["type"], claims["id"])
        except (jwt.PyJWTError, InvalidTag, RealtimeError, ValueError, AttributeError) as error:
            raise AuthenticationRejected(f"a share's token: {type(error).__name__}") from None
        return Share(claims["jti"], entity, int(claims["iat"]), int(claims["exp"]), by)

    def made_by(self, share_id: str, user: str) -> int:
        """When a share of a user's ends, in seconds since the epoch.

        :raises NotAuthorized: when it is not the user's, or there is none.
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
    """When a share ends, in seconds since the epoch, by its id alone.

    :raises InvalidRequest: when it is no share's.
    """
    return int.from_bytes(_raw_id(share_id)[:_EXPIRY_BYTES])


def id_in(text: str) -> str:
    """The id of a share that is given by its link, its token or its id.

    The signature is not looked at: whoever has the id may end it.

    :raises InvalidRequest: when it is none of them.
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

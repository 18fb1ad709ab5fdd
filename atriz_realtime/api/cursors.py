"""Cursors that tell their holder nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from urllib.parse import urlsplit

from atriz_realtime.api.contracts import PluginConfig
from atriz_realtime.api.errors import InvalidRequest

CURSOR_BLOCK = 128
"""Bytes to a multiple of which a cursor is padded, so that its length tells of no id."""


class CursorSeal:
    """Encrypts cursors, which may tell what the caller may not see, such as the id of an entity.

    Servers with the same secret read each other's cursors.  Without a secret, only this one
    reads its own.
    """

    def __init__(self, secret: str | None) -> None:
        secret_bytes = secret.encode() if secret else os.urandom(32)
        self._cipher_key = hmac.digest(secret_bytes, b"atriz-realtime cursor cipher", "sha256")
        self._tag_key = hmac.digest(secret_bytes, b"atriz-realtime cursor tag", "sha256")

    @classmethod
    def of(cls, config: PluginConfig) -> CursorSeal:
        """The seal with the secret that a server shares with the others."""
        settings = config.settings
        return cls(settings["jwt_secret"] or urlsplit(settings["redis_url"] or "").password)

    def seal(self, cursor: str) -> str:
        """Encrypt and authenticate a cursor."""
        plain = cursor.encode() + b"\1"
        plain += bytes(-len(plain) % CURSOR_BLOCK)
        nonce = os.urandom(16)
        sealed = nonce + self._encrypted(nonce, plain)
        return base64.urlsafe_b64encode(sealed + self._tag(sealed)).decode().rstrip("=")

    def open(self, token: str) -> str:
        """Return the cursor that was sealed.

        :raises InvalidRequest: for any text that :meth:`seal` has not returned.
        """
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        except ValueError:
            data = b""
        sealed, tag = data[:-16], data[-16:]
        if not hmac.compare_digest(self._tag(sealed), tag):
            raise InvalidRequest("unknown cursor", field="cursor")
        return self._encrypted(sealed[:16], sealed[16:]).rstrip(b"\0")[:-1].decode()

    def _encrypted(self, nonce: bytes, data: bytes) -> bytes:
        """The data, combined with a key stream by XOR: encrypting twice decrypts."""
        stream = hashlib.shake_256(self._cipher_key + nonce).digest(len(data))
        return bytes(a ^ b for a, b in zip(data, stream, strict=True))

    def _tag(self, sealed: bytes) -> bytes:
        return hmac.digest(self._tag_key, sealed, "sha256")[:16]

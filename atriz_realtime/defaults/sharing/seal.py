"""Authenticated encryption of what a token carries for the server alone.

The only module of the plugin that needs ``cryptography``, which is an extra.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class Seal:
    """AES-GCM with one key; the nonce precedes the ciphertext."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt; only the same context decrypts it."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, context)

    def decrypt(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt.

        :raises ValueError: when it is forged, or encrypted for another context.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except InvalidTag:
            raise ValueError("not sealed with this key") from None

"""The identities of tokens that were verified before."""

from __future__ import annotations

import time
from typing import Any

from atriz_realtime.api import Identity

TOKEN_BYTES = 512
"""Bytes that a remembered token counts besides its characters and its claims."""

VALUE_BYTES = 96
"""Bytes that each key and value of its claims counts, besides the characters of a text."""


def size_of(token: str, identity: Identity) -> int:
    """About the most bytes that a token and its claims take.

    Empty objects take twenty times the bytes that they have in the token.
    """
    size = TOKEN_BYTES + len(token)
    pending: list[Any] = [*identity.claims, *identity.claims.values()]
    while pending:
        value = pending.pop()
        size += VALUE_BYTES
        if isinstance(value, str):
            size += len(value) if value.isascii() else 4 * len(value)
        elif isinstance(value, dict):
            pending += value
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return size


class RememberedTokens:
    """Identities by token, until they expire; the oldest is forgotten first.

    :param limit: tokens that are remembered.
    :param max_bytes: bytes of those tokens and their claims together, as they are counted here.
    """

    def __init__(self, limit: int, max_bytes: int) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._identities: dict[str, Identity] = {}
        self._sizes: dict[str, int] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._identities)

    def get(self, token: str) -> Identity | None:
        """The identity of a token that is remembered and has not expired."""
        identity = self._identities.get(token)
        if identity is None or identity.expires_at is None or identity.expires_at > time.time():
            return identity
        self._forget(token)
        return None

    def add(self, token: str, identity: Identity) -> None:
        """Remember a token that is not remembered yet."""
        self._identities[token] = identity
        self._sizes[token] = size_of(token, identity)
        self.bytes += self._sizes[token]
        while len(self._identities) > self._limit or self.bytes > self._max_bytes:
            self._forget(next(iter(self._identities)))

    def clear(self) -> None:
        """Forget all."""
        self._identities.clear()
        self._sizes.clear()
        self.bytes = 0

    def _forget(self, token: str) -> None:
        del self._identities[token]
        self.bytes -= self._sizes.pop(token)

"""The identities of tokens that were verified before."""

from __future__ import annotations

import time

from atriz_realtime.api import Identity


class RememberedTokens:
    """Identities by token, until they expire; the oldest is forgotten first.

    :param limit: tokens that are remembered.
    :param max_bytes: bytes of those tokens together.
    """

    def __init__(self, limit: int, max_bytes: int) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._identities: dict[str, Identity] = {}
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
        self.bytes += len(token)
        while len(self._identities) > self._limit or self.bytes > self._max_bytes:
            self._forget(next(iter(self._identities)))

    def clear(self) -> None:
        """Forget all."""
        self._identities.clear()
        self.bytes = 0

    def _forget(self, token: str) -> None:
        del self._identities[token]
        self.bytes -= len(token)

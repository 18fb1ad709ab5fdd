"""A bounded memory that forgets by itself: in this process what ``SET … PX`` is in Redis."""

from __future__ import annotations

from typing import Generic, TypeVar

from atriz_realtime.api import Clock

V = TypeVar("V")

MAX_ENTITIES = 100_000
"""Entities of one type that are remembered; beyond, the longest silent is forgotten."""


def microseconds(clock: Clock) -> int:
    """The monotonic clock in whole microseconds, which add up without rounding."""
    return round(clock.monotonic() * 1_000_000)


class Memory(Generic[V]):
    """Values by entity id, each until a time of its own.

    What is written moves to the end of the dictionary, so the longest silent are at the
    front: each write clears what has expired there, and makes room.
    """

    def __init__(self, most: int = MAX_ENTITIES) -> None:
        self._most = most
        self._entries: dict[str, tuple[V, int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, entity_id: str, now: int) -> V | None:
        """The entity's value, unless it has expired."""
        entry = self._entries.get(entity_id)
        return None if entry is None or entry[1] <= now else entry[0]

    def put(self, entity_id: str, value: V, until: int, now: int) -> None:
        """Remember a value until a time, both times in microseconds."""
        entries = self._entries
        entries.pop(entity_id, None)
        while entries:
            oldest = next(iter(entries))
            if entries[oldest][1] > now and len(entries) < self._most:
                break
            del entries[oldest]
        entries[entity_id] = (value, until)

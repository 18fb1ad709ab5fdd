"""A bounded store of values that expire, like ``SET … PX`` in Redis but in this process."""

from __future__ import annotations

from typing import Generic, TypeVar

from atriz_realtime.api import Clock, Report, limit_reached

V = TypeVar("V")

MAX_ENTITIES = 100_000
"""Entities of one type with a value; beyond, the one that was written longest ago is dropped."""


def microseconds(clock: Clock) -> int:
    """The monotonic clock in whole microseconds, so that sums are exact."""
    return round(clock.monotonic() * 1_000_000)


def report_full(report: Report, policy: str) -> None:
    """Report that an entity lost its value too early, in a process that decides by it."""
    message = f"{policy}: more than {MAX_ENTITIES} entities of a type; one begins anew"
    limit_reached(report, f"{__name__}.MAX_ENTITIES", message)


class Memory(Generic[V]):
    """Values by entity id, each with an expiry.

    A value that is written moves to the end of the dictionary, so the oldest are at the front.
    Each write removes what has expired there, and makes room.
    """

    def __init__(self, size: int = MAX_ENTITIES) -> None:
        self._size = size
        self._entries: dict[str, tuple[V, int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, entity_id: str, now: int) -> V | None:
        """The entity's value, unless it has expired."""
        entry = self._entries.get(entity_id)
        return None if entry is None or entry[1] <= now else entry[0]

    def put(self, entity_id: str, value: V, until: int, now: int) -> bool:
        """Store a value until a time; both times are in microseconds.

        :returns: whether another one made room that had not expired.
        """
        is_full = False
        entries = self._entries
        entries.pop(entity_id, None)
        while entries:
            oldest = next(iter(entries))
            if entries[oldest][1] > now:
                if len(entries) < self._size:
                    break
                is_full = True
            del entries[oldest]
        entries[entity_id] = (value, until)
        return is_full

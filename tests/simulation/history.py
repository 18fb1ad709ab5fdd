"""What was seen from outside in one run, in order: all that the oracle judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs


@attrs.frozen
class Event:
    """One observation."""

    at: float
    kind: str
    who: str
    data: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def __str__(self) -> str:
        data = " ".join(f"{name}={value}" for name, value in self.data.items())
        return f"{self.at:8.4f}  {self.who:<10} {self.kind} {data}".rstrip()


@attrs.frozen
class Fix:
    """A position that a device has sent; its number tells it from all others."""

    number: int
    entity: str
    device: str
    timestamp: str
    is_bad: bool
    """Whether the filter drops it."""


class History:
    """The observations, and the fixes that they are about.

    :param now: the true time.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.events: list[Event] = []
        self.fixes: dict[int, Fix] = {}

    def note(self, kind: str, who: str = "", **data: Any) -> None:
        """Add an observation."""
        self.events.append(Event(self._now(), kind, who, data))

    def of(self, *kinds: str) -> Iterator[Event]:
        """The observations of some kinds."""
        return (event for event in self.events if event.kind in kinds)

    def __str__(self) -> str:
        return "\n".join(map(str, self.events))

"""How many events a socket may send: a token bucket."""

from __future__ import annotations

from typing import Literal

import attrs


@attrs.define(eq=False)
class Allowance:
    """Refills at ``rate`` events a second, up to ``burst``; a rate of 0 has no limit."""

    rate: float
    burst: int
    now: float
    """When it was last refilled, in seconds of the monotonic clock."""
    left: float = attrs.field(init=False)
    refused: int = attrs.field(default=0, init=False)
    """Events refused in a row."""

    def __attrs_post_init__(self) -> None:
        self.left = self.burst

    def take(self, now: float, cost: float = 1) -> Literal["granted", "refused", "exhausted"]:
        """Take one event's worth, or what it costs.

        ``exhausted`` comes once, when as many were refused in a row as the burst has:
        whoever goes on like that does not listen.
        """
        if not self.rate:
            return "granted"
        self.left = min(self.burst, self.left + (now - self.now) * self.rate)
        self.now = now
        if self.left >= cost:
            self.left -= cost
            self.refused = 0
            return "granted"
        self.refused += 1
        return "exhausted" if self.refused == self.burst else "refused"

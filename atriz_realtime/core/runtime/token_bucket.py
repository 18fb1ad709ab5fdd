"""How many events a socket may send, and all sockets of a user: a token bucket."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import attrs

MAX_USERS = 100_000
"""Users whose allowance is remembered; beyond, the one that connected longest ago has a new one."""


@attrs.define(eq=False)
class TokenBucket:
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


class UserBuckets:
    """An allowance for each user, kept when the last socket goes: coming back refills nothing."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._by_user: OrderedDict[str, TokenBucket] = OrderedDict()

    def of(self, user_id: str, now: float) -> TokenBucket | None:
        """A user's; ``None`` where there is no limit."""
        if not self._rate:
            return None
        allowance = self._by_user.get(user_id)
        if allowance is None:
            allowance = self._by_user[user_id] = TokenBucket(self._rate, self._burst, now)
            if len(self._by_user) > MAX_USERS:
                self._by_user.popitem(last=False)
        else:
            self._by_user.move_to_end(user_id)
        return allowance

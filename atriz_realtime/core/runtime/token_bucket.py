"""Rate limits: what a socket or a user may send, and how many errors a client may make."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import attrs

from atriz_realtime.api.contracts import Report, limit_reached

MAX_USERS = 100_000
"""Users with a token bucket; beyond, the one that connected longest ago starts with a full one."""

REFUSAL_COST = 1
"""What a refused event, a refused update of a list, or leaving a namespace takes from a session's
error budget."""

UNASKED_COST = 1
"""What a packet that nobody waits for takes from the same budget."""

PAYLOAD_COST = 5
"""What an event that is not JSON, or exceeds a limit on its shape, takes from the same budget."""

NAMESPACE_COST = 50
"""What a refused connection to a namespace takes from a session's error budget."""


@attrs.define(eq=False)
class TokenBucket:
    """Refills at ``rate`` tokens a second, up to ``burst``; a rate of 0 means no limit."""

    rate: float
    burst: int
    now: float
    """When it was last refilled, in seconds of the monotonic clock."""
    left: float = attrs.field(default=attrs.Factory(lambda self: self.burst, True), init=False)
    refused: float = attrs.field(default=0.0, init=False)
    """Requests refused, less ``rate`` for each second since: what is granted in between does not
    excuse a client that keeps sending too fast."""

    def is_full(self, now: float) -> bool:
        """Whether it holds as much as a new one."""
        return self.left + (now - self.now) * self.rate >= self.burst

    def take(self, now: float, cost: float = 1) -> Literal["granted", "refused", "exhausted"]:
        """Take tokens.

        The answer is ``exhausted`` when ``refused`` reaches about as many as the bucket holds
        tokens: the client does not slow down.
        """
        if not self.rate:
            return "granted"
        regained = (now - self.now) * self.rate
        self.left = min(self.burst, self.left + regained)
        if self.refused:
            self.refused = max(0.0, self.refused - regained)
        self.now = now
        if self.left >= cost:
            self.left -= cost
            return "granted"
        before = self.refused
        self.refused += 1
        return "exhausted" if before <= self.burst - 1 < self.refused else "refused"


class UserBuckets:
    """A token bucket per user; it outlives the user's sockets, so reconnecting refills nothing."""

    def __init__(self, rate: float, burst: int, report: Report) -> None:
        self._rate = rate
        self._burst = burst
        self._report = report
        self._by_user: OrderedDict[str, TokenBucket] = OrderedDict()

    def of(self, user_id: str, now: float) -> TokenBucket | None:
        """A user's bucket; ``None`` when there is no limit."""
        if not self._rate:
            return None
        bucket = self._by_user.get(user_id)
        if bucket is None:
            bucket = self._by_user[user_id] = TokenBucket(self._rate, self._burst, now)
            if len(self._by_user) > MAX_USERS:
                _, dropped = self._by_user.popitem(last=False)
                if not dropped.is_full(now):
                    message = f"more than {MAX_USERS} users: one has its whole burst again"
                    limit_reached(self._report, f"{__name__}.MAX_USERS", message)
        else:
            self._by_user.move_to_end(user_id)
        return bucket


class PenaltyBudget:
    """How often each session may do something, such as err, before it is disconnected.

    Most sessions never do it: each gets its bucket with the first charge.

    :param rate: how much a session's budget regains in a second; 0: there is no limit.
    :param burst: the budget that a session starts with, and has at most.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, TokenBucket] = {}

    def spend(self, eio_sid: str, cost: int, now: float) -> Literal["within", "over", "spent"]:
        """Charge a session.

        :param now: seconds of the monotonic clock.
        :returns: ``over`` for the first charge that exceeds the budget, ``spent`` afterwards.
        """
        if not self._rate:
            return "within"
        bucket = self._buckets.get(eio_sid)
        if bucket is None:
            bucket = self._buckets[eio_sid] = TokenBucket(self._rate, self._burst, now)
        elif bucket.refused:
            return "spent"
        if bucket.take(now, min(cost, self._burst)) == "granted":
            return "within"
        return "over"

    def forget(self, eio_sid: str) -> None:
        """Drop a session that has ended."""
        self._buckets.pop(eio_sid, None)

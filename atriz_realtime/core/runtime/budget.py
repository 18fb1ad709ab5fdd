"""What a session's client may get wrong before it is cut.

Most clients get nothing wrong: a session has an account from its first error on.
"""

from __future__ import annotations

from typing import Literal

from atriz_realtime.core.runtime.token_bucket import TokenBucket

REFUSAL_COST = 1
"""What a refused event takes from a session's error budget, and a namespace that it leaves."""

PAYLOAD_COST = 5
"""What an event that is not JSON, or over a limit of its form, takes from it."""

NAMESPACE_COST = 50
"""What a refused connection to a namespace takes from it."""


class PenaltyBudget:
    """The accounts, by session.

    :param rate: what comes back in a second; 0: errors have no limit.
    :param burst: what a session begins with, and has at most.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._accounts: dict[str, TokenBucket] = {}

    def spend(self, eio_sid: str, cost: int, now: float) -> Literal["within", "over", "spent"]:
        """Take an error from a session's account.

        :param now: seconds of a monotonic clock.
        :returns: ``over`` for the first error that it has nothing left for, then ``spent``.
        """
        if not self._rate:
            return "within"
        account = self._accounts.get(eio_sid)
        if account is None:
            account = self._accounts[eio_sid] = TokenBucket(self._rate, self._burst, now)
        elif account.refused:
            return "spent"
        if account.take(now, min(cost, self._burst)) == "granted":
            return "within"
        return "over"

    def forget(self, eio_sid: str) -> None:
        """Forget a session that has ended."""
        self._accounts.pop(eio_sid, None)

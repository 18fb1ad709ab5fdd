"""Warns sockets before their identities expire, and disconnects them when they do."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable

from atriz_realtime.api.contracts import Clock

STEP = 0.5
"""Longest wait of the timer, in seconds: the wall clock may be set meanwhile."""

NOTICE_SHARE = 0.2
"""Largest share of what an identity has left, when it is set, that the notice takes.

Clients that renew at each notice thus keep most of every token, however short its life. What is
left is counted from the renewal, not from the token's issue: a client that gets the same token
again from a cache would otherwise be told again at once.
"""

BATCH = 200
"""Sockets that are handled in one turn of the event loop."""

SLACK = 64
"""The heap is rebuilt when more than half of it, and more than this, may be stale entries."""

FOREVER = 253_402_300_799.0
"""The end of the year 9999, in seconds since the epoch; a later expiry counts as never."""

Entry = tuple[float, int, str, bool]
"""When, in seconds since the epoch; a serial number; the sid; whether it is the expiry itself."""


class IdentityExpiry:
    """The expiries of the identities of all sockets, on one timer.

    :param notice: seconds before an expiry that ``expiring`` is called, where
        :data:`NOTICE_SHARE` allows as many; 0: never.
    :param expiring: called with the sid and the time of expiry, once for each expiry.
    :param expired: called with the sid, which is then forgotten.
    """

    def __init__(
        self,
        clock: Clock,
        notice: float,
        *,
        expiring: Callable[[str, float], None],
        expired: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._notice = notice
        self._expiring = expiring
        self._expired = expired
        self._heap: list[Entry] = []
        self._current: dict[str, tuple[int, float]] = {}
        self._count = 0
        self._timer: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, sid: object) -> bool:
        return sid in self._current

    def set(self, sid: str, expires_at: float | None) -> None:
        """Set when a socket's identity expires.

        :param expires_at: seconds since the epoch; ``None``: never.
        """
        if expires_at is None or expires_at > FOREVER:
            self.forget(sid)
            return
        if math.isnan(expires_at):  # a plugin's mistake: NaN cannot be ordered
            expires_at = 0.0
        self._count += 1
        self._current[sid] = (self._count, expires_at)
        left = max(expires_at - self._clock.now(), 0.0)
        notice = min(self._notice, NOTICE_SHARE * left)
        entry = (expires_at - notice, self._count, sid, not notice)
        self._push(entry)
        if self._heap[0] is entry:
            self._arm()

    def forget(self, sid: str) -> None:
        """Forget a socket that has disconnected."""
        if self._current.pop(sid, None) is not None and not self._current:
            self.close()

    def close(self) -> None:
        """Forget every socket and stop the timer."""
        self._heap.clear()
        self._current.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _push(self, entry: Entry) -> None:
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._current) + SLACK:
            self._heap = [each for each in self._heap if self._is_current(each)]
            heapq.heapify(self._heap)

    def _is_current(self, entry: Entry) -> bool:
        current = self._current.get(entry[2])
        return current is not None and current[0] == entry[1]

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait = min(max(self._heap[0][0] - self._clock.now(), 0.0), STEP)
        self._timer = asyncio.get_running_loop().call_later(wait, self._run)

    def _run(self) -> None:
        now = self._clock.now()
        for _ in range(BATCH):
            if not self._heap or self._heap[0][0] > now:
                break
            entry = heapq.heappop(self._heap)
            if self._is_current(entry):
                self._handle(entry)
        if self._current:
            self._arm()
        else:
            self.close()

    def _handle(self, entry: Entry) -> None:
        _, number, sid, is_expiry = entry
        expires_at = self._current[sid][1]
        if is_expiry:
            del self._current[sid]
            self._expired(sid)
            return
        self._push((expires_at, number, sid, True))
        if expires_at > self._clock.now():
            self._expiring(sid, expires_at)

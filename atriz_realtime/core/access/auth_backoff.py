"""Failed authentications by address: whoever guesses is asked to wait, longer each time.

A good token takes one failure back, so that an address which many share is refused only
while far more fails there than succeeds.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict

import attrs

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import RateLimited

MAX_ADDRESSES = 10_000
"""Addresses whose failures are remembered; beyond, the one that failed longest ago is forgotten."""

FIRST_BACKOFF = 1.0
"""Seconds that an address is refused for the first time; doubled each time it fails again."""


@attrs.define(eq=False)
class Record:
    """What is known of one address."""

    now: float
    """When it failed last, in seconds of the monotonic clock."""
    failures: float = 0.0
    """How many, less what time and good tokens took back."""
    backoff: float = 0.0
    """Seconds that it was refused last."""
    refused_until: float = 0.0


class AuthBackoff:
    """The failures, bounded.

    :param limit: failures within the window that an address may have; 0: no limit.
    :param window: seconds in which as many are forgotten.
    :param most: seconds that an address is refused at most.
    """

    def __init__(self, clock: Clock, limit: int, window: float, most: float) -> None:
        self._clock = clock
        self._limit = limit
        self._window = window
        self._most = most
        self._records: OrderedDict[str, Record] = OrderedDict()

    def check(self, address: str | None) -> None:
        """Let an address try.

        :raises RateLimited: while it is refused.
        """
        if not self._records or not address:
            return
        record = self._records.get(network(address))
        wait = 0.0 if record is None else record.refused_until - self._clock.monotonic()
        if wait > 0:
            raise RateLimited("Too many failed authentications", retry_after=math.ceil(wait))

    def failed(self, address: str | None) -> bool:
        """Count a failure; whether the address is refused from now on."""
        if not self._limit or not address:
            return False
        key, now = network(address), self._clock.monotonic()
        record = self._records.get(key)
        if (
            record is None
            or now > max(record.now, record.refused_until) + self._window + self._most
        ):
            record = self._records[key] = Record(now)
            if len(self._records) > MAX_ADDRESSES:
                self._records.popitem(last=False)
        forgotten = (now - record.now) * self._limit / self._window
        record.failures = max(0.0, record.failures - forgotten) + 1
        record.now = now
        self._records.move_to_end(key)
        if record.failures <= self._limit:
            return False
        record.backoff = min(self._most, record.backoff * 2 or FIRST_BACKOFF)
        record.refused_until = now + record.backoff
        return True

    def succeeded(self, address: str | None) -> None:
        """Take one failure back."""
        if not self._records or not address:
            return
        record = self._records.get(network(address))
        if record is not None:
            record.failures = max(0.0, record.failures - 1)


def network(address: str) -> str:
    """What an address is counted as: one of IPv6 as its /64, which is one client's."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))

"""``token-bucket``: a number of fixes per second for each entity, with bursts.

The generic cell rate algorithm in its virtual scheduling form (ITU-T I.371, annex A): the bucket
is one number, the *theoretical arrival time* (TAT), at which it will be full again.  A fix that
passes advances the TAT by the time of one token.  A fix does not pass when that would put the TAT
further ahead than the time of the whole bucket.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import ClassVar

import attrs

from atriz_realtime.api import Location, Resources
from atriz_realtime_ratelimit.memory import Memory, microseconds, report_full
from atriz_realtime_ratelimit.scope import ScopeOptions

# KEYS[1] holds the TAT, ARGV[1] is the time of one token and ARGV[2] that of the whole
# bucket, all in microseconds: whole numbers far below 2^53, which Lua's doubles hold
# exactly.  The clock is Redis' own (TIME), so that servers whose clocks differ share one
# limit.  A TAT further ahead than the whole bucket was written under other options, or
# before that clock stepped back; it is reduced to that of an empty bucket.
_DECIDE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local token, bucket = tonumber(ARGV[1]), tonumber(ARGV[2])
local ahead = math.max(0, (tonumber(redis.call('GET', KEYS[1])) or now) - now)
local passes = ahead + token <= bucket
if passes then
  ahead = ahead + token
elseif ahead > bucket then
  ahead = bucket
else
  return 0
end
redis.call('SET', KEYS[1], string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000))
return passes and 1 or 0
"""


@attrs.frozen(kw_only=True)
class TokenBucketOptions(ScopeOptions):
    """Options of ``token-bucket``."""

    rate: float = attrs.field(
        default=1.0, validator=[attrs.validators.ge(0.001), attrs.validators.le(1_000)]
    )
    """Fixes of one entity that pass per second, on average; 0.001 to 1,000."""
    burst: int = attrs.field(
        default=1, validator=[attrs.validators.ge(1), attrs.validators.le(10_000)]
    )
    """Fixes that pass at once after a pause; 1 to 10,000."""


class TokenBucket:
    """See :class:`~atriz_realtime_ratelimit.scope.Limit`."""

    name: ClassVar[str] = "token-bucket"
    script: ClassVar[str] = _DECIDE

    def __init__(self, options: TokenBucketOptions, resources: Resources) -> None:
        # exact and rounded up, so that the rate is never exceeded
        self._token = math.ceil(1_000_000 / Fraction(options.rate))
        self._bucket = options.burst * self._token
        self._clock = resources.clock
        self._report = resources.report
        self._arrivals: Memory[int] = Memory()

    def arguments(self, _: Location) -> tuple[str | float, ...]:
        """The microseconds of one token, and of the whole bucket."""
        return (self._token, self._bucket)

    def admit(self, entity_id: str, _: Location) -> bool:
        """Take a token, if there is one."""
        now = microseconds(self._clock)
        arrival = self._next(entity_id, now)
        if arrival - now > self._bucket:
            return False
        if self._arrivals.put(entity_id, arrival, until=arrival, now=now):
            report_full(self._report, self.name)
        return True

    def note(self, entity_id: str, _: Location) -> None:
        """Take a token; there may be none, when this clock and that of Redis differ."""
        now = microseconds(self._clock)
        arrival = min(self._next(entity_id, now), now + self._bucket)
        self._arrivals.put(entity_id, arrival, until=arrival, now=now)

    def _next(self, entity_id: str, now: int) -> int:
        return (self._arrivals.get(entity_id, now) or now) + self._token

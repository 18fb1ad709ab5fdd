"""The plugin ``ratelimit``: the throttling policies ``token-bucket`` and ``distance``."""

from __future__ import annotations

from atriz_realtime.api import Resources, Throttle, ThrottlePolicy, hookimpl
from atriz_realtime_ratelimit.distance import Distance, DistanceOptions
from atriz_realtime_ratelimit.scope import scoped
from atriz_realtime_ratelimit.token_bucket import TokenBucket, TokenBucketOptions


def _token_bucket(options: TokenBucketOptions, resources: Resources) -> ThrottlePolicy:
    return scoped(TokenBucket(options, resources), options.scope, resources)


def _distance(options: DistanceOptions, resources: Resources) -> ThrottlePolicy:
    return scoped(Distance(options, resources), options.scope, resources)


@hookimpl
def register_throttles() -> list[Throttle]:
    """Register the two policies."""
    return [
        Throttle(TokenBucket.name, _token_bucket, options=TokenBucketOptions),
        Throttle(Distance.name, _distance, options=DistanceOptions),
    ]

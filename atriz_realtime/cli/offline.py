"""What the commands of plugins may use while no server runs."""

from __future__ import annotations

from atriz_realtime.api.contracts import Resources
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.plugin_system.config import RealtimeConfig, view
from atriz_realtime.redis_link import make_link


def offline_resources(config: RealtimeConfig) -> Resources:
    """The clock, the settings, and the way to Redis, on which nothing is open.

    :raises ConfigurationError: when the ``redis_url`` cannot be used.
    """
    clock = SystemClock()
    link = None
    if config.redis_url is not None:
        link = make_link(config.redis_url, Incidents(clock).report)
    return Resources(clock=clock, redis=link, settings=view(config))

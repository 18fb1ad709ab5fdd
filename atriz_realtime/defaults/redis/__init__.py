"""The cache ``redis`` and the fan-out ``redis``."""

from __future__ import annotations

from atriz_realtime.api import (
    Cache,
    CacheBackend,
    ConfigurationError,
    Fanout,
    FanoutBackend,
    RedisLink,
    Resources,
    hookimpl,
)
from atriz_realtime.defaults.redis.cache import RedisCache
from atriz_realtime.defaults.redis.fanout import RedisFanout

__all__ = ["RedisCache", "RedisFanout", "register_caches", "register_fanouts"]


@hookimpl
def register_caches() -> CacheBackend:
    """Register the cache ``redis``."""

    async def open_cache(resources: Resources) -> Cache:
        prefix = resources.settings["redis_prefix"]
        return RedisCache(_link(resources, "cache"), resources.clock, prefix)

    return CacheBackend("redis", open_cache)


@hookimpl
def register_fanouts() -> FanoutBackend:
    """Register the fan-out ``redis``."""

    async def open_fanout(resources: Resources) -> Fanout:
        prefix = resources.settings["redis_prefix"]
        return RedisFanout(_link(resources, "fanout"), prefix, resources.report)

    return FanoutBackend("redis", open_fanout)


def _link(resources: Resources, setting: str) -> RedisLink:
    if resources.redis is None:
        raise ConfigurationError(
            f'{setting} = "redis" needs a redis_url (REDIS_URL)', field=setting
        )
    return resources.redis

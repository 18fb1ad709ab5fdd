"""The cache ``redis``, the fan-out ``redis`` and the journal ``redis``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atriz_realtime.api import (
    Cache,
    CacheBackend,
    Check,
    ConfigurationError,
    Fanout,
    FanoutBackend,
    Journal,
    JournalBackend,
    PluginConfig,
    RedisLink,
    Resources,
    hookimpl,
)
from atriz_realtime.defaults.redis.cache import RedisCache
from atriz_realtime.defaults.redis.fanout import RedisFanout
from atriz_realtime.defaults.redis.journal import RedisJournal
from atriz_realtime.defaults.redis.rights import cache_trials, fanout_trials
from atriz_realtime.defaults.shared.redis_rights import Trial, rights_check

__all__ = [
    "RedisCache",
    "RedisFanout",
    "RedisJournal",
    "register_caches",
    "register_checks",
    "register_fanouts",
    "register_journals",
]


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


@hookimpl
def register_journals() -> JournalBackend:
    """Register the journal ``redis``."""

    async def open_journal(resources: Resources, recorders: Sequence[str]) -> Journal:
        settings = resources.settings
        journal = RedisJournal(
            _link(resources, "journal"),
            resources.clock,
            settings["redis_prefix"],
            recorders,
            settings["journal_max"],
            resources.report,
        )
        await journal.start()
        return journal

    return JournalBackend("redis", open_journal)


@hookimpl
def register_checks(config: PluginConfig, resources: Resources) -> Check | None:
    """Register the check of the rights that the cache and the fan-out need, if they are chosen."""
    link = resources.redis
    if link is None:
        return None
    prefix = config.settings["redis_prefix"]

    def trials() -> Iterator[Trial]:
        if config.settings["cache"] in (None, "redis"):
            yield from cache_trials(prefix, sharded=link.sharded)
        if config.settings["fanout"] in (None, "redis"):
            yield from fanout_trials(prefix, sharded=link.sharded)

    return rights_check("redis", link, trials)


def _link(resources: Resources, setting: str) -> RedisLink:
    if resources.redis is None:
        raise ConfigurationError(
            f'{setting} = "redis" needs a redis_url (REDIS_URL)', field=setting
        )
    return resources.redis

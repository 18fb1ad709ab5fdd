"""What the cache and the fan-out do in Redis, on keys and channels that no server uses."""

from __future__ import annotations

from collections.abc import Iterator

from atriz_realtime.api import EntityRef, RedisChannels, encode_json
from atriz_realtime.defaults.redis.fanout import FOLLOWED_CHANNEL, FOLLOWED_KEY, UNUSED_KEY
from atriz_realtime.defaults.shared.redis_rights import Trial, scripts, sorted_set, unused_name


def cache_trials(prefix: str, *, sharded: bool) -> Iterator[Trial]:
    """What the cache does; on a cluster (``sharded``) it checks what it has kept."""
    name = unused_name()
    key = prefix + RedisChannels.current_location(EntityRef("check", name))
    index = prefix + RedisChannels.location_index(name)
    place = f"~{prefix}location:*"
    yield ("SET", key, "1", "EX", 10), place
    yield ("GET", key), place
    yield from scripts(key, place)
    yield ("DEL", key), place
    yield from sorted_set(index, place)
    if sharded:
        yield ("EXISTS", key), place


def fanout_trials(prefix: str, *, sharded: bool) -> Iterator[Trial]:
    """What the fan-out does; on a cluster (``sharded``) it has neither scripts nor patterns."""
    signals, emits = prefix + RedisChannels.SIGNALS, prefix + RedisChannels.EMITS
    entities = prefix + RedisChannels.ALL
    signal = encode_json({"from": unused_name(), "name": "check", "data": None})  # nobody listens
    if sharded:
        followed = prefix + FOLLOWED_CHANNEL
        yield ("SPUBLISH", signals, signal), f"&{signals}"
        yield ("EXISTS", prefix + FOLLOWED_KEY), f"~{prefix}{FOLLOWED_KEY}"
        yield ("SSUBSCRIBE", prefix + RedisChannels.PREFIX + "check"), f"&{entities}"
        for channel in (emits, signals, followed):
            yield ("SSUBSCRIBE", channel), f"&{channel}"
        return
    unused, place = prefix + UNUSED_KEY, f"~{prefix}location:*"
    yield from scripts(unused, place)
    yield ("DEL", unused), place
    yield ("PUBLISH", signals, signal), f"&{signals}"
    yield ("SUBSCRIBE", prefix + RedisChannels.PREFIX + "check"), f"&{entities}"
    for channel in (emits, signals):
        yield ("SUBSCRIBE", channel), f"&{channel}"
    yield ("PSUBSCRIBE", entities), f"&{entities}"

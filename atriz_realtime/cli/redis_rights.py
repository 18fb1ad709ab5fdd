"""The rights that the user of a Redis lacks, found by doing what a server does there."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Iterator
from typing import Any

from redis.exceptions import NoPermissionError, NoScriptError

from atriz_realtime.api.wire import RedisChannels, encode_json
from atriz_realtime.redis_link import Link, make_link
from atriz_realtime.server import RealtimeServer

Command = tuple[str | bytes | float, ...]

_REVOCATIONS = "{realtime:revocations}"
"""How the keys of the plugin ``revocations`` begin."""

_FOLLOWED = "realtime:followed"
"""On a cluster, a key and a channel of the fan-out ``redis``."""

_SCRIPT = "return 1"
_DIGEST = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_MESSAGES = frozenset({b"message", b"pmessage", b"smessage"})


async def missing_rights(server: RealtimeServer, url: str) -> list[str]:
    """The rights that a server's user lacks in Redis, as a rule of an ACL names them.

    Everything is tried on keys and channels that no server uses, under the prefixes of those that
    they do.

    :raises RealtimeError: when Redis cannot be asked.
    :raises redis.exceptions.RedisError: when it refuses something for another reason.
    """
    link = make_link(url, lambda *_, **__: None)
    missing: dict[str, None] = {}
    try:
        await link.start(lambda: None)
        for command, place in _commands(server, sharded=link.sharded):
            try:
                await link.execute(*command)
            except NoPermissionError as error:
                missing[_right(error, place)] = None
            except NoScriptError:  # because EVAL was refused
                continue
        for channel, place in _channels(server, sharded=link.sharded):
            for refusal in await _refusals(link, channel):
                missing[_right(refusal, place)] = None
    finally:
        await link.aclose()
    return list(missing)


def _right(error: NoPermissionError, place: str) -> str:
    """The right that a refusal is about: that to a command, or that to a key or a channel."""
    command = re.search(r"run the '(.*?)' command", str(error))
    return place if command is None else f"+{command[1]}"


def _commands(server: RealtimeServer, *, sharded: bool) -> Iterator[tuple[Command, str]]:
    """What a server executes, and the rule for the key or the channel of each."""
    prefix = server.config.redis_prefix
    name = f"check-{secrets.token_hex(8)}"
    if server.registry.cache.name == "redis":
        place = f"~{prefix}location:*"
        key = f"{prefix}location:current:check:{name}"
        index = f"{prefix}{RedisChannels.location_index(name)}"
        commands: tuple[Command, ...] = (
            ("SET", key, "1", "EX", 10),
            ("GET", key),
            ("EVAL", _SCRIPT, 1, key),
            ("EVALSHA", _DIGEST, 1, key),
            ("DEL", key),
            ("ZADD", index, 1, name),
            ("EXPIRE", index, 10),
            ("TTL", index),
            ("ZSCORE", index, name),
            ("ZCOUNT", index, "-inf", "+inf"),
            ("ZRANGE", index, 0, -1),
            ("ZREM", index, name),
        )
        yield from ((command, place) for command in commands)
    if any(info.name == "revocations" and info.state == "active" for info in server.plugins()):
        place, key = f"~{prefix}{_REVOCATIONS}*", f"{prefix}{_REVOCATIONS}:{name}"
        yield ("ZADD", key, 1, name), place
        yield ("ZREMRANGEBYSCORE", key, "-inf", 1), place
        yield ("ZREMRANGEBYRANK", key, 0, -1), place
        yield ("DEL", key), place
    if server.registry.fanout.name == "redis":
        signals = prefix + RedisChannels.SIGNALS
        signal = encode_json({"from": name, "name": "check", "data": None})  # nobody listens
        yield ("SPUBLISH" if sharded else "PUBLISH", signals, signal), f"&{signals}"
        if sharded:
            yield ("EXISTS", prefix + _FOLLOWED), f"~{prefix}{_FOLLOWED}"


def _channels(server: RealtimeServer, *, sharded: bool) -> Iterator[tuple[str, str]]:
    """What a server subscribes to, and the rule for each."""
    prefix = server.config.redis_prefix
    if server.registry.fanout.name == "redis":
        entities = prefix + RedisChannels.ALL
        yield prefix + RedisChannels.PREFIX + "check", f"&{entities}"
        others = [prefix + RedisChannels.EMITS, prefix + RedisChannels.SIGNALS]
        for channel in [*others, prefix + _FOLLOWED if sharded else entities]:
            yield channel, f"&{channel}"


async def _refusals(link: Link, channel: str) -> list[NoPermissionError]:
    """Subscribe to a channel or a pattern and leave it again; returns what Redis refuses."""
    kind = "S" if link.sharded else "P" if channel.endswith("*") else ""
    answers: asyncio.Queue[Any] = asyncio.Queue()
    stream = await link.connect(answers.put_nowait, link.route(channel))
    refusals: list[NoPermissionError] = []
    try:
        commands = [(f"{kind}{each}", channel) for each in ("SUBSCRIBE", "UNSUBSCRIBE")]
        stream.send(*commands)
        answered = 0
        while answered < len(commands):
            answer = await answers.get()
            if isinstance(answer, NoPermissionError):
                refusals.append(answer)
            elif isinstance(answer, Exception):
                raise answer
            elif answer[0] in _MESSAGES:
                continue
            answered += 1
    finally:
        await stream.aclose()
    return refusals

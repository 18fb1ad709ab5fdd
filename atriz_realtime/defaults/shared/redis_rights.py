"""The rights that the user of a Redis lacks, found by doing what a plugin does there."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from redis.exceptions import NoPermissionError, NoScriptError, RedisError

from atriz_realtime.api import Check, RealtimeError, RedisLink

Command = tuple[str | bytes | float, ...]

Trial = tuple[Command, str]
"""A command, and the rule of an ACL for its key or channel.

Commands that subscribe are tried on a connection of their own, and undone.
"""

_SCRIPT = "return 1"
_DIGEST = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_MESSAGES = frozenset({b"message", b"pmessage", b"smessage"})


def unused_name() -> str:
    """A name for a key or a channel that nobody uses."""
    return f"check-{secrets.token_hex(8)}"


def scripts(key: str, place: str) -> Iterator[Trial]:
    """Run a script on a key, by its text and by its hash; it changes nothing."""
    yield ("EVAL", _SCRIPT, 1, key), place
    yield ("EVALSHA", _DIGEST, 1, key), place


def sorted_set(key: str, place: str) -> Iterator[Trial]:
    """Write, read and empty a sorted set."""
    yield ("ZADD", key, 1, "check"), place
    yield ("EXPIRE", key, 10), place
    yield ("TTL", key), place
    yield ("ZSCORE", key, "check"), place
    yield ("ZCOUNT", key, "-inf", "+inf"), place
    yield ("ZRANGE", key, 0, -1), place
    yield ("ZREM", key, "check"), place


def rights_check(plugin: str, link: RedisLink, trials: Callable[[], Iterable[Trial]]) -> Check:
    """The check of the rights that a plugin needs in Redis.

    :param trials: what the plugin does there, on keys and channels that nobody uses.
    """
    return Check(f"{plugin} rights", lambda: _missing_rights(plugin, link, trials()), needs="redis")


async def _missing_rights(plugin: str, link: RedisLink, trials: Iterable[Trial]) -> list[str]:
    """The problem that a plugin's user lacks rights in Redis, or that Redis refuses a command."""
    missing: dict[str, None] = {}
    try:
        for command, place in trials:
            for refusal in await _refusals(link, command):
                missing[_right(refusal, place)] = None
    except (RealtimeError, RedisError) as error:
        return [f"Redis refuses what a server does there: {error}"]
    if not missing:
        return []
    rights = " ".join(missing)
    return [f"the user of redis_url lacks rights that the plugin {plugin} needs: {rights}"]


def _right(refusal: NoPermissionError, place: str) -> str:
    """The right that a refusal is about: that to a command, or that to a key or a channel."""
    command = re.search(r"run the '(.*?)' command", str(refusal))
    return place if command is None else f"+{command[1]}"


async def _refusals(link: RedisLink, command: Command) -> list[NoPermissionError]:
    """Execute a command; returns what Redis refuses for want of a right."""
    name = str(command[0])
    if name.endswith("SUBSCRIBE"):
        undone = name.replace("SUBSCRIBE", "UNSUBSCRIBE")
        return await _refused_subscriptions(link, command, (undone, *command[1:]))
    try:
        await link.execute(*command)
    except NoPermissionError as refusal:
        return [refusal]
    except NoScriptError:  # because EVAL was refused
        pass
    return []


async def _refused_subscriptions(link: RedisLink, *commands: Command) -> list[NoPermissionError]:
    """Subscribe to a channel or a pattern and leave it again; returns what Redis refuses."""
    answers: asyncio.Queue[Any] = asyncio.Queue()
    stream = await link.connect(answers.put_nowait, link.route(str(commands[0][1])))
    refusals: list[NoPermissionError] = []
    try:
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

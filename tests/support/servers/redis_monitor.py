"""Redis as another client of it sees it: subscribers, channels, and bytes sent to each client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from tests.support.servers.serving import TIMEOUT


async def eventually(look: Callable[[], Awaitable[Any]], expected: Any) -> None:
    """Wait until a look returns what is expected; fails with what the last look returned."""
    deadline = asyncio.get_running_loop().time() + TIMEOUT
    while (seen := await look()) != expected and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)
    assert seen == expected


async def subscribers(client: Redis, channel: str) -> int:
    """How many connections subscribe to a channel."""
    ((_, count),) = await client.pubsub_numsub(channel)
    return int(count)


async def channels(client: Redis) -> list[str]:
    """The entities' channels that have subscribers."""
    found = await client.pubsub_channels("tracking:*")
    return sorted(name.decode() if isinstance(name, bytes) else name for name in found)


async def bytes_sent(client: Redis) -> dict[int, int]:
    """How many bytes Redis has sent to each of its clients so far, by the client's id."""
    return {int(entry["id"]): int(entry["tot-net-out"]) for entry in await client.client_list()}

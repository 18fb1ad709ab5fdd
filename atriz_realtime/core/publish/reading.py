"""The time that a cache has to read a location."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from atriz_realtime.api.errors import Unavailable

READ_LIMIT = 5.0
"""Seconds that a cache may take to read a location.  Redis has less, so this is for a plugin's
cache that has no limit of its own."""

TOO_LATE = f"the cache did not answer within {READ_LIMIT:g} s"
"""Why a read failed that took longer."""

T = TypeVar("T")


async def in_time(reading: Awaitable[T]) -> T:
    """What a read of the cache returns; it begins at once, without a turn of the loop.

    :raises Unavailable: when it takes longer than :data:`READ_LIMIT`.
    """
    limit = asyncio.timeout(READ_LIMIT)
    try:
        async with limit:
            return await reading
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise Unavailable(TOO_LATE) from error

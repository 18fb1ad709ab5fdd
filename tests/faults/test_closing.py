"""A server that is closed while its Redis goes away, as when everything is shut down at once."""

from __future__ import annotations

import asyncio

import pytest

from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.redis import RedisFanout
from atriz_realtime.redis_link import make_link
from tests.faults.nodes import Node

CLOSE_LIMIT = 2.5
"""Seconds: less than a server gives its backends to close."""


@pytest.mark.parametrize("turns", range(30))
async def test_connections_that_are_cut_while_they_are_closed(single: Node, turns: int) -> None:
    """The cut arrives some turns of the loop before the close, during it, or after."""
    link = make_link(single.url, Incidents(SystemClock()).report)
    await link.start(lambda: None)
    fanout = RedisFanout(link, "")
    await fanout.subscribe("tracking:vehicle:v1", lambda *_: None)
    cut = asyncio.create_task(single.ask("CLIENT KILL", "TYPE", "pubsub"))
    cut_too = asyncio.create_task(single.ask("CLIENT KILL", "TYPE", "normal"))
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(CLOSE_LIMIT):
        await fanout.aclose()
    async with asyncio.timeout(CLOSE_LIMIT):
        await link.aclose()
    await asyncio.gather(cut, cut_too)

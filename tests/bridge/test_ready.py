"""Whoever begins to watch is told so when both ways that a fix may come are subscribed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

import pytest

from atriz_realtime.api import Deliver, RedisChannels, Resources
from atriz_realtime.defaults.typescript.adapter import AdapterEvents
from atriz_realtime.defaults.typescript.bridge import Bridge
from atriz_realtime.defaults.typescript.members import Members, RoomNames
from atriz_realtime.defaults.typescript.sharded import ShardedAdapter
from atriz_realtime.testing import FakeClock

TRACKING = "tracking:vehicle:v1"
ROOM = "socket.io#/#vehicle:v1#"


class Unhurried:
    """A fan-out that confirms what it is asked to when the test says so."""

    def __init__(self) -> None:
        self.asked: dict[str, asyncio.Future[None]] = {}

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        raise NotImplementedError

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        self.asked[channel] = asyncio.get_running_loop().create_future()
        return self.asked[channel]

    def unsubscribe(self, channel: str) -> None:
        del self.asked[channel]


class Nobody:
    """A server without sockets."""

    def select(
        self, rooms: Collection[str], skip: Collection[str]
    ) -> Mapping[str, Collection[str]]:
        return {}

    def join(self, sid: str, room: str) -> None: ...

    def leave(self, sid: str, room: str) -> None: ...

    def disconnect(self, sid: str) -> None: ...

    def follow(self, filled: Callable[[str], None], emptied: Callable[[str], None]) -> None: ...


@pytest.mark.parametrize("order", [(TRACKING, ROOM), (ROOM, TRACKING)])
async def test_a_subscription_is_done_when_both_ways_are(order: tuple[str, str]) -> None:
    fanout, names = Unhurried(), RoomNames("authenticated")
    bridge = Bridge(fanout, names, Resources(clock=FakeClock(), redis=None, settings={}))
    bridge.adapter = ShardedAdapter(
        fanout,
        "socket.io",
        Members(Nobody(), names),
        AdapterEvents(received=bridge.received, report=print),
        uid=bridge.uid,
        membership=Nobody(),
        room_names=names,
    )
    started = asyncio.ensure_future(bridge.subscribe(RedisChannels.EMITS, print))
    await asyncio.sleep(0)
    for asked in list(fanout.asked.values()):
        asked.set_result(None)
    await started

    watching = asyncio.ensure_future(bridge.subscribe(TRACKING, print))
    await asyncio.sleep(0)
    fanout.asked[order[0]].set_result(None)
    for _ in range(10):  # turns of the loop, more than it takes to notice
        await asyncio.sleep(0)
    assert not watching.done()
    fanout.asked[order[1]].set_result(None)
    await watching
    await bridge.aclose()
    assert set(fanout.asked) == {RedisChannels.EMITS, TRACKING}

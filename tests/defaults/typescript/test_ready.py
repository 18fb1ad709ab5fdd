"""A watcher's subscription is confirmed when the channel and the adapter are both subscribed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

import pytest

from atriz_realtime.api import Deliver, RedisChannels, Resources
from atriz_realtime.defaults.typescript.bridge import Bridge
from atriz_realtime.testing import FakeClock

TRACKING = "tracking:vehicle:v1"
ROOM = "socket.io#/#vehicle:v1#"


class ManualFanout:
    """A fan-out that confirms a subscription when the test does."""

    def __init__(self) -> None:
        self.asked: dict[str, asyncio.Future[None]] = {}

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        raise NotImplementedError

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        self.asked[channel] = asyncio.get_running_loop().create_future()
        return self.asked[channel]

    def unsubscribe(self, channel: str) -> None:
        del self.asked[channel]


class NoMembers:
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
async def test_a_subscription_is_done_when_both_channels_are(order: tuple[str, str]) -> None:
    fanout = ManualFanout()
    bridge = Bridge(
        fanout,
        fanout,
        NoMembers(),
        Resources(clock=FakeClock(), redis=None, settings={}),
        adapter="sharded",
        key="socket.io",
        authenticated_room="authenticated",
    )
    started = asyncio.ensure_future(bridge.subscribe(RedisChannels.EMITS, print))
    await asyncio.sleep(0)
    for asked in list(fanout.asked.values()):
        asked.set_result(None)
    await started

    watching = asyncio.ensure_future(bridge.subscribe(TRACKING, print))
    await asyncio.sleep(0)
    fanout.asked[order[0]].set_result(None)
    for _ in range(10):  # more turns of the loop than the result needs
        await asyncio.sleep(0)
    assert not watching.done()
    fanout.asked[order[1]].set_result(None)
    await watching
    await bridge.aclose()
    assert set(fanout.asked) == {RedisChannels.EMITS, TRACKING}

"""Late fixes of two servers that share a cache and a fan-out: held ones, and retried ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import attrs
import pytest

from atriz_realtime.api import EntityRef, Payload, decode_location
from atriz_realtime.core.publish.backends import OpenBackends
from atriz_realtime.core.publish.delivery import Delivery
from atriz_realtime.defaults.memory import MemoryCache, MemoryFanout, MemorySettings
from atriz_realtime.plugin_system.registry import EntityKind
from atriz_realtime.testing import FakeClock, payload, until
from tests.core.parts import AWAY, Hub, Member

KIND = EntityKind(
    name="vehicle",
    plugin="test",
    matches_id=bool,
    validate=None,
    cache_ttl=300,
    throttle="none",
    throttle_options={},
)


class SharedCache(MemoryCache):
    """A cache of several servers that knows which locations are held."""

    def __init__(self) -> None:
        super().__init__(FakeClock(), MemorySettings())
        self.away: Exception | None = None
        """What reading and marking raise."""
        self.marks: dict[EntityRef, tuple[bytes, str]] = {}

    async def put_held(self, payload: Payload, ttl: float) -> None:
        await self.put(payload, ttl)
        if await self.get(payload.entity) == payload.location:
            self.marks[payload.entity] = payload.location, "held"

    async def to_send(self, payload: Payload) -> bytes | None:
        if self.away is not None:
            raise self.away
        cached, mark = await self.get(payload.entity), self.marks.get(payload.entity)
        if cached not in (None, payload.location) and time_of(cached) >= time_of(payload.location):
            return cached if mark == (cached, "held") else None
        return None if mark == (payload.location, "sent") else payload.location

    async def mark_sent(self, payload: Payload) -> None:
        if self.away is not None:
            raise self.away
        if self.marks.get(payload.entity) == (payload.location, "held"):
            self.marks[payload.entity] = payload.location, "sent"


def time_of(location: bytes | None) -> Any:
    assert location is not None
    return decode_location(location).timestamp


class SharedFanout(MemoryFanout):
    """The fan-out of one of several servers."""

    def __init__(self, servers: list[SharedFanout]) -> None:
        super().__init__()
        self._servers = servers
        servers.append(self)
        self.away: Exception | None = None

    async def publish(self, channel: str, data: bytes) -> None:
        if self.away is not None:
            raise self.away
        for server in self._servers:
            await MemoryFanout.publish(server, channel, data)


class ConditionalFanout(SharedFanout):
    """The same, which compares and publishes in one step."""

    async def _publish(self, payload: Payload, cache: SharedCache) -> bool:
        if self.away is not None:
            raise self.away
        if await SharedCache.to_send(cache, payload) != payload.location:
            return False
        await self.publish(payload.channel, payload.event)
        await SharedCache.mark_sent(cache, payload)
        return True

    def publish_unless_newer(self, payload: Payload, cache: Any) -> Awaitable[bool] | None:
        return self._publish(payload, cache)


@attrs.define
class Server:
    hub: Hub
    delivery: Delivery
    cache: SharedCache
    fanout: SharedFanout
    member: Member
    seen: list[int] = attrs.field(factory=list)
    """The seconds of the fixes that its watcher was sent."""

    async def hold(self, seconds: int) -> None:
        await self.delivery.cache(payload(seconds=seconds), held=True)

    async def release(self, seconds: int) -> None:
        await self.delivery.publish(payload(seconds=seconds), held=True)

    @property
    def sent(self) -> list[int]:
        for frame in self.member.frames:
            _, _, rest = str(frame).partition('"timestamp":"')
            self.seen.append(int(rest[17:19]))
        return self.seen


@pytest.fixture(params=[SharedFanout, ConditionalFanout], ids=["two steps", "one step"])
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[list[Server]]:
    cache, fanouts = SharedCache(), list[SharedFanout]()
    made = []
    for _ in range(2):
        hub, fanout = Hub(), request.param(fanouts)
        delivery = Delivery(
            {"vehicle": KIND}, hub.broadcaster, hub.channels, hub.clock, hub.incidents
        )
        delivery.start(OpenBackends(cache, fanout, fanout), lambda: None)
        member = await hub.connect()
        hub.enter(member, "vehicle:v1")
        made.append(Server(hub, delivery, cache, fanout, member))
    yield made
    cache.away = None
    for server in made:
        server.fanout.away = None
        await server.delivery.aclose()


async def test_watchers_get_the_newest_fix_when_either_server_lets_one_out(
    servers: list[Server],
) -> None:
    """One device, whose fixes come to the two servers by turns, and windows of four fixes."""
    held: dict[int, int] = {}
    for second in range(1, 41):
        which = second % 2
        await servers[which].hold(second)
        held[which] = second
        if second % 4 == 2:
            await servers[1].release(held[1])
        elif second % 4 == 0:
            await servers[0].release(held[0])
    newest_at_each_release = list(range(2, 41, 2))
    assert [server.sent for server in servers] == [newest_at_each_release] * 2


async def test_a_fix_that_another_server_has_sent_is_not_sent_again(servers: list[Server]) -> None:
    here, there = servers
    await here.hold(1)
    await there.hold(2)
    await here.release(1)
    await there.delivery.publish(payload(seconds=0))  # of another device, whose clock is behind
    await there.release(2)
    assert here.sent == there.sent == [2, 0]


async def test_a_held_fix_gives_way_to_a_newer_one_that_was_sent(servers: list[Server]) -> None:
    here, there = servers
    await here.hold(1)
    await there.delivery.publish(payload(seconds=2))
    await here.release(1)
    assert here.sent == there.sent == [2]
    await here.hold(3)
    await here.release(3)
    await there.hold(4)
    await there.release(4)
    assert here.sent == there.sent == [2, 3, 4]


async def test_a_retried_fix_gives_way_to_a_newer_one_that_is_held(servers: list[Server]) -> None:
    here, there = servers
    here.fanout.away = AWAY
    await here.delivery.publish(payload(seconds=1))
    await there.hold(2)
    here.fanout.away = None
    here.delivery.reachable()
    await until(lambda: not len(here.delivery.backlog))
    assert (here.sent, there.sent) == ([1, 2], [2])
    await there.release(2)
    assert (here.sent, there.sent) == ([1, 2], [2])


async def test_what_an_outage_has_left_goes_out_afterwards(servers: list[Server]) -> None:
    here, there = servers
    await here.hold(1)
    await there.hold(2)
    here.fanout.away = there.fanout.away = AWAY
    await here.release(1)
    await there.release(2)
    assert (here.sent, there.sent) == ([1], [2])
    here.fanout.away = there.fanout.away = None
    for server in servers:
        server.delivery.reachable()
        while len(server.delivery.backlog):
            await asyncio.sleep(0)
    assert (here.sent, there.sent) == ([1, 2], [2])


async def test_a_fix_that_was_sent_is_not_sent_again_while_the_fan_out_is_away(
    servers: list[Server],
) -> None:
    here, there = servers
    await here.hold(1)
    await there.hold(2)
    await here.release(1)
    await here.delivery.publish(payload(seconds=0))
    there.fanout.away = AWAY
    await there.release(2)
    assert there.sent == [2, 0]
    there.fanout.away = None
    there.delivery.reachable()
    await until(lambda: not len(there.delivery.backlog))
    assert here.sent == there.sent == [2, 0]


@pytest.mark.parametrize("failure", [AWAY, LookupError("a bug")], ids=["away", "broken"])
async def test_a_cache_that_cannot_say_what_is_held_loses_nothing(
    servers: list[Server], failure: Exception
) -> None:
    here, there = servers
    await here.hold(1)
    await there.hold(2)
    here.cache.away = failure
    await here.release(1)
    assert (here.sent, there.sent) == ([1], [])
    here.cache.away = None
    here.delivery.reachable()
    await until(lambda: not len(here.delivery.backlog))
    assert (here.sent, there.sent) == ([1, 2], [2])


async def test_a_fix_that_cannot_be_marked_as_sent_reaches_watchers_once(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise AWAY

    here, there = servers
    monkeypatch.setattr(here.cache, "mark_sent", refuse)
    await here.hold(1)
    await there.hold(2)
    await here.release(1)
    await there.release(2)
    assert here.sent == there.sent == [2]
    assert not len(here.delivery.backlog)

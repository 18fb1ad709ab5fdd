"""Emits to rooms that may have members on other servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from atriz_realtime.api import Emit, InvalidRequest, RedisChannels
from atriz_realtime.core.hub import relay as module
from atriz_realtime.core.hub.relay import Relay
from atriz_realtime.testing import until
from tests.core.parts import AWAY, Away, Fanned, Hub


class Shared(Fanned):
    """One fan-out for several servers of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.servers: list[Any] = []
        self.published: list[bytes] = []

    def subscribe(self, channel: str, deliver: Any) -> Any:
        self.servers.append(deliver)
        return super().subscribe(channel, deliver)

    def unsubscribe(self, channel: str) -> None:
        self.servers.clear()

    async def publish(self, channel: str, data: bytes) -> None:
        self.published.append(data)
        for deliver in self.servers:
            deliver(channel, data)


@asynccontextmanager
async def relaying(hub: Hub, fanout: Any) -> AsyncIterator[Relay]:
    relay = hub.relay
    await relay.start(fanout, hub.rooms.emit_encoded)
    try:
        yield relay
    finally:
        await relay.aclose()


async def test_an_emit_reaches_each_member_on_each_server_once(hub: Hub) -> None:
    there, fanout = Hub(), Shared()
    mine, other, theirs = await hub.connect(), await hub.connect(), await there.connect()
    hub.enter(mine, "room")
    there.enter(theirs, "room")
    async with relaying(hub, fanout), relaying(there, fanout):
        await hub.server.emit("e", {"n": 1}, room="room")
        await until(theirs.count)
        await there.server.emit("e", (2, b"\x00\xff"), room=["room", "other"])
        await until(lambda: theirs.count() >= 3 and mine.count() >= 3)
    expected = ['2["e",{"n":1}]', '51-["e",2,{"_placeholder":true,"num":0}]', b"\x00\xff"]
    assert mine.frames == theirs.frames == expected
    assert other.frames == []


async def test_skipped_sockets_are_skipped_on_every_server(hub: Hub) -> None:
    there, fanout = Hub(), Shared()
    mine, theirs, kept = await hub.connect(), await there.connect(), await there.connect()
    async with relaying(hub, fanout), relaying(there, fanout):
        await hub.server.emit("e", skip_sid=[mine.sid, theirs.sid])
        await until(kept.count)
    assert (mine.frames, theirs.frames, kept.frames) == ([], [], ['2["e"]'])


async def test_namespaces_and_conflation_are_carried(hub: Hub) -> None:
    there, fanout = Hub(max_pending_frames=2), Shared()
    admin, theirs = await there.connect("/admin"), await there.connect()
    there.enter(theirs, "room")
    theirs.session.hold()
    async with relaying(hub, fanout), relaying(there, fanout):
        await hub.server.emit("e", namespace="/admin")
        for number in range(10):
            await hub.rooms.emit("e", number, "/", room="room", conflation_key="room")
        await until(lambda: len(fanout.published) == 11)
    theirs.session.release()
    assert admin.frames == ['2/admin,["e"]']
    assert theirs.frames == ['2["e",9]']


async def test_emits_keep_their_order(hub: Hub) -> None:
    there, fanout = Hub(), Shared()
    theirs = await there.connect()
    async with relaying(hub, fanout), relaying(there, fanout):
        for number in range(200):
            await hub.server.emit("e", number)
        await until(lambda: theirs.count() == 200)
    assert theirs.frames == [f'2["e",{number}]' for number in range(200)]


async def test_members_here_are_served_while_the_fan_out_is_away(hub: Hub) -> None:
    member, fanout = await hub.connect(), Away(Fanned())
    async with relaying(hub, fanout):
        fanout.away = AWAY
        await hub.server.emit("e")
        await until(lambda: hub.incidents.counts["emits not relayed"])
    assert member.frames == ['2["e"]']


async def test_a_fan_out_that_raises_what_it_should_not_hurts_nobody(hub: Hub) -> None:
    fanout = Away(Fanned())
    async with relaying(hub, fanout):
        fanout.away = LookupError("a bug")
        await hub.server.emit("e")
        await until(lambda: hub.incidents.counts["emits not relayed"])


async def test_what_is_under_way_is_bounded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SENDING", 3)
    member, fanout = await hub.connect(), Away(Fanned())
    async with relaying(hub, fanout) as relay:
        fanout.gate = asyncio.Event()
        for _ in range(5):
            await hub.server.emit("e")
        assert hub.incidents.counts["emits not relayed"] == 2
        assert len(member.frames) == 5
        fanout.gate.set()
        await until(lambda: not relay._sending)
        await hub.server.emit("e")
        assert len(fanout.calls) == 4


async def test_closing_waits_for_what_is_under_way(hub: Hub) -> None:
    fanout = Shared()
    relay = hub.relay
    await relay.start(fanout, hub.rooms.emit_encoded)
    await hub.server.emit("e")
    await relay.aclose()
    assert len(fanout.published) == 1
    await hub.server.emit("e")  # reaches this server alone from now on
    assert len(fanout.published) == 1


FOREIGN = [
    b"",
    b"\xff",
    b"[]",
    b"null",
    b"{}",
    b'{"from":1}',
    b'{"from":"x","nsp":"/","rooms":5,"skip":[],"packet":"2","attachments":[],"key":null}',
    b'{"from":"x","nsp":"/","rooms":[[]],"skip":[],"packet":"2","attachments":[],"key":null}',
    b'{"from":"x","nsp":"/","rooms":null,"skip":7,"packet":"2","attachments":[],"key":null}',
    b'{"from":"x","nsp":"/","rooms":null,"skip":[],"packet":{},"attachments":[],"key":null}',
    b'{"from":"x","nsp":[],"rooms":null,"skip":[],"packet":"2","attachments":[],"key":null}',
    b'{"from":"x","nsp":"/","rooms":null,"skip":[],"packet":"2","attachments":["a"],"key":null}',
    b'{"from":"x","nsp":"/","rooms":null,"skip":[],"packet":"2","attachments":[1],"key":null}',
    b'{"from":"x","nsp":"/","rooms":null,"skip":[],"packet":"2","attachments":[],"key":[]}',
]


@pytest.mark.parametrize("data", FOREIGN, ids=lambda data: data[:24].decode(errors="replace"))
async def test_what_another_program_published_there_is_counted_and_ignored(
    hub: Hub, data: bytes
) -> None:
    member, fanout = await hub.connect(), Shared()
    async with relaying(hub, fanout):
        await fanout.publish(RedisChannels.EMITS, data)
        assert member.frames == []
        assert hub.incidents.counts["foreign emit ignored"] == 1


@pytest.mark.parametrize("data", FOREIGN, ids=lambda data: data[:24].decode(errors="replace"))
def test_an_emit_is_read_strictly(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        Emit.decode(data)


@pytest.mark.parametrize("rooms", [None, [], ["a", "b"]])
@pytest.mark.parametrize("key", [None, "k"])
def test_an_emit_survives_the_wire(rooms: list[str] | None, key: str | None) -> None:
    emit = Emit(
        sender="s",
        namespace="/n",
        rooms=rooms,
        skip=["x"],
        packet='2["e"]',
        attachments=[b"", b"\x00\xff"],
        key=key,
    )
    assert Emit.decode(emit.encode()) == emit
    assert json.loads(emit.encode())["packet"] == '2["e"]'

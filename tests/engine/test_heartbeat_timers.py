"""The timers of pings and pongs: when a session is pinged, and when it expires."""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import Any

import pytest

from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.deadlines import MIN_PAUSE
from atriz_realtime.engine.protocol.packets import PING_PACKET, PONG, Packet
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Reason, Transport
from tests.support.servers.serving import TIMEOUT, until


class Pinged(Transport):
    """The transport of a session, which records its pings and adds itself to those that expired."""

    name = "websocket"

    def __init__(self, expired: list[Pinged]) -> None:
        self._expired = expired
        self.pings: list[float] = []
        self.pinged = asyncio.Event()

    def write(self, content: list[Packet]) -> None:
        if content == [PING_PACKET]:
            self.pings.append(asyncio.get_running_loop().time())
            self.pinged.set()

    def close(self) -> None:
        self._expired.append(self)


class Stored(dict[str, Any]):
    """What an application stores with a session; unlike a session it takes weak references."""


class Beating:
    """An engine without a network, and the transports of the sessions that expired."""

    def __init__(self, interval: float, timeout: float) -> None:
        self.expired: list[Pinged] = []
        self.engine = EngineServer(ping_interval=interval, ping_timeout=timeout)
        self.sids: dict[Pinged, str] = {}

    def start(self) -> Pinged:
        transport = Pinged(self.expired)
        sessions = self.engine.sessions
        session = sessions.create(Request(b"GET / HTTP/1.1\r\n", None, "http"), transport)
        self.sids[transport] = session.sid
        assert sessions.open(session) is True
        return transport

    def pong(self, transport: Pinged) -> None:
        session = self.engine.sockets.get(self.sids[transport])
        if session is not None:
            self.engine.sessions.receive(session, PONG, "")

    def check(self, transport: Pinged) -> None:
        self.engine.sessions.find(self.sids[transport])

    def stop(self, transport: Pinged) -> None:
        session = self.engine.sockets[self.sids[transport]]
        self.engine.sessions.cut(session, Reason.SERVER_DISCONNECT)


@pytest.mark.parametrize("timeout", [0.06, 20.0])
async def test_the_next_ping_is_an_interval_after_the_pong(timeout: float) -> None:
    """Also where the timeout is longer than the interval."""
    beating = Beating(0.05, timeout)
    session = beating.start()
    for _ in range(3):
        async with asyncio.timeout(TIMEOUT):
            await session.pinged.wait()
        session.pinged.clear()
        beating.pong(session)
    gaps = [b - a for a, b in zip(session.pings, session.pings[1:], strict=False)]
    assert min(gaps) >= 0.049
    assert beating.expired == []
    await beating.engine.shutdown()


async def test_a_session_that_does_not_answer_expires_once() -> None:
    beating = Beating(0.03, 0.05)
    silent, lively = beating.start(), beating.start()
    await until(lambda: lively.pings)
    started = asyncio.get_running_loop().time()
    beating.pong(lively)
    await until(lambda: beating.expired)
    assert beating.expired == [silent]
    assert asyncio.get_running_loop().time() - started >= 0.05 - MIN_PAUSE
    assert len(silent.pings) == 1
    beating.pong(silent)
    beating.check(silent)
    assert beating.expired == [silent]
    await beating.engine.shutdown()


async def test_a_pong_without_a_ping_is_ignored() -> None:
    beating = Beating(0.05, 1.0)
    session = beating.start()
    for _ in range(100):
        beating.pong(session)
    await until(lambda: session.pings)
    await asyncio.sleep(0.06)
    assert len(session.pings) == 1
    await beating.engine.shutdown()


async def test_a_stopped_session_is_neither_pinged_nor_referenced() -> None:
    beating = Beating(0.03, 0.05)
    ended, open_ = beating.start(), beating.start()
    sid = beating.sids[ended]
    beating.engine.sockets[sid].user_session = stored = Stored()
    beating.stop(ended)
    reference = weakref.ref(stored)
    del stored
    await until(lambda: open_.pings)
    assert sid not in beating.engine.sockets
    assert reference() is None
    assert ended.pings == []
    beating.stop(open_)
    await asyncio.sleep(0.06)
    assert beating.expired == []
    await beating.engine.shutdown()


async def test_one_check_serves_many_sessions() -> None:
    beating = Beating(0.02, 1.0)
    sessions = [beating.start() for _ in range(500)]
    await until(lambda: all(each.pings for each in sessions))
    times = {each.pings[0] for each in sessions}
    assert max(times) - min(times) < 1.0
    await beating.engine.shutdown()


async def test_a_late_session_can_be_expired_at_once() -> None:
    beating = Beating(0.01, 0.05)
    session = beating.start()
    beating.check(session)
    await until(lambda: session.pings)
    beating.check(session)
    assert beating.expired == []
    time.sleep(0.06)  # the loop is busy  # noqa: ASYNC251
    await asyncio.sleep(0)
    beating.check(session)
    assert beating.expired == [session]
    beating.check(session)
    await asyncio.sleep(0.02)
    assert beating.expired == [session]
    await beating.engine.shutdown()


async def test_a_late_ping_does_not_move_the_end_of_its_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clients count the timeout from when the ping was due, not from when it was sent."""
    beating = Beating(30.0, 20.0)
    loop = asyncio.get_running_loop()
    opened = loop.time()
    session = beating.start()
    monkeypatch.setattr(loop, "time", lambda: opened + 35.0)  # the ping's timer is late
    beating.check(session)
    assert beating.expired == []
    monkeypatch.setattr(loop, "time", lambda: opened + 50.1)
    beating.check(session)
    assert beating.expired == [session]
    monkeypatch.undo()
    await beating.engine.shutdown()


async def test_a_server_that_has_stopped_pings_nothing() -> None:
    beating = Beating(0.01, 0.01)
    before = beating.start()
    await beating.engine.shutdown()
    after = beating.start()
    await asyncio.sleep(0.05)
    assert before.pings == after.pings == []

"""The timers of the heartbeat: when a session is pinged, and when it expires."""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import Any

import pytest

from atriz_realtime.engine.deadlines import MIN_PAUSE
from atriz_realtime.engine.heartbeat import Heartbeat
from tests.support.servers.serving import TIMEOUT, until


class Pinged:
    """The part of a session that the heartbeat uses."""

    def __init__(self) -> None:
        self.pings: list[float] = []
        self.pinged = asyncio.Event()

    def ping(self) -> None:
        self.pings.append(asyncio.get_running_loop().time())
        self.pinged.set()


class Beating:
    """A heartbeat, and the sessions that expired."""

    def __init__(self, interval: float, timeout: float) -> None:
        self.expired: list[Any] = []
        self.heartbeat = Heartbeat(interval, timeout, self.expired.append)

    def start(self) -> Any:
        session: Any = Pinged()
        self.heartbeat.start(session)
        return session


@pytest.mark.parametrize("timeout", [0.06, 20.0])
async def test_the_next_ping_is_an_interval_after_the_pong(timeout: float) -> None:
    """Also where the timeout is longer than the interval."""
    beating = Beating(0.05, timeout)
    session = beating.start()
    for _ in range(3):
        async with asyncio.timeout(TIMEOUT):
            await session.pinged.wait()
        session.pinged.clear()
        beating.heartbeat.pong(session)
    gaps = [b - a for a, b in zip(session.pings, session.pings[1:], strict=False)]
    assert min(gaps) >= 0.049
    assert beating.expired == []
    beating.heartbeat.close()


async def test_a_session_that_does_not_answer_expires_once() -> None:
    beating = Beating(0.03, 0.05)
    silent, lively = beating.start(), beating.start()
    await until(lambda: lively.pings)
    started = asyncio.get_running_loop().time()
    beating.heartbeat.pong(lively)
    await until(lambda: beating.expired)
    assert beating.expired == [silent]
    assert asyncio.get_running_loop().time() - started >= 0.05 - MIN_PAUSE
    assert len(silent.pings) == 1
    beating.heartbeat.pong(silent)
    beating.heartbeat.check(silent)
    assert beating.expired == [silent]
    beating.heartbeat.close()


async def test_a_pong_without_a_ping_is_ignored() -> None:
    beating = Beating(0.05, 1.0)
    session = beating.start()
    for _ in range(100):
        beating.heartbeat.pong(session)
    await until(lambda: session.pings)
    await asyncio.sleep(0.06)
    assert len(session.pings) == 1
    beating.heartbeat.close()


async def test_a_stopped_session_is_neither_pinged_nor_referenced() -> None:
    beating = Beating(0.03, 0.05)
    ended, open_ = beating.start(), beating.start()
    beating.heartbeat.stop(ended)
    reference = weakref.ref(ended)
    pings = ended.pings
    del ended
    assert reference() is None
    await until(lambda: open_.pings)
    assert pings == []
    beating.heartbeat.stop(open_)
    await asyncio.sleep(0.06)
    assert beating.expired == []
    beating.heartbeat.close()


async def test_one_check_serves_many_sessions() -> None:
    beating = Beating(0.02, 1.0)
    sessions = [beating.start() for _ in range(500)]
    await until(lambda: all(each.pings for each in sessions))
    times = {each.pings[0] for each in sessions}
    assert max(times) - min(times) < 1.0
    beating.heartbeat.close()


async def test_a_late_session_can_be_expired_at_once() -> None:
    beating = Beating(0.01, 0.05)
    session = beating.start()
    beating.heartbeat.check(session)
    await until(lambda: session.pings)
    beating.heartbeat.check(session)
    assert beating.expired == []
    time.sleep(0.06)  # the loop is busy  # noqa: ASYNC251
    await asyncio.sleep(0)
    beating.heartbeat.check(session)
    assert beating.expired == [session]
    beating.heartbeat.check(session)
    await asyncio.sleep(0.02)
    assert beating.expired == [session]
    beating.heartbeat.close()


async def test_a_closed_heartbeat_pings_nothing() -> None:
    beating = Beating(0.01, 0.01)
    before = beating.start()
    beating.heartbeat.close()
    after = beating.start()
    await asyncio.sleep(0.05)
    assert before.pings == after.pings == []

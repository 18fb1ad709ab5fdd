"""What could not be sent, the newest of each entity, until it can."""

from __future__ import annotations

import asyncio

import pytest

from atriz_realtime.core.publish import backlog as module
from atriz_realtime.core.publish.backlog import Backlog, Unsent
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.testing import payload, until


class Way:
    """The way out: open or not, and what has gone it."""

    def __init__(self) -> None:
        self.open = True
        self.attempts = 0
        self.sent: list[tuple[str, str]] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, unsent: Unsent) -> Unsent | None:
        self.attempts += 1
        if self.gate is not None:
            await self.gate.wait()
        if not self.open:
            return unsent
        self.sent.append((unsent.payload.entity.id, unsent.payload.timestamp[17:19]))
        return None


@pytest.fixture
def way() -> Way:
    return Way()


@pytest.fixture
def backlog(way: Way, incidents: Incidents) -> Backlog:
    return Backlog(way, incidents)


def unsent(entity_id: str = "v1", seconds: float = 0) -> Unsent:
    return Unsent(payload(entity_id, seconds), publish=True, cache=True)


async def test_the_newest_of_each_entity_is_sent_when_the_way_is_free(
    backlog: Backlog, way: Way
) -> None:
    for seconds in range(3):
        backlog.add(unsent("v1", seconds))
        backlog.add(unsent("v2", seconds))
    assert len(backlog) == 2
    backlog.flush()
    await until(lambda: not len(backlog))
    assert way.sent == [("v1", "02"), ("v2", "02")]
    await backlog.aclose()


async def test_it_tries_again_by_itself(
    backlog: Backlog, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_delay", 0.001)
    way.open = False
    backlog.add(unsent())
    await until(lambda: way.attempts >= 2)
    way.open = True
    await until(lambda: way.sent)
    assert len(backlog) == 0
    await backlog.aclose()


async def test_attempts_become_rarer_until_somebody_says_the_way_is_free(
    backlog: Backlog, way: Way
) -> None:
    way.open = False
    delays = []
    for _ in range(6):
        backlog.add(unsent())
        delays.append(backlog._delay)
        assert backlog._retry is not None
        backlog._begin()  # the timer is over
        assert backlog._flushing is not None
        await backlog._flushing
    assert delays == sorted(delays)
    assert delays[-1] == module.RETRY_MOST
    backlog.flush()
    assert backlog._delay == module.RETRY_FIRST
    await backlog.aclose()


async def test_what_a_newer_fix_has_replaced_is_not_sent(backlog: Backlog, way: Way) -> None:
    first = unsent("v1")
    backlog.begin(unsent("v1").payload)
    backlog.add(first)
    backlog.add(unsent("v2"))
    backlog.begin(unsent("v1").payload)
    backlog.flush()
    await until(lambda: not len(backlog))
    assert [entity_id for entity_id, _ in way.sent] == ["v2"]


async def test_a_newer_fix_that_failed_meanwhile_is_kept(backlog: Backlog, way: Way) -> None:
    way.gate, way.open = asyncio.Event(), False
    backlog.add(unsent(seconds=1))
    backlog.flush()
    await until(lambda: way.attempts)
    backlog.add(unsent(seconds=2))  # while the first is being sent
    way.gate.set()
    await until(lambda: backlog._flushing is None or backlog._flushing.done())
    way.open = True
    backlog.flush()
    await until(lambda: way.sent)
    assert way.sent == [("v1", "02")]
    await backlog.aclose()


async def test_what_is_left_to_do_is_kept(incidents: Incidents) -> None:
    attempts: list[tuple[bool, bool]] = []

    async def send(fix: Unsent) -> Unsent | None:
        attempts.append((fix.publish, fix.cache))
        if fix.publish:
            return Unsent(fix.payload, publish=False, cache=True)
        return None

    backlog = Backlog(send, incidents)
    backlog.add(unsent())
    backlog.flush()
    await until(lambda: attempts)
    backlog.flush()
    await until(lambda: not len(backlog))
    assert attempts == [(True, True), (False, True)]


async def test_memory_is_bounded(
    backlog: Backlog, way: Way, incidents: Incidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ENTITIES", 3)
    for number in range(5):
        backlog.add(unsent(f"v{number}"))
    backlog.add(unsent("v2"))  # is now the one that came last
    backlog.add(unsent("v5"))
    assert incidents.counts["fixes dropped"] == 3
    assert backlog.statistics() == {"waiting": 3, "superseded": 1, "dropped": 3}
    await backlog.aclose()
    assert [entity_id for entity_id, _ in way.sent] == ["v4", "v2", "v5"]


async def test_many_are_sent_a_chunk_at_a_time(
    backlog: Backlog, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    for number in range(35):
        backlog.add(unsent(f"v{number:02}"))
    backlog.flush()
    await until(lambda: not len(backlog))
    assert [entity_id for entity_id, _ in way.sent] == [f"v{number:02}" for number in range(35)]


async def test_closing_makes_a_last_attempt_and_stops(backlog: Backlog, way: Way) -> None:
    backlog.add(unsent())
    await backlog.aclose()
    assert way.sent == [("v1", "00")]
    way.open = False
    backlog.add(unsent())
    await backlog.aclose()
    await backlog.aclose()

"""Fixes that wait for a retry, the newest of each entity."""

from __future__ import annotations

import asyncio

import pytest

from atriz_realtime.core.publish import backlog as module
from atriz_realtime.core.publish.backlog import Backlog, Unsent
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.testing import payload, until


class Backend:
    """Takes fixes while it is reachable."""

    def __init__(self) -> None:
        self.reachable = True
        self.attempts = 0
        self.sent: list[tuple[str, str]] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, unsent: Unsent) -> Unsent | None:
        self.attempts += 1
        if self.gate is not None:
            await self.gate.wait()
        if not self.reachable:
            return unsent
        self.sent.append((unsent.payload.entity.id, unsent.payload.timestamp[17:19]))
        return None


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def backlog(backend: Backend, incidents: Incidents) -> Backlog:
    return Backlog(backend, incidents)


def unsent(entity_id: str = "v1", seconds: float = 0) -> Unsent:
    return Unsent(payload(entity_id, seconds), publish=True, cache=True)


async def test_a_flush_sends_the_newest_fix_of_each_entity(
    backlog: Backlog, backend: Backend
) -> None:
    for seconds in range(3):
        backlog.add(unsent("v1", seconds))
        backlog.add(unsent("v2", seconds))
    assert len(backlog) == 2
    backlog.flush()
    await until(lambda: not len(backlog))
    assert backend.sent == [("v1", "02"), ("v2", "02")]
    await backlog.aclose()


async def test_it_retries_by_itself(
    backlog: Backlog, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_delay", 0.001)
    backend.reachable = False
    backlog.add(unsent())
    await until(lambda: backend.attempts >= 2)
    backend.reachable = True
    await until(lambda: backend.sent)
    assert len(backlog) == 0
    await backlog.aclose()


async def test_retries_become_rarer_until_a_flush(backlog: Backlog, backend: Backend) -> None:
    backend.reachable = False
    delays = []
    for _ in range(6):
        backlog.add(unsent())
        delays.append(backlog._delay)
        assert backlog._timer is not None
        backlog._start_flush()  # the timer expires
        assert backlog._flushing is not None
        await backlog._flushing
    assert delays == sorted(delays)
    assert delays[-1] == module.RETRY_MOST
    backlog.flush()
    assert backlog._delay == module.RETRY_FIRST
    await backlog.aclose()


async def test_a_fix_that_a_newer_one_replaces_is_not_sent(
    backlog: Backlog, backend: Backend
) -> None:
    newer = unsent("v1", 1).payload
    backlog.discard(newer)
    backlog.add(unsent("v1"))
    backlog.add(unsent("v2"))
    backlog.discard(newer)
    backlog.flush()
    await until(lambda: not len(backlog))
    assert [entity_id for entity_id, _ in backend.sent] == ["v2"]


async def test_an_older_fix_that_comes_later_replaces_nothing(
    backlog: Backlog, backend: Backend
) -> None:
    older = unsent("v1", 1)
    backlog.add(unsent("v1", 2))
    backlog.discard(older.payload)
    backlog.add(older)
    await backlog.aclose()
    assert backend.sent == [("v1", "02")]
    assert backlog.statistics()["superseded"] == 1


async def test_the_steps_of_one_fix_that_fail_one_after_another_are_all_retried(
    incidents: Incidents,
) -> None:
    attempts: list[tuple[bool, bool]] = []

    async def retry(fix: Unsent) -> None:
        attempts.append((fix.publish, fix.cache))

    backlog, held = Backlog(retry, incidents), payload()
    backlog.add(Unsent(held, publish=False, cache=True))
    backlog.discard(held)
    backlog.add(Unsent(held, publish=True, cache=False))
    await backlog.aclose()
    assert attempts == [(True, True)]


async def test_a_newer_fix_that_fails_during_a_retry_waits_for_the_next(
    backlog: Backlog, backend: Backend
) -> None:
    backend.gate, backend.reachable = asyncio.Event(), False
    backlog.add(unsent(seconds=1))
    backlog.flush()
    await until(lambda: backend.attempts)
    backlog.add(unsent(seconds=2))  # while the first is being sent
    backend.gate.set()
    await until(lambda: backlog._flushing is None or backlog._flushing.done())
    backend.reachable = True
    backlog.flush()
    await until(lambda: backend.sent)
    assert backend.sent == [("v1", "02")]
    await backlog.aclose()


async def test_only_the_steps_that_failed_are_retried(incidents: Incidents) -> None:
    attempts: list[tuple[bool, bool]] = []

    async def retry(fix: Unsent) -> Unsent | None:
        attempts.append((fix.publish, fix.cache))
        if fix.publish:
            return Unsent(fix.payload, publish=False, cache=True)
        return None

    backlog = Backlog(retry, incidents)
    backlog.add(unsent())
    backlog.flush()
    await until(lambda: attempts)
    backlog.flush()
    await until(lambda: not len(backlog))
    assert attempts == [(True, True), (False, True)]


async def test_memory_is_bounded(
    backlog: Backlog, backend: Backend, incidents: Incidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ENTITIES", 3)
    for number in range(5):
        backlog.add(unsent(f"v{number}"))
    backlog.add(unsent("v2"))  # is now the newest
    backlog.add(unsent("v5"))
    assert incidents.counts["fixes dropped"] == 3
    assert backlog.statistics() == {"waiting": 3, "superseded": 1, "dropped": 3}
    await backlog.aclose()
    assert [entity_id for entity_id, _ in backend.sent] == ["v4", "v2", "v5"]


async def test_many_are_sent_a_chunk_at_a_time(
    backlog: Backlog, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    for number in range(35):
        backlog.add(unsent(f"v{number:02}"))
    backlog.flush()
    await until(lambda: not len(backlog))
    assert [entity_id for entity_id, _ in backend.sent] == [f"v{number:02}" for number in range(35)]


async def test_closing_goes_on_retrying_for_a_while(
    backlog: Backlog, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_FIRST", 0.001)
    backend.reachable = False
    backlog.add(unsent())
    closing = asyncio.create_task(backlog.aclose())
    await until(lambda: backend.attempts > 2)
    backend.reachable = True
    await closing
    assert backend.sent == [("v1", "00")]
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.01)
    backend.reachable = False
    backlog.add(unsent())
    await backlog.aclose()
    await backlog.aclose()

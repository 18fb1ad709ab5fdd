"""A bounded queue with one consumer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from atriz_realtime.api import Unavailable
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.core.runtime.worker import Worker
from atriz_realtime.testing import FakeClock, until

MakeWorker = Callable[..., Worker[int]]


@pytest.fixture
def make(incidents: Incidents, clock: FakeClock) -> MakeWorker:
    def make(
        work: Callable[[int], Awaitable[None]],
        *,
        size: int = 10,
        limit: float = 5.0,
        started: bool = True,
    ) -> Worker[int]:
        worker = Worker(
            "history",
            "observer 'x'",
            work,
            size=size,
            limit=limit,
            plugin_runner=PluginRunner(incidents, clock, limit=5.0),
            incidents=incidents,
        )
        if started:
            worker.start()
        return worker

    return make


async def test_items_are_processed_one_at_a_time_in_order(make: MakeWorker) -> None:
    log: list[str] = []

    async def work(item: int) -> None:
        log.append(f"{item} begins")
        await asyncio.sleep(0)
        log.append(f"{item} ends")

    worker = make(work)
    worker.put(1)
    worker.put(2)
    await until(lambda: len(log) == 4)
    worker.put(3)
    await until(lambda: len(log) == 6)
    assert log == [f"{item} {what}" for item in (1, 2, 3) for what in ("begins", "ends")]
    await worker.aclose()


async def test_a_full_queue_drops_the_oldest_items(make: MakeWorker, incidents: Incidents) -> None:
    gate, done = asyncio.Event(), []

    async def work(item: int) -> None:
        await gate.wait()
        done.append(item)

    worker = make(work, size=3)
    worker.put(0)
    await asyncio.sleep(0)  # the worker takes the first item
    for item in range(1, 8):
        worker.put(item)
    gate.set()
    await until(lambda: len(done) == 4)
    assert done == [0, 5, 6, 7]
    assert dict(incidents.counts) == {"plugin history too slow": 4}
    await worker.aclose()


@pytest.mark.parametrize(
    "failure",
    [LookupError("a bug"), asyncio.CancelledError(), Unavailable("the server is closing")],
    ids=repr,
)
async def test_after_a_failure_the_worker_goes_on_with_the_next_item(
    make: MakeWorker, incidents: Incidents, failure: BaseException
) -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        if item == 1:
            raise failure
        done.append(item)

    worker = make(work)
    for item in (1, 2, 3):
        worker.put(item)
    await until(lambda: len(done) == 2)
    assert done == [2, 3]
    assert incidents.counts["plugin history failed"] == 1
    await worker.aclose()


async def test_work_that_hangs_times_out(make: MakeWorker, incidents: Incidents) -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        if item == 1:
            await asyncio.Event().wait()
        done.append(item)

    worker = make(work, limit=0.01)
    worker.put(1)
    worker.put(2)
    await until(lambda: done)
    assert incidents.counts["plugin history timed out"] == 1
    await worker.aclose()


async def test_closing_drops_what_is_queued(make: MakeWorker) -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        done.append(item)
        await asyncio.Event().wait()

    worker = make(work)
    worker.put(1)
    worker.put(2)
    await until(lambda: done)
    await worker.aclose()
    await worker.aclose()
    worker.put(3)
    assert done == [1]


async def test_items_wait_until_it_is_started(make: MakeWorker) -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        done.append(item)

    worker = make(work, started=False)
    worker.put(1)
    await asyncio.sleep(0)
    assert done == []
    worker.start()
    await until(lambda: done == [1])
    await worker.aclose()


async def test_finishing_processes_what_is_queued(make: MakeWorker, incidents: Incidents) -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        await asyncio.sleep(0)
        done.append(item)

    worker = make(work)
    for item in (1, 2, 3):
        worker.put(item)
    await worker.finish(5.0)
    assert done == [1, 2, 3]
    worker.put(4)
    await worker.finish(5.0)
    assert (done, incidents.counts) == ([1, 2, 3], {})


async def test_what_is_not_finished_in_time_is_dropped_and_counted(
    make: MakeWorker, incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        if item == 2:
            await asyncio.Event().wait()
        done.append(item)

    worker = make(work)
    for item in (1, 2, 3):
        worker.put(item)
    await worker.finish(0.01)
    assert (done, incidents.counts) == ([1], {"plugin history too slow": 1})
    assert "observer 'x': the server stops; dropping the last of its queue (2)" in caplog.text


async def test_a_worker_that_was_not_started_can_be_finished_and_closed(make: MakeWorker) -> None:
    async def work(_: int) -> None:
        raise AssertionError

    worker = make(work, started=False)
    worker.put(1)
    await worker.finish(5.0)
    await worker.aclose()

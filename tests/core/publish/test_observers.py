"""Observers: what they are passed, and how they are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from atriz_realtime.api import LocationEvent, Observer
from atriz_realtime.core.publish import observers
from atriz_realtime.core.publish.observers import Observers
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.core.runtime.statistics import Statistics
from atriz_realtime.testing import FakeClock, event

Make = Callable[..., Observers]


@pytest.fixture
def make(incidents: Incidents, clock: FakeClock) -> Make:
    def make(*records: Observer) -> Observers:
        runner = PluginRunner(incidents, clock, limit=5.0)
        made = Observers(
            records, lambda record: f"of {record.name}", runner, incidents, Statistics(incidents)
        )
        made.start()
        return made

    return make


class Recorder:
    """Records what it is asked for; ``gate`` holds it up until it is set."""

    def __init__(self, gate: asyncio.Event | None = None) -> None:
        self.gate = gate
        self.log: list[str] = []

    async def observe(self, seen: LocationEvent) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.log.append(seen.entity_id)

    async def aclose(self) -> None:
        self.log.append("closed")


async def test_an_observer_is_closed_once_after_its_last_event(make: Make) -> None:
    recorder, other = Recorder(), Recorder()
    made = make(
        Observer("one", recorder.observe, aclose=recorder.aclose), Observer("two", other.observe)
    )
    for name in ("v1", "v2"):
        made.put(event(name))
    await made.aclose()
    await made.aclose()
    made.put(event("v3"))
    assert (recorder.log, other.log) == (["v1", "v2", "closed"], ["v1", "v2"])


async def test_an_observer_that_hangs_is_closed_and_holds_up_no_other(
    make: Make, incidents: Incidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers, "DRAIN_LIMIT", 0.01)
    hanging, quick = Recorder(asyncio.Event()), Recorder()
    made = make(
        Observer("slow", hanging.observe, aclose=hanging.aclose),
        Observer("quick", quick.observe, aclose=quick.aclose),
    )
    made.put(event("v1"))
    await made.aclose()
    assert (hanging.log, quick.log) == (["closed"], ["v1", "closed"])
    assert incidents.counts == {"plugin of slow too slow": 1}


async def raises() -> None:
    raise LookupError("no disk")


async def hangs() -> None:
    await asyncio.Event().wait()


def returns_nothing() -> Any:
    """Is no coroutine function, as ``aclose`` must be."""


@pytest.mark.parametrize(
    ("aclose", "problem"),
    [(raises, "failed"), (hangs, "timed out"), (returns_nothing, "failed")],
)
async def test_a_failure_to_close_is_counted(
    make: Make,
    incidents: Incidents,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    aclose: Callable[[], Awaitable[None]],
    problem: str,
) -> None:
    monkeypatch.setattr(observers, "CLOSE_LIMIT", 0.01)
    await make(Observer("one", Recorder().observe, aclose=aclose)).aclose()
    assert incidents.counts == {f"plugin of one {problem}": 1}
    assert "closing observer 'one'" in caplog.text

"""The default throttling policies beyond their contract."""

from __future__ import annotations

from typing import Any

import pytest

from atriz_realtime.api import DROP, PASS, EntityRef, Resources, ThrottlePolicy, Verdict
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults import throttling
from atriz_realtime.defaults.throttling import IntervalOptions, register_throttles
from atriz_realtime.testing import FakeClock, location
from atriz_realtime.testing.throttle import Fix, replay

HERE = location()


LIMIT = "limit defaults.throttling.MAX_ENTITIES reached"


def make(
    name: str, clock: FakeClock, interval: float = 1_000, incidents: Incidents | None = None
) -> ThrottlePolicy:
    (throttle,) = (record for record in register_throttles() if record.name == name)
    options: Any = {} if throttle.options is None else IntervalOptions(interval=interval)
    report = (incidents or Incidents(clock)).report
    return throttle.create(options, Resources(clock=clock, redis=None, settings={}, report=report))


def vehicle(entity_id: str) -> EntityRef:
    return EntityRef("vehicle", entity_id)


async def test_the_documented_throttle() -> None:
    """One update a second, the rest of the second dropped, as the README has it."""
    clock = FakeClock()
    policy = make("interval", clock)
    verdicts = []
    for _ in range(21):
        verdicts.append(await policy.admit(vehicle("v1"), HERE))
        clock.advance(0.125)
    assert verdicts == [PASS, *[DROP] * 7] * 2 + [PASS, *[DROP] * 4]


async def test_latest_holds_until_the_window_ends() -> None:
    clock = FakeClock()
    policy = make("latest", clock)
    assert await policy.admit(vehicle("v1"), HERE) == PASS
    clock.advance(0.25)
    assert await policy.admit(vehicle("v1"), HERE) == Verdict("hold", 0.75)
    clock.advance(0.5)
    assert await policy.admit(vehicle("v1"), HERE) == Verdict("hold", 0.25)
    clock.advance(0.5)  # the held one went out a quarter of a second ago
    assert await policy.admit(vehicle("v1"), HERE) == Verdict("hold", 0.75)


async def test_latest_publishes_the_newest_fix_of_each_window() -> None:
    clock = FakeClock()
    fixes = [Fix(number / 16, "v1", number) for number in range(40)]
    outcome = await replay(make("latest", clock), clock, fixes)
    assert outcome.sent["v1"] == [(0.0, 0), (1.0, 15), (2.0, 31), (3.0, 39)]


async def test_interval_drops_the_rest_of_a_burst() -> None:
    clock = FakeClock()
    fixes = [Fix(number / 16, "v1", number) for number in range(40)]
    outcome = await replay(make("interval", clock), clock, fixes)
    assert outcome.sent["v1"] == [(0.0, 0), (1.0, 16), (2.0, 32)]


@pytest.mark.parametrize("name", ["interval", "latest", "none"])
async def test_without_an_interval_everything_passes(name: str) -> None:
    policy = make(name, FakeClock(), interval=0)
    assert [await policy.admit(vehicle("v1"), HERE) for _ in range(5)] == [PASS] * 5


@pytest.mark.parametrize("name", ["interval", "latest"])
async def test_memory_is_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "MAX_ENTITIES", 10)
    clock = FakeClock()
    incidents = Incidents(clock)
    policy: Any = make(name, clock, incidents=incidents)
    for number in range(50):
        await policy.admit(vehicle(f"v{number}"), HERE)
        await policy.admit(vehicle(f"v{number}"), HERE)
    windows = policy._windows
    assert len(windows._ends) == 10
    assert len(windows._holding) <= 10
    assert incidents.counts == {LIMIT: 40}
    assert await policy.admit(vehicle("v49"), HERE) != PASS  # the newest are remembered
    assert await policy.admit(vehicle("v0"), HERE) == PASS


@pytest.mark.parametrize("name", ["interval", "latest"])
async def test_entities_without_updates_take_no_memory(name: str) -> None:
    clock = FakeClock()
    policy: Any = make(name, clock)
    for number in range(50):
        await policy.admit(vehicle(f"v{number}"), HERE)
        await policy.admit(vehicle(f"v{number}"), HERE)
    clock.advance(10)
    await policy.admit(vehicle("v0"), HERE)
    assert set(policy._windows._ends) == {"v0"}
    assert not policy._windows._holding


@pytest.mark.parametrize("held", [False, True])
async def test_a_window_that_has_ended_makes_room_unless_a_held_fix_opened_another(
    monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    monkeypatch.setattr(throttling, "MAX_ENTITIES", 2)
    clock = FakeClock()
    incidents = Incidents(clock)
    policy = make("latest", clock, incidents=incidents)
    await policy.admit(vehicle("v1"), HERE)
    if held:
        await policy.admit(vehicle("v1"), HERE)
    clock.advance(1.5)
    for other in ("v2", "v3"):
        await policy.admit(vehicle(other), HERE)
    assert incidents.counts == ({LIMIT: 1} if held else {})


@pytest.mark.parametrize("interval", [-1, float("nan")])
def test_an_invalid_interval_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        IntervalOptions(interval=interval)

"""Publishing and delivery while backends answer, fail, and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from atriz_realtime.api import Deliver, EntityRef, FanoutEvents, Payload, Unavailable
from atriz_realtime.core.publish.backends import OpenBackends
from atriz_realtime.core.publish.delivery import Delivery, Listener
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.core.runtime.worker import Worker
from atriz_realtime.defaults.memory import MemoryCache, MemorySettings
from atriz_realtime.plugin_system.registry import EntityKind
from atriz_realtime.testing import payload, until
from tests.core.parts import AWAY, KINDS, Away, Fanned, Hub, channel

VEHICLE = EntityRef("vehicle", "v1")
BROKEN = LookupError("a bug in a plugin")


def kind(name: str) -> EntityKind:
    return EntityKind(
        name=name,
        plugin="test",
        matches_id=bool,
        validate=None,
        cache_ttl=300,
        throttle="none",
        throttle_options={},
    )


class Interruptible(Away):
    """A fan-out that reports interruptions."""

    def attach(self, events: FanoutEvents) -> None:
        self.events = events


@attrs.define
class Parts:
    hub: Hub
    delivery: Delivery
    cache: Any
    fanout: Interruptible
    gaps: list[str] = attrs.field(factory=list)
    """One entry for each gap that is over."""

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.hub.incidents.counts)

    async def subscribe(self) -> list[tuple[str, bytes]]:
        """Subscribe to every event; each is added to the list."""
        seen: list[tuple[str, bytes]] = []

        async def see(message: tuple[str, bytes]) -> None:
            seen.append(message)

        await self.delivery.subscribe(self.listener(see))
        return seen

    def listener(self, work: Any) -> Listener:
        return Worker(
            "test",
            "listener",
            work,
            size=100,
            limit=10,
            plugin_runner=PluginRunner(self.hub.incidents, self.hub.clock, 10),
            incidents=self.hub.incidents,
        )

    @property
    def resynced(self) -> bool:
        """Whether a resync has run, and none runs now."""
        task = self.delivery.resync._task
        return task is not None and task.done()

    async def cached(self) -> bytes | None:
        self.cache.away = None
        found: bytes | None = await self.cache.get(VEHICLE)
        return found


def start(delivery: Delivery, cache: Any, fanout: Any, gaps: list[str]) -> None:
    delivery.start(OpenBackends(cache, fanout, fanout), lambda: gaps.append("over"))


@asynccontextmanager
async def started(hub: Hub, fanned: Fanned) -> AsyncIterator[Parts]:
    """A delivery on a cache and a fan-out that can be away."""
    delivery = Delivery(
        {name: kind(name) for name in KINDS},
        hub.broadcaster,
        hub.channels,
        hub.clock,
        hub.incidents,
    )
    cache: Any = Away(MemoryCache(hub.clock, MemorySettings()))
    fanout = Interruptible(fanned)
    gaps: list[str] = []
    start(delivery, cache, fanout, gaps)
    yield Parts(hub, delivery, cache, fanout, gaps)
    await delivery.aclose()


@pytest.fixture
async def parts(hub: Hub) -> AsyncIterator[Parts]:
    async with started(hub, Fanned()) as made:
        yield made


def frame(fix: Payload) -> str:
    return f'2["location:update",{fix.event.decode()}]'


async def watcher(parts: Parts) -> Any:
    member = await parts.hub.connect()
    parts.hub.enter(member, "vehicle:v1")
    return member


# -- while the backends answer -------------------------------------------------------------


async def test_a_fix_is_cached_and_reaches_its_watchers(parts: Parts) -> None:
    member, fix = await watcher(parts), payload()
    await parts.delivery.publish(fix)
    assert member.frames == [frame(fix)]
    assert await parts.cached() == fix.location
    assert parts.counts == {}


async def test_the_cache_is_called_before_the_fan_out(parts: Parts) -> None:
    asked: list[str] = []
    parts.cache.calls = parts.fanout.calls = asked
    await parts.delivery.publish(payload())
    assert asked == ["put", "publish"]


async def test_a_fix_can_be_cached_alone_or_fanned_out_alone(parts: Parts) -> None:
    member, first, second = await watcher(parts), payload(seconds=1), payload(seconds=2)
    await parts.delivery.cache(first, held=False)
    assert member.frames == []
    assert await parts.cached() == first.location
    await parts.delivery.publish(second, held=True)
    assert member.frames == [frame(second)]
    assert await parts.cached() == first.location


async def test_listeners_get_every_event_once_watched_or_not(parts: Parts) -> None:
    seen = await parts.subscribe()
    await watcher(parts)
    watched, unwatched = payload("v1"), payload("v2")
    await parts.delivery.publish(watched)
    await parts.delivery.publish(unwatched)
    await until(lambda: len(seen) == 2)
    assert seen == [(channel("v1"), watched.event), (channel("v2"), unwatched.event)]


async def test_a_listener_gets_unwatched_events_while_the_fan_out_is_interrupted(
    parts: Parts,
) -> None:
    seen, fix = await parts.subscribe(), payload("unwatched")
    parts.fanout.events.deaf()
    parts.fanout.away = AWAY
    await parts.delivery.publish(fix)
    await until(lambda: seen)
    assert seen == [(fix.channel, fix.event)]


async def test_the_last_listener_ends_the_subscription_to_every_channel(parts: Parts) -> None:
    async def ignore(_: Any) -> None:
        """Nothing to do."""

    one, two = parts.listener(ignore), parts.listener(ignore)
    fanned: Fanned = parts.fanout._backend
    await parts.delivery.subscribe(one)
    await parts.delivery.subscribe(two)
    parts.delivery.unsubscribe(one)
    assert "tracking:*" in fanned.subscribed
    parts.delivery.unsubscribe(two)
    parts.delivery.unsubscribe(two)
    assert fanned.subscribed == set()
    for listener in (one, two):
        await listener.aclose()


async def test_every_listener_waits_until_the_subscription_is_confirmed(hub: Hub) -> None:
    confirmed = asyncio.get_running_loop().create_future()

    class Slow(Fanned):
        def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
            return confirmed

    delivery = Delivery({}, hub.broadcaster, hub.channels, hub.clock, hub.incidents)
    fanout = Slow()
    start(delivery, MemoryCache(hub.clock, MemorySettings()), fanout, [])
    parts = Parts(hub, delivery, None, Interruptible(fanout))
    subscribing = [asyncio.ensure_future(parts.subscribe()) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert [each.done() for each in subscribing] == [False, False]
    confirmed.set_result(None)
    await asyncio.gather(*subscribing)
    await delivery.aclose()


# -- while a backend fails -----------------------------------------------------------------


@pytest.mark.parametrize("failure", [AWAY, BROKEN], ids=["away", "broken"])
async def test_watchers_here_are_served_while_the_fan_out_fails(
    parts: Parts, failure: Exception
) -> None:
    member, fix = await watcher(parts), payload()
    seen = await parts.subscribe()
    parts.fanout.away = failure
    await parts.delivery.publish(fix)
    assert member.frames == [frame(fix)]
    await until(lambda: seen)
    assert await parts.cached() == fix.location
    assert sum(parts.counts.values()) == 1


@pytest.mark.parametrize("failure", [AWAY, BROKEN], ids=["away", "broken"])
async def test_watchers_are_served_while_the_cache_fails(parts: Parts, failure: Exception) -> None:
    member, fix = await watcher(parts), payload()
    parts.cache.away = failure
    await parts.delivery.publish(fix)
    await parts.delivery.cache(payload(seconds=1), held=False)
    assert member.frames == [frame(fix)]
    assert sum(parts.counts.values()) == 2


async def test_a_cached_value_that_cannot_be_read_is_no_current_location(parts: Parts) -> None:
    await parts.cache.put(attrs.evolve(payload(), location=b"of another program"), 300)
    assert await parts.delivery.current(VEHICLE) is None
    assert parts.counts == {"unreadable fix hidden": 1}
    newer = payload(seconds=1)
    parts.cache.away = AWAY
    await parts.delivery.cache(newer, held=False)
    parts.cache.away = None
    assert await parts.delivery.current(VEHICLE) == newer.location


@pytest.mark.parametrize("part", ["cache", "fanout"])
async def test_a_backend_that_fails_before_it_is_awaited_is_survived_too(
    parts: Parts, part: str
) -> None:
    member, fix = await watcher(parts), payload()
    backend: Away = getattr(parts, part)
    backend.away, backend.at_once = BROKEN, True
    await parts.delivery.publish(fix)
    assert member.frames == [frame(fix)]
    assert sum(parts.counts.values()) == 1
    backend.away = None
    parts.delivery.reachable()
    await until(lambda: not len(parts.delivery.backlog))
    assert await parts.cached() == fix.location


async def test_failed_steps_are_retried_when_a_backend_is_back(parts: Parts) -> None:
    member = await watcher(parts)
    parts.cache.away = parts.fanout.away = AWAY
    for seconds in range(3):
        await parts.delivery.publish(payload(seconds=seconds))
    assert len(member.frames) == 3
    parts.cache.away = parts.fanout.away = None
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    parts.delivery.reachable()
    await until(lambda: there)
    assert there == [payload(seconds=2).event]  # the newest alone
    assert await parts.cached() == payload(seconds=2).location
    assert member.frames == []


async def test_only_the_steps_that_failed_are_retried(parts: Parts) -> None:
    parts.cache.away = AWAY
    await parts.delivery.publish(payload())
    parts.cache.away = None
    parts.fanout.calls.clear()
    parts.delivery.reachable()
    await until(lambda: parts.cache.calls.count("put") == 2)
    assert parts.fanout.calls == []


async def test_a_late_fix_is_not_published_after_a_newer_one_that_watchers_here_have_had(
    parts: Parts,
) -> None:
    """Redis may have lost the newer one."""
    member = await watcher(parts)
    parts.cache.away = parts.fanout.away = AWAY
    await parts.delivery.publish(payload(seconds=1))
    parts.cache.away = parts.fanout.away = None
    parts.hub.broadcaster.broadcast(channel().removeprefix("tracking:"), payload(seconds=2).event)
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    parts.delivery.reachable()
    await until(lambda: not len(parts.delivery.backlog))
    assert there == []
    assert member.frames == [frame(payload(seconds=1)), frame(payload(seconds=2))]


async def test_a_newer_fix_replaces_one_that_waits_for_a_retry(parts: Parts) -> None:
    parts.fanout.away = AWAY
    await parts.delivery.publish(payload(seconds=1))
    parts.fanout.away = None
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    await parts.delivery.publish(payload(seconds=2))
    parts.delivery.reachable()
    await parts.delivery.publish(payload(seconds=3))
    assert there == [payload(seconds=2).event, payload(seconds=3).event]


@pytest.mark.parametrize("newer_fails", [True, False])
async def test_an_older_fix_that_fails_late_is_not_sent_after_a_newer_one(
    parts: Parts, newer_fails: bool
) -> None:
    gate = parts.fanout.gate = asyncio.Event()
    parts.fanout.away = AWAY
    older = asyncio.create_task(parts.delivery.publish(payload(seconds=1)))
    await until(lambda: "publish" in parts.fanout.calls)
    await asyncio.sleep(0.01)
    parts.fanout.gate = None
    parts.fanout.away = AWAY if newer_fails else None
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    await parts.delivery.publish(payload(seconds=2))
    parts.fanout.away = AWAY
    gate.set()
    await older
    parts.fanout.away = None
    parts.delivery.reachable()
    await until(lambda: there and not len(parts.delivery.backlog))
    assert there == [payload(seconds=2).event]
    assert parts.delivery.backlog.statistics()["superseded"] == newer_fails


@pytest.fixture
async def confirming(hub: Hub) -> AsyncIterator[Parts]:
    """Parts whose fan-out confirms subscriptions late."""
    async with started(hub, Fanned(confirms=False)) as made:
        yield made


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_was_published_before_the_subscription_does_not_come_after_newer_fixes(
    confirming: Parts, *, cancelled: bool
) -> None:
    parts = confirming
    member, fanned = await watcher(parts), parts.fanout._backend
    publishing = asyncio.create_task(parts.delivery.publish(payload(seconds=1)))
    if cancelled:
        await asyncio.sleep(0)
        publishing.cancel()
    await asyncio.wait([publishing])
    fanned.confirm()
    await parts.hub.channels.confirmed("vehicle:v1")
    await fanned.publish(channel(), payload(seconds=2).event)  # by another server
    assert member.frames == [frame(payload(seconds=2))]
    parts.fanout.events.deaf()
    assert member.frames == []


async def test_what_cannot_be_published_before_the_subscription_reaches_its_watchers(
    confirming: Parts,
) -> None:
    parts = confirming
    member, fix = await watcher(parts), payload()
    parts.fanout.away = AWAY
    await parts.delivery.publish(fix)
    assert member.frames == [frame(fix)]


# -- late fixes ----------------------------------------------------------------------------


class Judging(Fanned):
    """A fan-out that is asked whether a fix is published, and answers what it is told to."""

    verdict: bool | None = True
    judged: int = 0

    def publish_unless_newer(self, payload: Payload, cache: Any) -> Awaitable[bool] | None:
        self.judged += 1
        return None if self.verdict is None else self._judged(payload, self.verdict)

    async def _judged(self, payload: Payload, verdict: bool) -> bool:
        if verdict:
            await self.publish(payload.channel, payload.event)
        return verdict


async def test_a_held_fix_that_could_not_be_cached_is_cached_when_it_is_published(
    parts: Parts,
) -> None:
    """Who has missed it, because of a gap, reads the cache."""
    fix = payload(seconds=1)
    parts.cache.away = AWAY
    await parts.delivery.cache(fix, held=True)
    parts.cache.away = None
    await parts.delivery.publish(fix, held=True)
    assert await parts.cached() == fix.location


@pytest.mark.parametrize("cached", [2, 1], ids=["newer", "at the same time"])
async def test_a_held_fix_is_not_published_after_a_newer_one_of_another_server(
    parts: Parts, cached: int
) -> None:
    member = await watcher(parts)
    other = payload(seconds=cached, latitude=9)
    await parts.cache.put(other, 300)
    await parts.delivery.publish(payload(seconds=1), held=True)
    parts.fanout.events.deaf()  # what is expected would be delivered now
    assert member.frames == []
    await parts.delivery.publish(other, held=True)
    assert member.frames == [frame(other)]


async def test_a_fix_is_not_published_again_after_a_newer_one_of_another_server(
    parts: Parts,
) -> None:
    parts.cache.away = parts.fanout.away = AWAY
    await parts.delivery.publish(payload(seconds=1))
    parts.cache.away = parts.fanout.away = None
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    await parts.cache.put(payload(seconds=2), 300)
    parts.delivery.reachable()
    await until(lambda: not len(parts.delivery.backlog))
    assert there == []


def slow_reads(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> tuple[asyncio.Event, asyncio.Event]:
    """Let the cache hold nothing; returns what is set when it is read, and what ends the reads."""
    reading, read = asyncio.Event(), asyncio.Event()

    async def get(_: EntityRef) -> None:
        reading.set()
        await read.wait()

    monkeypatch.setattr(parts.cache, "get", get)
    return reading, read


@pytest.mark.parametrize("held", [False, True], ids=["published", "held"])
async def test_a_late_fix_is_not_published_after_a_newer_one_that_came_during_the_comparison(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    reading, read = slow_reads(parts, monkeypatch)
    late = asyncio.create_task(parts.delivery.publish(payload(seconds=1), held=True))
    await reading.wait()
    newer = asyncio.create_task(parts.delivery.publish(payload(seconds=2), held=held))
    await asyncio.sleep(0)
    read.set()
    await asyncio.gather(late, newer)
    assert there == [payload(seconds=2).event]


@pytest.mark.parametrize("held", [False, True], ids=["published", "held"])
async def test_an_older_fix_does_not_stop_a_late_one_that_is_being_compared(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    reading, read = slow_reads(parts, monkeypatch)
    late = asyncio.create_task(parts.delivery.publish(payload(seconds=2), held=True))
    await reading.wait()
    older = asyncio.create_task(parts.delivery.publish(payload(seconds=1), held=held))
    await asyncio.sleep(0)
    read.set()
    await asyncio.gather(late, older)
    assert there[-1] == payload(seconds=2).event


async def test_what_waits_for_the_cache_stays_when_a_newer_fix_is_cancelled(parts: Parts) -> None:
    parts.cache.away = AWAY
    await parts.delivery.publish(payload(seconds=1))
    parts.cache.gate = asyncio.Event()
    publishing = asyncio.create_task(parts.delivery.publish(payload(seconds=2)))
    await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.wait([publishing])
    parts.cache.gate.set()
    parts.cache.away = None
    parts.delivery.reachable()
    await until(lambda: not len(parts.delivery.backlog))
    assert await parts.cached() == payload(seconds=2).location


async def test_a_fix_that_is_cancelled_while_it_is_sent_reaches_its_watchers(parts: Parts) -> None:
    member, fix = await watcher(parts), payload(seconds=1)
    parts.fanout.gate = asyncio.Event()
    publishing = asyncio.create_task(parts.delivery.publish(fix))
    await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.wait([publishing])
    parts.fanout.gate.set()
    parts.delivery.reachable()
    await until(member.count)
    assert member.frames == [frame(fix)]


@pytest.mark.parametrize("held", [False, True], ids=["throttled", "held"])
async def test_a_throttled_fix_that_is_cancelled_is_cached_all_the_same(
    parts: Parts, held: bool
) -> None:
    parts.cache.gate = asyncio.Event()
    caching = asyncio.create_task(parts.delivery.cache(payload(seconds=1), held=held))
    await asyncio.sleep(0)
    caching.cancel()
    await asyncio.wait([caching])
    parts.cache.gate.set()
    parts.delivery.reachable()
    await until(lambda: not len(parts.delivery.backlog))
    assert await parts.cached() == payload(seconds=1).location


@pytest.mark.parametrize(("verdict", "sent"), [(True, 1), (False, 0), (None, 1)])
async def test_a_conditional_fan_out_decides_about_late_fixes(
    hub: Hub, verdict: bool | None, sent: int
) -> None:
    fanout = Judging()
    fanout.verdict = verdict
    cache = Away(MemoryCache(hub.clock, MemorySettings()))
    delivery = Delivery(
        {name: kind(name) for name in KINDS},
        hub.broadcaster,
        hub.channels,
        hub.clock,
        hub.incidents,
    )
    start(delivery, cache, fanout, [])
    there: list[bytes] = []
    await fanout.subscribe(channel(), lambda _, data: there.append(data))
    await delivery.publish(payload(seconds=1))
    assert (fanout.judged, len(there)) == (0, 1)
    await delivery.publish(payload(seconds=2), held=True)
    assert (fanout.judged, len(there)) == (1, 1 + sent)
    assert ("get" in cache.calls) == (verdict is None)
    await delivery.aclose()


async def test_a_held_fix_is_not_delivered_here_after_a_newer_one_while_the_fan_out_is_away(
    parts: Parts,
) -> None:
    member = await watcher(parts)
    await parts.delivery.publish(payload(seconds=2))
    parts.fanout.away = AWAY
    await parts.delivery.publish(payload(seconds=1), held=True)
    await parts.delivery.publish(payload(seconds=3), held=True)
    assert member.frames == [frame(payload(seconds=2)), frame(payload(seconds=3))]


async def test_a_held_fix_is_not_delivered_here_after_a_newer_current_location(
    parts: Parts,
) -> None:
    member = await watcher(parts)
    parts.hub.broadcaster.send_current(member.sid, str(VEHICLE), payload(seconds=3).event)
    parts.hub.clock.advance(60)
    parts.fanout.away = AWAY
    await parts.delivery.publish(payload(seconds=2), held=True)
    assert member.frames == [frame(payload(seconds=3))]


@pytest.mark.parametrize("held", [True, False])
async def test_a_fix_that_is_not_sent_is_cached_when_the_cache_is_back(
    parts: Parts, held: bool
) -> None:
    member, fix = await watcher(parts), payload()
    parts.cache.away = AWAY
    await parts.delivery.cache(fix, held=held)
    parts.cache.away = None
    parts.delivery.reachable()
    await until(lambda: not len(parts.delivery.backlog))
    assert await parts.cached() == fix.location
    assert member.frames == []


async def test_a_held_fix_that_is_released_while_it_waits_is_cached_all_the_same(
    parts: Parts,
) -> None:
    member, fix = await watcher(parts), payload()
    parts.cache.away = AWAY
    await parts.delivery.cache(fix, held=True)
    parts.cache.away = None
    await parts.delivery.publish(fix, held=True)
    assert member.frames == [frame(fix)]
    parts.delivery.reachable()
    await until(lambda: not len(parts.delivery.backlog))
    assert await parts.cached() == fix.location


@pytest.mark.parametrize(("held", "published"), [(False, [2]), (True, [])])
async def test_a_throttled_fix_is_published_in_place_of_an_older_one_that_waits(
    parts: Parts, held: bool, published: list[int]
) -> None:
    parts.fanout.away = AWAY
    await parts.delivery.publish(payload(seconds=1))
    parts.fanout.away = None
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    await parts.delivery.cache(payload(seconds=2), held=held)
    parts.delivery.reachable()
    await until(lambda: not len(parts.delivery.backlog))
    assert there == [payload(seconds=seconds).event for seconds in published]


async def test_an_older_fix_that_comes_later_does_not_replace_one_that_waits(
    parts: Parts,
) -> None:
    parts.cache.away = parts.fanout.away = AWAY
    await parts.delivery.publish(payload(seconds=2))
    await parts.delivery.publish(payload(seconds=1))
    parts.cache.away = parts.fanout.away = None
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    await parts.delivery.publish(payload(seconds=0))
    parts.delivery.reachable()
    await until(lambda: not len(parts.delivery.backlog))
    assert there == [payload(seconds=0).event, payload(seconds=2).event]
    assert await parts.cached() == payload(seconds=2).location


async def test_an_older_fix_of_another_server_that_comes_late_is_ignored(parts: Parts) -> None:
    member = await watcher(parts)
    parts.fanout.away = AWAY
    await parts.delivery.publish(payload(seconds=2))
    await parts.fanout._backend.publish(channel(), payload(seconds=1).event)
    await parts.fanout._backend.publish(channel(), payload(seconds=3).event)
    assert member.frames == [frame(payload(seconds=2)), frame(payload(seconds=3))]


# -- after a gap ---------------------------------------------------------------------------


async def test_watchers_are_brought_up_to_date_after_a_gap(parts: Parts) -> None:
    member = await watcher(parts)
    await parts.delivery.publish(payload(seconds=1))
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=5), 300)  # by another server
    parts.fanout.events.hearing()
    assert parts.gaps == ["over"]
    await until(lambda: parts.counts.get("resynchronised"))
    await until(lambda: member.count() == 2)
    assert member.frames == [frame(payload(seconds=1)), frame(payload(seconds=5))]


async def test_watchers_that_missed_nothing_get_nothing_after_a_gap(parts: Parts) -> None:
    member = await watcher(parts)
    await parts.delivery.publish(payload(seconds=1))
    parts.fanout.events.deaf()
    parts.fanout.events.hearing()
    await until(lambda: parts.resynced)
    assert member.frames == [frame(payload(seconds=1))]


async def test_the_first_gap_after_track_does_not_send_the_current_location_again(
    parts: Parts,
) -> None:
    member = await watcher(parts)
    await parts.cache.put(payload(seconds=5), 300)
    parts.hub.broadcaster.send_current(member.sid, str(VEHICLE), payload(seconds=5).event)
    parts.fanout.events.deaf()
    parts.fanout.events.hearing()
    await until(lambda: parts.resynced)
    assert member.frames == [frame(payload(seconds=5))]
    assert parts.delivery.resync.statistics() == {"runs": 1, "entities": 0}


async def test_a_fix_reaches_watchers_here_at_once_while_the_fan_out_is_interrupted(
    parts: Parts,
) -> None:
    member = await watcher(parts)
    parts.fanout.events.deaf()
    parts.fanout._backend.unsubscribe(channel())
    await parts.delivery.publish(payload(seconds=1))
    assert member.frames == [frame(payload(seconds=1))]


async def test_a_cache_that_is_back_before_its_failure_is_known_is_read_again(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend reports that it is back before the failed read is known."""
    monkeypatch.setattr("atriz_realtime.core.publish.resync.RESYNC_RETRY", 0.05)
    member = await watcher(parts)
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=5), 300)
    parts.cache.away, parts.cache.gate = AWAY, asyncio.Event()
    parts.fanout.events.hearing()
    await until(lambda: "get" in parts.cache.calls)
    parts.delivery.reachable()
    parts.cache.gate.set()
    await until(lambda: parts.counts.get("resync postponed"))
    parts.cache.away = None
    await until(lambda: member.count() == 1)
    assert member.frames == [frame(payload(seconds=5))]


async def test_a_resync_is_postponed_once_however_often_it_is_retried(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "atriz_realtime")
    monkeypatch.setattr("atriz_realtime.core.publish.resync.RESYNC_RETRY", 0.01)
    member = await watcher(parts)

    def resynchronised() -> int:
        return parts.counts.get("resynchronised", 0)

    for minutes in (1, 2):
        parts.fanout.events.deaf()
        await parts.cache.put(payload(seconds=60 * minutes), 300)
        parts.cache.away = AWAY
        parts.cache.calls.clear()
        parts.fanout.events.hearing()
        await until(lambda: parts.cache.calls.count("get") > 3)
        parts.cache.away = None
        await until(member.count)
        assert len(member.frames) == 1
        assert parts.counts["resync postponed"] == minutes
        while resynchronised() < minutes:
            await asyncio.sleep(0)
    assert [text.partition(":")[0] for text in caplog.messages] == [
        "resync postponed",  # the second one comes within a minute
        "resynchronised",
    ]


@pytest.mark.parametrize("failure", [AWAY, BROKEN], ids=["away", "broken"])
async def test_a_cache_that_fails_after_a_gap_is_read_again(
    parts: Parts, failure: Exception
) -> None:
    member = await watcher(parts)
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=5), 300)
    parts.cache.away = failure
    parts.fanout.events.hearing()
    await until(lambda: parts.resynced)
    assert member.frames == []
    parts.cache.away = None
    parts.delivery.reachable()
    await until(member.count)
    assert member.frames == [frame(payload(seconds=5))]


async def test_a_gap_during_a_resync_is_followed_by_another_resync(parts: Parts) -> None:
    member = await watcher(parts)
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=5), 300)
    parts.fanout.events.hearing()
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=6), 300)
    parts.fanout.events.hearing()
    await until(lambda: frame(payload(seconds=6)) in member.frames)


async def test_rooms_of_the_host_s_own_do_not_disturb_a_resync(parts: Parts) -> None:
    odd = await parts.hub.connect()
    for room in ("vehicle:", "vehicle", "vehicle:a:b", "vehicle:*", ":"):
        parts.hub.enter(odd, room)
    member = await watcher(parts)
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=5), 300)
    parts.fanout.events.hearing()
    await until(member.count)
    assert member.frames == [frame(payload(seconds=5))]


async def test_a_location_that_another_program_wrote_is_delivered_unchanged(parts: Parts) -> None:
    member = await watcher(parts)
    foreign = attrs.evolve(payload(), location=b'{"latitude":1}', timestamp="")
    parts.fanout.events.deaf()
    await parts.cache.put(foreign, 300)
    parts.fanout.events.hearing()
    await until(member.count)
    assert '"location":{"latitude":1}' in member.frames[0]


# -- the current location --------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "newest"), [(2, 2), (0, 1)])
async def test_what_the_cache_cannot_take_is_the_current_location(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, seconds: int, newest: int
) -> None:
    await parts.delivery.publish(payload(seconds=1))
    assert await parts.delivery.current(VEHICLE) == payload(seconds=1).location

    async def refuse(*_: object) -> None:
        raise ConnectionError("out of memory")

    monkeypatch.setattr(parts.cache, "put", refuse)
    await parts.delivery.publish(payload(seconds=seconds))
    assert await parts.delivery.current(VEHICLE) == payload(seconds=newest).location
    assert await parts.delivery.current(EntityRef("vehicle", "v2")) is None


async def test_what_was_never_cached_is_the_current_location(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise ConnectionError("out of memory")

    monkeypatch.setattr(parts.cache, "put", refuse)
    await parts.delivery.publish(payload())
    assert await parts.delivery.current(VEHICLE) == payload().location


@pytest.mark.parametrize("held", [False, True])
async def test_a_closed_server_refuses_a_fix_that_nobody_would_retry(
    parts: Parts, *, held: bool
) -> None:
    parts.fanout.away = parts.cache.away = AWAY
    under_way = parts.delivery.publish(payload(), held=held)
    await parts.delivery.aclose()
    with pytest.raises(Unavailable):
        await under_way
    with pytest.raises(Unavailable):
        await parts.delivery.cache(payload(), held=False)

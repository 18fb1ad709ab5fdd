"""An encoded fix on its way, while backends answer, fail, and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import attrs
import pytest

from atriz_realtime.api import Deliver, EntityRef, FanoutEvents, Payload, Unavailable
from atriz_realtime.core.publish.delivery import Delivery, Tap
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
    """A fan-out that says when it is deaf."""

    def attach(self, events: FanoutEvents) -> None:
        self.events = events


@attrs.define
class Parts:
    hub: Hub
    delivery: Delivery
    cache: Any
    fanout: Interruptible

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.hub.incidents.counts)

    async def tap(self) -> list[tuple[str, bytes]]:
        """Follow everything; what is seen is added to the list."""
        seen: list[tuple[str, bytes]] = []

        async def see(message: tuple[str, bytes]) -> None:
            seen.append(message)

        await self.delivery.tap(self.worker(see))
        return seen

    def worker(self, work: Any) -> Tap:
        return Worker(
            "test",
            "tap",
            work,
            size=100,
            limit=10,
            plugin_runner=PluginRunner(self.hub.incidents, self.hub.clock, 10),
            incidents=self.hub.incidents,
        )

    async def cached(self) -> bytes | None:
        self.cache.away = None
        found: bytes | None = await self.cache.get(VEHICLE)
        return found


@pytest.fixture
async def parts(hub: Hub) -> AsyncIterator[Parts]:
    delivery = Delivery(
        {name: kind(name) for name in KINDS},
        hub.broadcaster,
        hub.channels,
        hub.clock,
        hub.incidents,
    )
    cache = Away(MemoryCache(hub.clock, MemorySettings()))
    fanout = Interruptible(Fanned())
    delivery.start(cache, fanout, fanout)
    yield Parts(hub, delivery, cache, fanout)
    await delivery.aclose()


def frame(fix: Payload) -> str:
    return f'2["location:update",{fix.event.decode()}]'


async def watcher(parts: Parts) -> Any:
    member = await parts.hub.connect()
    parts.hub.enter(member, "vehicle:v1")
    return member


# -- while all is well ---------------------------------------------------------------------


async def test_a_fix_is_cached_and_reaches_its_watchers(parts: Parts) -> None:
    member, fix = await watcher(parts), payload()
    await parts.delivery.send(fix)
    assert member.frames == [frame(fix)]
    assert await parts.cached() == fix.location
    assert parts.counts == {}


async def test_the_cache_is_asked_before_the_fan_out(parts: Parts) -> None:
    asked: list[str] = []
    parts.cache.calls = parts.fanout.calls = asked
    await parts.delivery.send(payload())
    assert asked == ["put", "publish"]


async def test_what_is_only_kept_or_only_fanned_out(parts: Parts) -> None:
    member, first, second = await watcher(parts), payload(seconds=1), payload(seconds=2)
    await parts.delivery.keep(first)
    assert member.frames == []
    assert await parts.cached() == first.location
    await parts.delivery.fan_out(second)
    assert member.frames == [frame(second)]
    assert await parts.cached() == first.location


async def test_followers_get_every_event_once_watched_or_not(parts: Parts) -> None:
    seen = await parts.tap()
    await watcher(parts)
    watched, unwatched = payload("v1"), payload("v2")
    await parts.delivery.send(watched)
    await parts.delivery.send(unwatched)
    await until(lambda: len(seen) == 2)
    assert seen == [(channel("v1"), watched.event), (channel("v2"), unwatched.event)]


async def test_the_last_follower_to_leave_ends_following(parts: Parts) -> None:
    async def ignore(_: Any) -> None:
        """Nothing to do."""

    one, two = parts.worker(ignore), parts.worker(ignore)
    fanned: Fanned = parts.fanout._backend
    await parts.delivery.tap(one)
    await parts.delivery.tap(two)
    parts.delivery.untap(one)
    assert "tracking:*" in fanned.subscribed
    parts.delivery.untap(two)
    parts.delivery.untap(two)
    assert fanned.subscribed == set()
    for tap in (one, two):
        await tap.aclose()


async def test_every_follower_hears_from_the_moment_it_is_one(hub: Hub) -> None:
    confirmed = asyncio.get_running_loop().create_future()

    class Slow(Fanned):
        def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
            return confirmed

    delivery = Delivery({}, hub.broadcaster, hub.channels, hub.clock, hub.incidents)
    fanout = Slow()
    delivery.start(MemoryCache(hub.clock, MemorySettings()), fanout, fanout)
    parts = Parts(hub, delivery, None, Interruptible(fanout))
    following = [asyncio.ensure_future(parts.tap()) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert [each.done() for each in following] == [False, False]
    confirmed.set_result(None)
    await asyncio.gather(*following)
    await delivery.aclose()


# -- while a backend fails -----------------------------------------------------------------


@pytest.mark.parametrize("failure", [AWAY, BROKEN], ids=["away", "broken"])
async def test_watchers_here_are_served_while_the_fan_out_fails(
    parts: Parts, failure: Exception
) -> None:
    member, fix = await watcher(parts), payload()
    seen = await parts.tap()
    parts.fanout.away = failure
    await parts.delivery.send(fix)
    assert member.frames == [frame(fix)]
    await until(lambda: seen)
    assert await parts.cached() == fix.location
    assert sum(parts.counts.values()) == 1


@pytest.mark.parametrize("failure", [AWAY, BROKEN], ids=["away", "broken"])
async def test_watchers_are_served_while_the_cache_fails(parts: Parts, failure: Exception) -> None:
    member, fix = await watcher(parts), payload()
    parts.cache.away = failure
    await parts.delivery.send(fix)
    await parts.delivery.keep(payload(seconds=1))
    assert member.frames == [frame(fix)]
    assert sum(parts.counts.values()) == 2


@pytest.mark.parametrize("part", ["cache", "fanout"])
async def test_a_backend_that_fails_before_it_is_awaited_is_survived_too(
    parts: Parts, part: str
) -> None:
    member, fix = await watcher(parts), payload()
    backend: Away = getattr(parts, part)
    backend.away, backend.at_once = BROKEN, True
    await parts.delivery.send(fix)
    assert member.frames == [frame(fix)]
    assert sum(parts.counts.values()) == 1
    backend.away = None
    parts.delivery.reachable()
    await until(lambda: not len(parts.delivery.backlog))
    assert await parts.cached() == fix.location


async def test_what_failed_is_made_up_for_when_it_can_be(parts: Parts) -> None:
    member = await watcher(parts)
    parts.cache.away = parts.fanout.away = AWAY
    for seconds in range(3):
        await parts.delivery.send(payload(seconds=seconds))
    assert len(member.frames) == 3
    parts.cache.away = parts.fanout.away = None
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    parts.delivery.reachable()
    await until(lambda: there)
    assert there == [payload(seconds=2).event]  # the newest alone
    assert await parts.cached() == payload(seconds=2).location
    assert member.frames == []


async def test_only_what_failed_is_made_up_for(parts: Parts) -> None:
    parts.cache.away = AWAY
    await parts.delivery.send(payload())
    parts.cache.away = None
    parts.fanout.calls.clear()
    parts.delivery.reachable()
    await until(lambda: parts.cache.calls.count("put") == 2)
    assert parts.fanout.calls == []


async def test_a_newer_fix_makes_an_unsent_one_old(parts: Parts) -> None:
    parts.fanout.away = AWAY
    await parts.delivery.send(payload(seconds=1))
    parts.fanout.away = None
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    await parts.delivery.send(payload(seconds=2))
    parts.delivery.reachable()
    await parts.delivery.send(payload(seconds=3))
    assert there == [payload(seconds=2).event, payload(seconds=3).event]


@pytest.mark.parametrize("newer_fails", [True, False])
async def test_an_older_fix_that_fails_late_is_not_sent_after_a_newer_one(
    parts: Parts, newer_fails: bool
) -> None:
    gate = parts.fanout.gate = asyncio.Event()
    parts.fanout.away = AWAY
    older = asyncio.create_task(parts.delivery.send(payload(seconds=1)))
    await until(lambda: "publish" in parts.fanout.calls)
    await asyncio.sleep(0.01)
    parts.fanout.gate = None
    parts.fanout.away = AWAY if newer_fails else None
    there: list[bytes] = []
    await parts.fanout.subscribe(channel(), lambda _, data: there.append(data))
    await parts.delivery.send(payload(seconds=2))
    parts.fanout.away = AWAY
    gate.set()
    await older
    parts.fanout.away = None
    parts.delivery.reachable()
    await until(lambda: there and not len(parts.delivery.backlog))
    assert there == [payload(seconds=2).event]
    assert parts.delivery.backlog.statistics()["superseded"] == 1


async def test_who_asks_for_the_cache_alone_is_told(parts: Parts) -> None:
    parts.cache.away = AWAY
    with pytest.raises(Unavailable):
        await parts.delivery.put(payload())
    assert parts.counts == {}


# -- after a gap ---------------------------------------------------------------------------


async def test_watchers_are_brought_up_to_date_after_a_gap(parts: Parts) -> None:
    member = await watcher(parts)
    await parts.delivery.send(payload(seconds=1))
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=5), 300)  # by another server
    parts.fanout.events.hearing()
    await until(lambda: parts.counts.get("resynchronised"))
    await until(lambda: member.count() == 2)
    assert member.frames == [frame(payload(seconds=1)), frame(payload(seconds=5))]


async def test_who_missed_nothing_gets_nothing_after_a_gap(parts: Parts) -> None:
    member = await watcher(parts)
    await parts.delivery.send(payload(seconds=1))
    parts.fanout.events.deaf()
    parts.fanout.events.hearing()
    await until(lambda: parts.delivery._resyncing and parts.delivery._resyncing.done())
    assert member.frames == [frame(payload(seconds=1))]


async def test_what_is_published_while_deaf_reaches_watchers_here_at_once(parts: Parts) -> None:
    member = await watcher(parts)
    parts.fanout.events.deaf()
    parts.fanout._backend.unsubscribe(channel())
    await parts.delivery.send(payload(seconds=1))
    assert member.frames == [frame(payload(seconds=1))]


async def test_a_cache_that_is_back_before_its_failure_is_known_is_asked_again(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever says that it is reachable comes while the question is still under way."""
    monkeypatch.setattr("atriz_realtime.core.publish.delivery.RESYNC_RETRY", 0.05)
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


@pytest.mark.parametrize("failure", [AWAY, BROKEN], ids=["away", "broken"])
async def test_a_cache_that_fails_after_a_gap_is_asked_again(
    parts: Parts, failure: Exception
) -> None:
    member = await watcher(parts)
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=5), 300)
    parts.cache.away = failure
    parts.fanout.events.hearing()
    await until(lambda: parts.delivery._resyncing and parts.delivery._resyncing.done())
    assert member.frames == []
    parts.cache.away = None
    parts.delivery.reachable()
    await until(member.count)
    assert member.frames == [frame(payload(seconds=5))]


async def test_a_gap_while_catching_up_is_caught_up_with_too(parts: Parts) -> None:
    member = await watcher(parts)
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=5), 300)
    parts.fanout.events.hearing()
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=6), 300)
    parts.fanout.events.hearing()
    await until(lambda: frame(payload(seconds=6)) in member.frames)


async def test_rooms_that_a_host_made_up_do_not_hinder_catching_up(parts: Parts) -> None:
    odd = await parts.hub.connect()
    for room in ("vehicle:", "vehicle", "vehicle:a:b", "vehicle:*", ":"):
        parts.hub.enter(odd, room)
    member = await watcher(parts)
    parts.fanout.events.deaf()
    await parts.cache.put(payload(seconds=5), 300)
    parts.fanout.events.hearing()
    await until(member.count)
    assert member.frames == [frame(payload(seconds=5))]


async def test_a_location_another_program_wrote_is_shown_as_it_is(parts: Parts) -> None:
    member = await watcher(parts)
    foreign = attrs.evolve(payload(), location=b'{"latitude":1}', timestamp="")
    parts.fanout.events.deaf()
    await parts.cache.put(foreign, 300)
    parts.fanout.events.hearing()
    await until(member.count)
    assert '"location":{"latitude":1}' in member.frames[0]

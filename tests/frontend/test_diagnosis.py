"""What the tracker says when there is no connection, and whether it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from atriz_realtime import RealtimeExtension
from atriz_realtime.testing.serving import free_port
from atriz_realtime.testing.web import on_uvicorn, port_of
from tests.frontend.test_tracker import error, errors, follow, members, track, tracking
from tests.support.clients.node import Lines
from tests.support.servers.serving import Live, config, serving, token, until
from tests.support.servers.tcp_proxy import proxying

WEBSOCKET = ["websocket"]

UPGRADE = b"Upgrade: websocket"


@asynccontextmanager
async def answering(status: int, asked: list[str] | None = None) -> AsyncIterator[Live]:
    """A realtime server, and beside it a path where something else answers.

    :param asked: the methods of the requests for that path are added to it.
    """

    async def page(request: Request) -> Response:
        if asked is not None:
            asked.append(request.method)
        return HTMLResponse("<!doctype html><title>Fleet</title>", status)

    app = Starlette(routes=[Route("/page/", page, methods=["GET", "POST"])])
    app.state.realtime = RealtimeExtension(config()).install(app)
    async with serving(app) as live:
        yield live


async def refused(tracker: Lines, code: str, *ids: str) -> None:
    """Wait until a request to track is refused, and the error has been reported."""
    await until(
        lambda: any(line.get("refused", {}).get("code") == code for line in tracker.printed)
    )
    assert errors(tracker) == [code]
    assert {"status": "refused"} in tracker.printed


@pytest.mark.parametrize("transports", [["polling", "websocket"], WEBSOCKET])
async def test_an_unreachable_server_is_reported_and_awaited(
    project: Path, transports: list[str]
) -> None:
    async with serving() as live, proxying(live.port) as proxy:
        proxy.cut()
        url = f"http://127.0.0.1:{proxy.port}"
        async with tracking(project, url, token=token(), transports=transports) as tracker:
            await track(tracker, "v1")
            await until(lambda: errors(tracker))
            proxy.mend()
            await tracker.until_printed({"tracked": ["v1"]})
            assert errors(tracker) == ["unreachable"]
            assert not any("refused" in line for line in tracker.printed)


async def test_a_port_where_nothing_listens_is_unreachable(project: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with tracking(project, url, token=token()) as tracker:
        said = error("unreachable", "the server does not answer")
        await tracker.until_last_is({"error": said})
        await tracker.send({"do": "close"})
        await tracker.until_last_is({"status": "closed"})


@pytest.mark.parametrize("transports", [["polling", "websocket"], WEBSOCKET])
async def test_a_wrong_path_is_refused(project: Path, transports: list[str]) -> None:
    async with (
        serving() as live,
        tracking(
            project, live.url, token=token(), path="/nowhere", transports=transports
        ) as tracker,
    ):
        await track(tracker, "v1")
        await refused(tracker, "wrong_path")
        await tracker.send({"do": "reconnect"})
        await tracker.until_printed({"status": "refused"}, times=2)
        assert errors(tracker) == ["wrong_path"] * 2


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://live.example/fleet", "/fleet"),
        ("https://live.example:8443/fleet/?a=b", "/fleet"),
        ("//live.example/a/b", "/a/b"),
        ("live.example/fleet", "/fleet"),
        ("/fleet", "/fleet"),
    ],
)
async def test_a_url_with_a_path_is_refused_at_once(project: Path, url: str, path: str) -> None:
    said = f"the URL '{url}' has a path; leave it out, and use the option path: '{path}/socket.io/'"
    async with tracking(project, url, token=token()) as tracker:
        await tracker.until_last_is({"error": error("wrong_path", said)})
        assert tracker.printed[0] == {"status": "refused"}
        await tracker.send({"do": "reconnect"})
        await track(tracker, "v1")
        await tracker.until_last_is({"refused": error("wrong_path", said)})
        await tracker.send({"do": "close"})
        await tracker.until_last_is({"status": "closed"})


@pytest.mark.parametrize("end", ["/", "?from=here", "/?from=here"])
async def test_a_url_without_a_path_may_have_a_query(project: Path, end: str) -> None:
    async with serving() as live, tracking(project, live.url + end) as tracker:
        await follow(tracker, "v1")


@pytest.mark.parametrize("path", ["socket.io", "socket.io/", "/socket.io"])
async def test_slashes_around_the_path_may_be_left_out(project: Path, path: str) -> None:
    async with serving() as live, tracking(project, live.url, token=token(), path=path) as tracker:
        await follow(tracker, "v1")


@pytest.mark.parametrize(("status", "code"), [(200, "wrong_path"), (403, "origin_refused")])
async def test_an_answer_that_will_not_change_is_a_refusal(
    project: Path, status: int, code: str
) -> None:
    async with (
        answering(status) as live,
        tracking(project, live.url, token=token(), path="/page/") as tracker,
    ):
        await track(tracker, "v1")
        await refused(tracker, code)


async def test_a_server_that_is_not_ready_is_awaited(project: Path) -> None:
    async with (
        answering(503) as live,
        tracking(project, live.url, token=token(), path="/page/") as tracker,
    ):
        await track(tracker, "v1")
        said = error("unavailable", "the server is not ready")
        await tracker.until_last_is({"error": said})


async def test_a_wrong_path_that_leaves_websockets_unanswered_is_found_early(project: Path) -> None:
    """Vite does so without a proxy; the attempt itself lasts for 20 seconds."""
    async with answering(200) as live, proxying(live.port) as proxy:
        proxy.hold_requests(only=UPGRADE)
        url = f"http://127.0.0.1:{proxy.port}"
        async with tracking(project, url, token=token(), path="/page/") as tracker:
            await track(tracker, "v1")
            async with asyncio.timeout(15):
                await refused(tracker, "wrong_path")
                await tracker.send({"do": "reconnect"})
                await tracker.until_printed({"status": "refused"}, times=2)


async def test_a_slow_websocket_is_not_reported_before_it_has_failed(project: Path) -> None:
    asked: list[str] = []
    async with answering(503, asked) as live, proxying(live.port) as proxy:
        proxy.hold_requests(only=UPGRADE)
        url = f"http://127.0.0.1:{proxy.port}"
        async with tracking(project, url, token=token(), path="/page/") as tracker:
            await until(lambda: len(asked) == 2)  # it has looked for the reason twice
            assert errors(tracker) == []
            proxy.release_requests()
            await until(lambda: errors(tracker) == ["unavailable"])


async def test_a_path_that_was_right_is_not_given_up(project: Path) -> None:
    """A proxy may answer 404 while the server behind it is replaced."""
    nothing = uvicorn.Config(Starlette(), port=0, log_config=None)
    async with (
        serving() as live,
        on_uvicorn(nothing) as other,
        proxying(live.port) as proxy,
        tracking(project, f"http://127.0.0.1:{proxy.port}") as tracker,
    ):
        await follow(tracker, "v1")
        proxy.target = port_of(other)
        proxy.break_connections()
        await until(lambda: errors(tracker) == ["wrong_path"])
        proxy.target = live.port
        proxy.break_connections()
        await tracker.until_printed({"status": "connected"}, times=2)
        await until(lambda: members(live, "vehicle:v1") == 1)
        assert {"status": "refused"} not in tracker.printed

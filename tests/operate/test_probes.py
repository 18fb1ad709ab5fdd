"""``/livez`` and ``/readyz`` in each state of a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from atriz_realtime import RealtimeExtension, RealtimeServer
from atriz_realtime.asgi import create_app
from atriz_realtime.http import routes
from atriz_realtime.testing import config, serving
from tests.support.plugins.files import Plugins, plugins_in

Ask = Callable[[str], Awaitable[tuple[int, str]]]
"""Requests a path; returns the HTTP status, and the ``status`` of the answer."""


@pytest.fixture
def plugins(tmp_path: Path) -> Iterator[Plugins]:
    with plugins_in(tmp_path) as plugins:
        yield plugins


@asynccontextmanager
async def asking(app: Starlette) -> AsyncIterator[Ask]:
    """A client of an application on a host that runs no lifespan."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:

        async def ask(path: str) -> tuple[int, str]:
            answer = await client.get(path)
            return answer.status_code, answer.json()["status"]

        yield ask


async def test_a_running_server_is_alive_and_ready() -> None:
    async with serving() as live:
        assert await live.get("/livez", headers={}) == (200, {"status": "alive"})
        assert await live.get("/readyz", headers={}) == (200, {"status": "ready"})
        assert (await live.request("HEAD", "/readyz", headers={}))[0] == 200


async def test_it_is_alive_and_not_ready_while_it_starts(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "START_TIMEOUT", 0.05)
    name = plugins.module(
        "slow",
        """
        import asyncio
        go_on = asyncio.Event()

        @hookimpl
        async def server_started():
            await go_on.wait()
        """,
    )
    app = create_app(config(extra_plugins=[name]))
    async with asking(app) as ask:
        assert await ask("/livez") == (200, "alive")
        assert await ask("/readyz") == (503, "starting")
        assert await ask("/livez") == (200, "alive")
        plugins.loaded(name).go_on.set()
        await app.state.realtime.start()
        assert await ask("/readyz") == (200, "ready")
        app.state.realtime.leave()
        assert await ask("/readyz") == (503, "closing")
        assert await ask("/health/realtime") == (200, "healthy")
        closing = asyncio.create_task(app.state.realtime.close())
        await asyncio.sleep(0)
        assert await ask("/readyz") == (503, "closing")
        await closing
        assert await ask("/readyz") == (503, "closing")
        assert await ask("/livez") == (200, "alive")


async def test_it_is_not_ready_when_its_start_failed(plugins: Plugins) -> None:
    name = plugins.module(
        "broken",
        """
        @hookimpl
        def server_started():
            raise LookupError("a bug")
        """,
    )
    app = create_app(config(extra_plugins=[name]))
    async with asking(app) as ask:
        for _ in range(2):
            assert await ask("/readyz") == (503, "failed")
        assert await ask("/livez") == (200, "alive")


async def test_a_probe_starts_a_server_whose_host_runs_no_lifespan() -> None:
    app = create_app(config())
    server: RealtimeServer = app.state.realtime
    async with asking(app) as ask:
        assert await ask("/readyz") == (200, "ready")
        assert server.get_stats()["uptime"] > 0
    await server.close()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_routes_of_the_host_take_precedence(before: bool) -> None:
    async def own(_: Request) -> Response:
        return PlainTextResponse("own")

    app = Starlette()
    if not before:
        RealtimeExtension(config()).install(app)
    app.router.routes += [Route("/livez", own), Mount("/", PlainTextResponse("rest"))]
    if before:
        RealtimeExtension(config()).install(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        assert (await client.get("/livez")).text == "own"
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        assert (await client.get("/elsewhere")).text == "rest"
    await app.state.realtime.close()


async def test_a_server_below_a_path_answers_there() -> None:
    inner = create_app(config())
    app = Starlette(routes=[Mount("/live", inner)])
    async with asking(app) as ask:
        assert await ask("/live/readyz") == (200, "ready")
    await inner.state.realtime.close()

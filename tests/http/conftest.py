"""Servers on the fast HTTP path, one for the tests of a module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from atriz_realtime import RealtimeExtension
from tests.support.plugins.files import Plugins, plugins_in
from tests.support.servers.http_server import (
    Connection,
    HttpServer,
    http_server,
)
from tests.support.servers.serving import config, until

ENDPOINTS = """
import asyncio
import json

gate = asyncio.Event()
called = []

@hookimpl
def register_endpoints():
    async def echo(call):
        called.append(call.body.decode())
        return HttpAnswer(call.body or b'"nothing"')

    async def slow(call):
        called.append("slow")
        await gate.wait()
        return HttpAnswer(b'"slow"')

    async def fails(call):
        raise LookupError("as planned")

    async def cancelled(call):
        awaited = asyncio.get_running_loop().create_future()
        awaited.cancel()
        await awaited

    async def returns_nothing(call):
        pass

    async def caller(call):
        return HttpAnswer(json.dumps([call.address, dict(call.headers)]).encode())

    async def much(call):
        return HttpAnswer(b'"%b"' % (b"x" * 50_000))

    return [
        Endpoint("/api/echo", echo),
        Endpoint("/api/slow", slow),
        Endpoint("/api/fails", fails),
        Endpoint("/api/cancelled", cancelled),
        Endpoint("/api/nothing", returns_nothing),
        Endpoint("/api/twice", fails),
        Endpoint("/api/twice", echo),  # replaces the one before it
        Endpoint("/api/caller", caller),
        Endpoint("/api/much", much, method="GET"),
    ]
"""


async def hello(_: Request) -> Response:
    return JSONResponse("hello")


async def early(_: Request) -> Response:
    """Answer without having read the body."""
    return PlainTextResponse("early")


async def parts(_: Request) -> Response:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"part"

    return StreamingResponse(content())


async def shout(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text.upper())


async def late(request: Request) -> Response:
    """Read the body only when the client is told that it may be read."""
    may_read = request.app.state.may_read = asyncio.Event()
    await may_read.wait()
    return PlainTextResponse(str(len(await request.body())))


async def left(request: Request) -> Response:
    """Wait until the client has left."""
    has_left = request.app.state.has_left = asyncio.Event()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    has_left.set()
    return Response()


ROUTES = [
    Route("/hello", hello, methods=["GET", "POST"]),
    Route("/early", early, methods=["GET", "POST"]),
    Route("/parts", parts),
    Route("/late", late, methods=["POST"]),
    Route("/left", left),
    WebSocketRoute("/shout", shout),
]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugins]:
    with plugins_in(tmp_path_factory.mktemp("plugins")) as plugins:
        plugins.module("http_endpoints", ENDPOINTS)
        yield plugins


@pytest.fixture(scope="module")
def application(plugins: Plugins) -> Callable[..., Starlette]:
    """Make applications with these endpoints."""

    def make(**settings: Any) -> Starlette:
        app = Starlette(routes=ROUTES)
        defaults = {"extra_plugins": ["http_endpoints"], "max_body": 2_000}
        RealtimeExtension(config(**defaults | settings)).install(app)
        return app

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(application: Callable[..., Starlette]) -> AsyncIterator[HttpServer]:
    app = application(cors_origin=["https://app.example"])
    async with http_server(app) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def short_timeouts(application: Callable[..., Starlette]) -> AsyncIterator[HttpServer]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("atriz_realtime.http.request_deadlines.REQUEST_TIMEOUT", 0.2)
        async with http_server(application(), timeout_keep_alive=0.1) as server:
            yield server


@pytest_asyncio.fixture(loop_scope="module")
async def server(shared: HttpServer) -> AsyncIterator[HttpServer]:
    """The module's server, without the requests of earlier tests."""
    shared.over_asgi.clear()
    yield shared
    await until(lambda: shared.connections == 0)


@pytest.fixture
def endpoints(plugins: Plugins, shared: HttpServer) -> Iterator[Any]:
    """The plugin with the endpoints, without the calls of earlier tests."""
    module = plugins.loaded("http_endpoints")
    module.called.clear()
    module.gate.clear()
    yield module
    module.gate.set()


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: HttpServer, endpoints: Any) -> AsyncIterator[Connection]:
    async with server.connect() as connection:
        yield connection

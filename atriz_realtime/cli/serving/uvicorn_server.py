"""Serving an application until a signal comes, and then leaving in time."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from atriz_realtime.cli.serving import gc_tuning
from atriz_realtime.cli.serving.addresses import BACKLOG
from atriz_realtime.cli.serving.workers.handover import Handover, sticky_protocol
from atriz_realtime.server import RealtimeServer

logger = logging.getLogger("atriz_realtime.serve")

CLOSE_LIMIT = 3.5
"""Seconds in which clients are told and backends closed."""

REQUESTS_LIMIT = 1
"""Seconds that requests under way then have to end.  Together with the above, under five."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """uvicorn, which starts and closes our server itself: before it waits for connections.

    :param ready: called when clients can connect.
    :param companion: runs beside the server; when it ends, the server stops.
    :param handover: takes over connections from other workers.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        realtime: RealtimeServer,
        ready: Callable[[], None],
        companion: Callable[[], Awaitable[None]] | None = None,
        handover: Handover | None = None,
    ) -> None:
        super().__init__(config)
        self._realtime = realtime
        self._ready = ready
        self._companion = companion
        self._handover = handover
        self._beside: asyncio.Future[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; a failure of ours leaves as it is, not as a traceback in the log."""
        await self._realtime.start()
        await super().startup(sockets)
        if self._handover is not None:
            self._handover.start(self._make_protocol)
        gc_tuning.settle()
        self._ready()
        if self._companion is not None:
            self._beside = asyncio.ensure_future(self._companion())
            self._beside.add_done_callback(self._stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new connections, send the clients away, then let uvicorn close the rest."""
        logger.info("stopping")
        for server in self.servers:
            server.close()
        if self._handover is not None:
            self._handover.close()
        if self._beside is not None:
            self._beside.cancel()
            await asyncio.wait([self._beside])
        try:
            async with asyncio.timeout(CLOSE_LIMIT):
                await self._realtime.close()
        except TimeoutError:
            logger.warning("not closed within %g s; leaving all the same", CLOSE_LIMIT)
            self.force_exit = True
            # whatever is cut off now would be logged with a traceback of our own doing
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
        if self._beside is not None and not self._beside.cancelled():
            self._beside.result()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal, and end with status 0: uvicorn's own raises the signal again."""
        before = {number: signal.signal(number, self.handle_exit) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _make_protocol(self) -> asyncio.Protocol:
        """Make what uvicorn makes for a connection that it accepts."""
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _stop(self, _: asyncio.Future[None]) -> None:
        self.should_exit = True


def run(
    app: Starlette,
    sockets: list[socket.socket],
    *,
    ready: Callable[[], None],
    companion: Callable[[], Awaitable[None]] | None = None,
    handover: Handover | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    :raises RealtimeError: when the server cannot start.
    """
    realtime: RealtimeServer = app.state.realtime
    lane = realtime.websocket_protocol()
    lane.listen_on(sockets)
    config = uvicorn.Config(
        app,
        http=realtime.http_protocol(None if handover is None else sticky_protocol(handover)),
        log_config=None,
        access_log=False,
        proxy_headers=not realtime.config.trusted_proxies,  # else ours are asked, everywhere
        server_header=False,
        lifespan="on",
        backlog=BACKLOG,
        ws=lane,
        ws_max_size=realtime.config.max_payload,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # Engine.IO has pings of its own
        timeout_graceful_shutdown=REQUESTS_LIMIT,
    )
    server = Server(config, realtime, ready, companion, handover)
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets))
    finally:
        gc_tuning.release()

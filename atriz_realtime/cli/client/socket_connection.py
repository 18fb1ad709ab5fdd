"""A Socket.IO connection that tracks entities."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import socketio
import socketio.exceptions

from atriz_realtime.api.errors import (
    AuthenticationRejected,
    NotAuthenticated,
    NotAuthorized,
    RateLimited,
    SubscriptionLimit,
)
from atriz_realtime.api.wire import SOCKET_PATH, TRACKING_REVOKED, SocketEvents, track_event
from atriz_realtime.cli.client.connection import (
    ANSWER_TIMEOUT,
    Refused,
    Target,
    Unreachable,
    unreachable,
)

BATCH = 100
"""Maximum entities in one ``track`` event."""

_CODES = {
    error.default_message: error.code
    for error in (AuthenticationRejected, NotAuthenticated, NotAuthorized, RateLimited)
}
"""Error codes by message: the event ``error`` has only the message."""

_SILENT = logging.getLogger(f"{__name__}.library")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
"""Swallows the logs of python-socketio, which would write them to standard error."""


class SocketConnection:
    """One Socket.IO connection, from its handshake to its end.

    :param on_update: called with each ``location:update`` event; an exception ends the connection.
    :param on_revoked: called with the id of each entity that may not be tracked any longer, and the
        number of those that are tracked still.
    """

    def __init__(
        self,
        target: Target,
        on_update: Callable[[dict[str, Any]], None],
        on_revoked: Callable[[str, int], None] | None = None,
    ) -> None:
        self.tracked: set[str] = set()
        self._target = target
        self._update = on_update
        self._revoked = on_revoked
        self._end: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._client = socketio.AsyncClient(
            reconnection=False,
            handle_sigint=False,
            logger=_SILENT,
            engineio_logger=_SILENT,
            request_timeout=ANSWER_TIMEOUT,
        )
        self._client.on(SocketEvents.LOCATION_UPDATE, self._on_update)
        self._client.on(TRACKING_REVOKED, self._on_revoked)
        self._client.on(SocketEvents.ERROR, self._on_error)
        self._client.on("connect_error", self._on_connect_error)
        self._client.on(SocketEvents.DISCONNECT, self._on_disconnect)

    @property
    def end(self) -> asyncio.Future[Exception]:
        """Done once the connection was refused or lost, with the reason."""
        return self._end

    async def open(self) -> None:
        """Connect over a websocket, or by long polling where a proxy refuses websockets.

        :raises Refused: when the server refuses the connection.
        :raises Unreachable: when no server answers.
        """
        try:
            await self._connect("websocket")
        except socketio.exceptions.ConnectionError as error:
            cause = _root_cause(error)
            if not isinstance(cause, aiohttp.WSServerHandshakeError):
                raise unreachable(self._target, cause) from error
            try:
                await self._connect("polling")
            except socketio.exceptions.ConnectionError as polling_error:
                raise unreachable(self._target, polling_error) from polling_error

    async def _connect(self, transport: str) -> None:
        parts = urlsplit(self._target.url)
        try:
            await self._client.connect(
                f"{parts.scheme}://{parts.netloc}",
                auth={"token": self._target.token()},
                transports=[transport],
                socketio_path=parts.path + SOCKET_PATH,
                wait_timeout=ANSWER_TIMEOUT,
            )
        except socketio.exceptions.ConnectionError:
            if self._end.done() and isinstance(self._end.result(), Refused):
                raise self._end.result() from None
            raise

    async def track(self, kind: str, ids: Sequence[str]) -> None:
        """Track entities.

        :raises Refused: when the server refuses one of them.
        :raises Unreachable: when the connection ends before the answer.
        """
        for first in range(0, len(ids), BATCH):
            batch = ids[first : first + BATCH]
            answer = await self._call(track_event(kind), list(batch))
            if not answer.get("success"):
                raise Refused(str(answer.get("code", "")), str(answer.get("message", "")))
            self.tracked.update(batch)

    async def track_until_full(self, kind: str, ids: Sequence[str]) -> bool:
        """Track as many entities as the server allows; returns whether that was all of them."""
        first, size = 0, BATCH
        while first < len(ids):
            try:
                await self.track(kind, ids[first : first + size])
                first += size
            except Refused as refusal:
                if refusal.code != SubscriptionLimit.code:
                    raise
                if size == 1:
                    return False
                size //= 2
        return True

    async def wait(self, seconds: float | None = None) -> None:
        """Wait until the connection ends, which raises, or until some seconds have passed.

        :raises Refused: when the server refused a request.
        :raises Unreachable: when the connection was lost.
        """
        await asyncio.wait([self._end], timeout=seconds)
        if self._end.done():
            raise self._end.result()

    async def close(self) -> None:
        """Disconnect, within a second."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._client.disconnect()

    async def _call(self, event: str, argument: Any) -> dict[str, Any]:
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def answer(*arguments: Any) -> None:
            if not answered.done():
                answered.set_result(arguments[0] if arguments else {})

        try:
            await self._client.emit(event, argument, callback=answer)
        except socketio.exceptions.SocketIOError:
            self._finish(self._lost())
        either: list[asyncio.Future[Any]] = [answered, self._end]
        await asyncio.wait(either, timeout=ANSWER_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if answered.done():
            return answered.result()
        self._finish(unreachable(self._target, TimeoutError()))
        raise self._end.result()

    def _on_update(self, event: dict[str, Any]) -> None:
        try:
            self._update(event)
        except Exception as error:  # python-socketio would only log it
            self._finish(error)

    def _on_revoked(self, event: Any = None, *_: Any) -> None:
        entity_id = event.get("entityId") if isinstance(event, dict) else None
        if isinstance(entity_id, str) and entity_id in self.tracked:
            self.tracked.discard(entity_id)
            if self._revoked is not None:
                self._revoked(entity_id, len(self.tracked))

    def _on_error(self, message: Any = "", *_: Any) -> None:
        if message != SubscriptionLimit.default_message:  # the acknowledgement reports that one
            self._finish(Refused(_CODES.get(message, ""), str(message)))

    def _on_connect_error(self, data: Any = None, *_: Any) -> None:
        if isinstance(data, dict) and "message" in data:
            details = data.get("data")
            code = details.get("code", "") if isinstance(details, dict) else ""
            self._finish(Refused(str(code), str(data["message"])))

    def _on_disconnect(self, *_: Any) -> None:
        self._finish(self._lost())

    def _finish(self, failure: Exception) -> None:
        if not self._end.done():
            self._end.set_result(failure)

    def _lost(self) -> Unreachable:
        return Unreachable(f"the connection to {self._target.url} was lost")


def _root_cause(error: BaseException) -> BaseException:
    """The error of aiohttp, or the first one, in a chain of causes."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
        if isinstance(error, aiohttp.ClientError):
            break
    return error

"""Following entities over Socket.IO, through lost connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import socketio
import socketio.exceptions

from atriz_realtime.api.errors import (
    AuthenticationRejected,
    NotAuthenticated,
    NotAuthorized,
    SubscriptionLimit,
)
from atriz_realtime.api.wire import SocketEvents, track_event
from atriz_realtime.cli.client.client import (
    ANSWER_TIMEOUT,
    Api,
    Connection,
    Refused,
    Unreachable,
    unreachable,
)

SOCKET_PATH = "/socket.io"

LOOK_AGAIN = 3.0
"""Seconds between two looks for entities that are new."""

BATCH = 100
"""Entities tracked with one event."""

BACKOFF_FIRST = 0.5
BACKOFF_MOST = 10.0
"""Seconds between two attempts to connect: doubled each time."""

_CODES = {
    error.default_message: error.code
    for error in (AuthenticationRejected, NotAuthenticated, NotAuthorized)
}
"""Codes by the text that the event ``error`` brings instead."""

_SILENT = logging.getLogger(f"{__name__}.library")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
"""For python-socketio, which would write to standard error itself."""


class View(Protocol):
    """What shows the events."""

    def update(self, event: dict[str, Any]) -> None:
        """Take an event that arrived."""

    def state(self, text: str) -> None:
        """Take a sentence about the connection, whenever it changes."""


class Follower:
    """Tracks entities of one type, and begins anew whenever the connection is lost.

    :param ids: which; none: all that the server lists, and those that come later.
    """

    def __init__(
        self, connection: Connection, api: Api, kind: str, ids: Sequence[str], view: View
    ) -> None:
        self._connection = connection
        self._api = api
        self._kind = kind
        self._ids = ids
        self._view = view

    async def run(self) -> None:
        """Follow until cancelled.

        :raises Refused: when the server refuses the token or an entity.
        :raises Unreachable: when the first attempt to connect fails; later ones are repeated.
        """
        connected_once = False
        pause = BACKOFF_FIRST
        while True:
            session = _Session(self._connection, self._view)
            try:
                await session.open()
                connected_once, pause = True, BACKOFF_FIRST
                await self._follow(session)
            except Unreachable as error:
                if not connected_once:
                    raise
                self._view.state(f"{error.message}; connecting again")
            finally:
                await session.close()
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_MOST)

    async def _follow(self, session: _Session) -> None:
        """Track what is wanted until the session ends, which raises."""
        if self._ids:
            await session.track(self._kind, self._ids)
            self._tell(session)
            await session.ended()
        while True:
            full = await self._track_new(session)
            self._tell(session, "; more than one connection may track" if full else "")
            await session.ended(None if full else LOOK_AGAIN)

    async def _track_new(self, session: _Session) -> bool:
        """Track what has come since the last look; returns whether more cannot be tracked."""
        try:
            listed = await self._api.entity_ids(self._kind)
        except Unreachable:
            return False  # whether the server is away shows in the session
        except Refused as refusal:
            if not refusal.temporary:
                raise
            return False
        new = [entity_id for entity_id in listed if entity_id not in session.tracked]
        return not await session.track_until_full(self._kind, new)

    def _tell(self, session: _Session, addition: str = "") -> None:
        count = len(session.tracked)
        entities = "entity" if count == 1 else "entities"
        self._view.state(f"connected, tracking {count:,} {entities}{addition}")


class _Session:
    """One connection, from its handshake to its end."""

    def __init__(self, connection: Connection, view: View) -> None:
        self.tracked: set[str] = set()
        self._connection = connection
        self._view = view
        self._end: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._client = socketio.AsyncClient(
            reconnection=False,
            handle_sigint=False,
            logger=_SILENT,
            engineio_logger=_SILENT,
            request_timeout=ANSWER_TIMEOUT,
        )
        self._client.on(SocketEvents.LOCATION_UPDATE, self._on_update)
        self._client.on(SocketEvents.ERROR, self._on_error)
        self._client.on("connect_error", self._on_connect_error)
        self._client.on(SocketEvents.DISCONNECT, self._on_disconnect)

    async def open(self) -> None:
        """Connect: over a websocket, or where something in between refuses those, by polling.

        :raises Refused: when the server does not want us.
        :raises Unreachable: when nobody answers.
        """
        try:
            await self._connect("websocket")
        except socketio.exceptions.ConnectionError as error:
            cause = _root_cause(error)
            if not isinstance(cause, aiohttp.WSServerHandshakeError):
                raise unreachable(self._connection, cause) from error
            try:
                await self._connect("polling")
            except socketio.exceptions.ConnectionError as polling_error:
                raise unreachable(self._connection, polling_error) from polling_error

    async def _connect(self, transport: str) -> None:
        parts = urlsplit(self._connection.url)
        try:
            await self._client.connect(
                f"{parts.scheme}://{parts.netloc}",
                auth={"token": self._connection.token()},
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

        :raises Refused: when one may not be tracked.
        :raises Unreachable: when the connection ends before the answer.
        """
        for first in range(0, len(ids), BATCH):
            batch = ids[first : first + BATCH]
            answer = await self._call(track_event(kind), list(batch))
            if not answer.get("success"):
                raise Refused(str(answer.get("code", "")), str(answer.get("message", "")))
            self.tracked.update(batch)

    async def track_until_full(self, kind: str, ids: Sequence[str]) -> bool:
        """Track as many as the server allows; returns whether that was all."""
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

    async def ended(self, seconds: float | None = None) -> None:
        """Wait for the end, or for a while.

        :raises Refused: when the server refused something.
        :raises Unreachable: when the connection was lost.
        """
        await asyncio.wait([self._end], timeout=seconds)
        if self._end.done():
            raise self._end.result()

    async def close(self) -> None:
        """Say goodbye, briefly."""
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
        self._finish(unreachable(self._connection, TimeoutError()))
        raise self._end.result()

    def _on_update(self, event: dict[str, Any]) -> None:
        try:
            self._view.update(event)
        except Exception as error:  # python-socketio would log it and go on
            self._finish(error)

    def _on_error(self, message: Any = "", *_: Any) -> None:
        if message != SubscriptionLimit.default_message:  # which the acknowledgement says too
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
        return Unreachable(f"the connection to {self._connection.url} was lost")


def _root_cause(error: BaseException) -> BaseException:
    """What an error was raised for in the first place."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
        if isinstance(error, aiohttp.ClientError):
            break
    return error

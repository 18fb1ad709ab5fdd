"""One HTTP request and its response, whatever carries them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from atriz_realtime.engine.request.request import Request

Headers = Sequence[tuple[bytes, bytes]]

Response = tuple[int, Headers, bytes]
"""The status, the headers and the body."""

NO_STORE = (b"cache-control", b"no-store")
"""A header of every response."""


class Exchange:
    """A request, and its response, which may be sent later.

    :param query: the parameters of the request.
    """

    __slots__ = ("abandoned", "is_given_up", "query", "request")

    def __init__(self, request: Request, query: Mapping[str, str]) -> None:
        self.request = request
        self.query = query
        self.is_given_up = False
        self.abandoned: Callable[[], object] | None = None
        """Called when the client goes away before the response; ``None``: nobody asks."""

    def read(self, limit: int, received: Callable[[bytes | None], object]) -> None:
        """Call back with the request's body, or ``None`` when it has more bytes than ``limit``."""
        raise NotImplementedError

    def respond(self, status: int, content_type: bytes, body: bytes, headers: Headers = ()) -> None:
        """Send a response that no cache stores, unless the client has gone.

        :param headers: its further headers.
        """
        raise NotImplementedError

    def give_up(self) -> None:
        """Note that the client has gone away; for :attr:`abandoned`."""
        self.is_given_up = True

    def is_unread(self) -> bool:
        """Whether the response, or a part of it, is not sent yet, as far as is known."""
        return False


class AsgiExchange(Exchange):
    """An exchange over ASGI, in the task of the request.

    :param receive: ASGI's.
    """

    __slots__ = ("_is_sent", "_receive", "_response", "_wanted")

    def __init__(self, request: Request, receive: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(request, request.query())
        self._receive = receive
        self._wanted: tuple[int, Callable[[bytes | None], object]] | None = None
        self._response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._is_sent = False

    def read(self, limit: int, received: Callable[[bytes | None], object]) -> None:
        """Have :meth:`finish` read the body."""
        self._wanted = limit, received

    def respond(self, status: int, content_type: bytes, body: bytes, headers: Headers = ()) -> None:
        """Have :meth:`finish` send the response."""
        if not self._response.done():
            length = (b"content-length", b"%d" % len(body))
            every = [(b"content-type", content_type), NO_STORE, *headers, length]
            self._response.set_result((status, every, body))

    async def finish(self, send: Callable[[Any], Awaitable[None]]) -> None:
        """Read the body if it is wanted, and send the response when there is one.

        :param send: ASGI's.
        """
        try:
            if self._wanted is not None:
                limit, received = self._wanted
                self._wanted = None  # it refers to this exchange
                received(await self._body(limit))
            if self.abandoned is not None and not self._response.done():
                await self._response_or_disconnect()
            status, headers, body = await self._response
        except ConnectionResetError:
            return
        finally:
            if self.abandoned is not None and not self._response.done():
                self.abandoned()
        try:
            await send({"type": "http.response.start", "status": status, "headers": [*headers]})
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body"})  # waits while the client does not read
        finally:
            self._is_sent = True

    def is_unread(self) -> bool:
        """Whether the web server has not sent all of the response."""
        return not self._is_sent

    async def _body(self, limit: int) -> bytes | None:
        """The request's body; ``None`` when it has more bytes than ``limit``.

        :raises ConnectionResetError: when the connection closes before the body is complete.
        """
        declared = self.request.header(b"content-length")
        if declared is not None and declared.isdecimal() and int(declared) > limit:
            return None
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            body += message.get("body", b"")
            if len(body) > limit:
                return None
            if not message.get("more_body"):
                return bytes(body)

    async def _response_or_disconnect(self) -> None:
        """Wait for the response.

        :raises ConnectionResetError: when the client closes the request before.
        """
        disconnected = asyncio.ensure_future(self._disconnected())
        try:
            await asyncio.wait((self._response, disconnected), return_when=asyncio.FIRST_COMPLETED)
        finally:
            disconnected.cancel()
        if not self._response.done():
            raise ConnectionResetError

    async def _disconnected(self) -> None:
        """Wait until the client has closed the request."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

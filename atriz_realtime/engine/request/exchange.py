"""One HTTP request and its response, over ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.origins import Origins
from atriz_realtime.engine.request.request import Request

Headers = Sequence[tuple[bytes, bytes]]


class HttpExchange:
    """A request and its response.

    :param receive: ASGI's.
    :param send: ASGI's.
    :param origins: decides which pages may read the response.
    :param refused: called with each refusal that is sent.
    """

    def __init__(
        self,
        request: Request,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
        origins: Origins,
        refused: Callable[[Refusal], None],
    ) -> None:
        self.request = request
        self._receive = receive
        self._send = send
        self._origins = origins
        self._refused = refused

    async def body(self, limit: int) -> bytes | None:
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

    async def disconnected(self) -> None:
        """Wait until the client has closed the request."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(
        self, status: int, content_type: bytes, body: bytes, headers: Headers = ()
    ) -> None:
        """Send the response."""
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", content_type),
                    (b"content-length", str(len(body)).encode()),
                    (b"cache-control", b"no-store"),
                    *self._origins.headers(self.request),
                    *headers,
                ],
            }
        )
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, refusal: Refusal) -> None:
        """Send a standard refusal."""
        self._refused(refusal)
        await self.respond(refusal.status, b"application/json", refusal.body)

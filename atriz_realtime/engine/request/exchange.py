"""One HTTP request and its response, over ASGI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.request import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atriz_realtime.engine.server import EngineServer

Headers = Sequence[tuple[bytes, bytes]]


class Exchange:
    """A request, and whatever is answered."""

    def __init__(
        self,
        engine: EngineServer,
        request: Request,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        self.engine = engine
        self.request = request
        self._receive = receive
        self._send = send

    async def body(self, limit: int) -> bytes | None:
        """The request's body; ``None`` when it has more bytes than ``limit``."""
        declared = self.request.header(b"content-length")
        if declared is not None and declared.isdecimal() and int(declared) > limit:
            return None
        body = bytearray()
        while True:
            message = await self._receive()
            body += message.get("body", b"")
            if len(body) > limit:
                return None
            if not message.get("more_body"):
                return bytes(body)

    async def gone(self) -> None:
        """Wait until the client has given the request up."""
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
                    *self.engine.origins.headers(self.request),
                    *headers,
                ],
            }
        )
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, refusal: Refusal) -> None:
        """Send a standard refusal."""
        errors.count(refusal, self.engine)
        await self.respond(refusal.status, b"application/json", refusal.body)

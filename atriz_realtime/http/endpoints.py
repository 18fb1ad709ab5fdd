"""The endpoints of plugins: how each is answered, with and without ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from atriz_realtime.api.errors import (
    InvalidRequest,
    NotAuthenticated,
    PayloadTooLarge,
    RealtimeError,
    RequestTimeout,
)
from atriz_realtime.api.http import Headers, HttpAnswer, HttpCall
from atriz_realtime.api.records import Endpoint
from atriz_realtime.api.wire import encode_json
from atriz_realtime.core.runtime.incidents import Incidents


class Endpoints:
    """The endpoints of a server, and their answers.

    :param ready: awaited before the first request; starts the server if the host runs no lifespan.
    :param is_closing: whether connections are to close after their next answer.
    :param max_body: bytes that the body of a request may have.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        ready: Callable[[], Awaitable[None]],
        is_closing: Callable[[], bool],
        max_body: int,
        incidents: Incidents,
    ) -> None:
        self.by_route = {(each.method, each.path): each for each in endpoints}
        """The endpoints by method and path."""
        self.cached_heads = 0
        """Bytes of the request heads that connections have cached."""
        self.max_body = max_body
        self.is_closing = is_closing
        self._ready: Callable[[], Awaitable[None]] | None = ready
        self._incidents = incidents
        self.report = incidents.report
        """Reports an incident: see :meth:`.Incidents.report`."""

    def statistics(self) -> dict[str, float]:
        """The bytes of ``cached_heads``."""
        return {"cached_heads": self.cached_heads}

    async def answer(self, endpoint: Endpoint, call: HttpCall) -> HttpAnswer:
        """Answer a request; never raises."""
        try:
            if self._ready is not None:
                await self._ready()
                self._ready = None
            answer: object = await endpoint.handle(call)
            if not isinstance(answer, HttpAnswer):
                raise TypeError(f"{type(answer).__name__} is not an HttpAnswer")
            return answer
        except RealtimeError as error:
            return self._refused(f"{endpoint.method} {endpoint.path}", error)
        except (Exception, SystemExit) as error:
            return error_answer(self._incidents.failed("endpoint failed", endpoint.path, error))

    def too_large(self) -> HttpAnswer:
        """Return the answer to a body over the limit."""
        error = PayloadTooLarge(f"the body is larger than {self.max_body} bytes")
        return self._refused("a request", error)

    def malformed(self) -> HttpAnswer:
        """Return the answer to bytes that are not HTTP."""
        return self._refused("a request", InvalidRequest("the request is not well-formed HTTP"))

    def too_slow(self) -> HttpAnswer:
        """Return the answer to a request that did not come in time."""
        return self._refused("a request", RequestTimeout())

    def _refused(self, what: str, error: RealtimeError) -> HttpAnswer:
        self._incidents.refused(what, error)
        return error_answer(error)


def error_answer(error: RealtimeError) -> HttpAnswer:
    """Make the answer for an error."""
    return HttpAnswer(encode_json(error.to_wire()), error.status, error.http_headers)


HEADERS = [(b"content-type", b"application/json")]
"""The headers of every response, besides the content length."""

HEADERS_OF = {NotAuthenticated.status: [*HEADERS, (b"www-authenticate", b"Bearer")]}
"""The same by status, where there are more."""


def headers_of(answer: HttpAnswer) -> list[tuple[bytes, bytes]]:
    """All headers of an answer."""
    return [
        *HEADERS_OF.get(answer.status, HEADERS),
        *answer.headers,
        (b"content-length", b"%d" % len(answer.body)),
    ]


async def send_answer(answer: HttpAnswer, send: Send) -> None:
    """Send an answer over ASGI."""
    head = {"status": answer.status, "headers": headers_of(answer)}
    await send({"type": "http.response.start", **head})
    await send({"type": "http.response.body", "body": answer.body})


def path_of(scope: Scope) -> str:
    """The path of a request, below where the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class EndpointRoute(BaseRoute):
    """An endpoint as a route of a Starlette application."""

    def __init__(self, endpoint: Endpoint, endpoints: Endpoints) -> None:
        self.path = endpoint.path
        self.methods = {endpoint.method}
        self._endpoint = endpoint
        self._endpoints = endpoints

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the endpoint's path and method; partially, if only the method differs."""
        if scope["type"] != "http" or path_of(scope) != self.path:
            return Match.NONE, {}
        return (Match.FULL if scope["method"] in self.methods else Match.PARTIAL), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        answer = await self._answer(scope, receive)
        if answer is not None:
            await send_answer(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> HttpAnswer | None:
        """Read the body and answer; ``None`` when the client disconnects before its end."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._endpoints.max_body:
                return self._endpoints.too_large()
            if not message.get("more_body"):
                break
        client = scope.get("client")
        call = HttpCall(Headers(scope["headers"]), bytes(body), client[0] if client else None)
        return await self._endpoints.answer(self._endpoint, call)

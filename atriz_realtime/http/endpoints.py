"""The endpoints of plugins: how each is answered, with and without ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import attrs
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
from atriz_realtime.core.runtime import cancellation
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.engine.request.header_fields import MAX_LINES
from atriz_realtime.http.bodies import MAX_HANDLED_LARGE, Bodies
from atriz_realtime.http.unread_answers import UnreadAnswers

OwnerOfPath = Callable[[str], str | None]
"""Returns the plugin that registered a path."""


def no_plugin(_: str) -> None:
    """No plugin has registered the path."""


def of_plugin(plugin: str | None) -> str:
    """How the log names the plugin of a path, after the path."""
    return "" if plugin is None else f" of plugin {plugin!r}"


class Endpoints:
    """The endpoints of a server, and their answers.

    :param ready: awaited before the first request; starts the server if the host runs no lifespan.
    :param is_leaving: whether connections are to close after their next answer.
    :param max_body: bytes that the body of a request may have.
    :param owner_of_path: returns the plugin that registered a path, for the log.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        ready: Callable[[], Awaitable[None]],
        is_leaving: Callable[[], bool],
        max_body: int,
        incidents: Incidents,
        owner_of_path: OwnerOfPath = no_plugin,
    ) -> None:
        self.by_route = {(each.method, each.path): each for each in endpoints}
        """The endpoints by method and path."""
        self.cached_heads = 0
        """Bytes of the request heads that connections have cached."""
        self.max_body = max_body
        self.is_leaving = is_leaving
        self._ready: Callable[[], Awaitable[None]] | None = ready
        self._incidents = incidents
        self._owner_of_path = owner_of_path
        self.bodies = Bodies(max_body, incidents.report)
        """Bounds what the bodies of requests take."""
        self.unread = UnreadAnswers(incidents.report)
        """Bounds what answers take, and how long, that clients do not read."""

    def statistics(self) -> dict[str, float]:
        """Bytes that requests and answers take."""
        return {
            "cached_heads": self.cached_heads,
            "arriving": self.bodies.arriving,
            "handled": self.bodies.handled,
            "unread": self.unread.waiting(),
        }

    def admitted(self, endpoint: Endpoint, call: HttpCall) -> tuple[Endpoint, HttpCall]:
        """Count the body of a request; if it has no room, make it one that is refused."""
        size = len(call.body)
        self.bodies.handled += size
        if self.bodies.handled <= MAX_HANDLED_LARGE:
            return endpoint, call
        error = self.bodies.refusal(size)
        if error is None:
            return endpoint, call
        self.bodies.handled -= size

        async def refuse(_: HttpCall) -> HttpAnswer:
            raise error

        bare = HttpCall(call.headers, b"", call.address, call.offered)
        return attrs.evolve(endpoint, handle=refuse), bare

    async def answer(self, endpoint: Endpoint, call: HttpCall) -> HttpAnswer:
        """Answer a request; raises only when its own task is cancelled."""
        try:
            if self._ready is not None:
                await self._ready()
                self._ready = None
            answer: object = await endpoint.handle(call)
            if not isinstance(answer, HttpAnswer):
                raise TypeError(f"{type(answer).__name__} is not an HttpAnswer")
            return answer
        except RealtimeError as error:
            return self._refused(f"{endpoint.method} {endpoint.path}", error, call.address)
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if cancellation.is_own(error):
                raise
            what = endpoint.path + of_plugin(self._owner_of_path(endpoint.path))
            failure = self._incidents.failed("endpoint failed", what, error, cause=endpoint.path)
            return error_answer(failure)

    def too_large(self, address: str | None) -> HttpAnswer:
        """Return the answer to a body over the limit."""
        return self.refused(too_large(self.max_body), address)

    def malformed(self, address: str | None) -> HttpAnswer:
        """Return the answer to bytes that are not HTTP."""
        return self.refused(InvalidRequest("the request is not well-formed HTTP"), address)

    def too_many_headers(self, address: str | None) -> HttpAnswer:
        """Return the answer to a request with more headers than are read."""
        return self.refused(_TooManyHeaders(), address)

    def too_slow(self, address: str | None) -> HttpAnswer:
        """Return the answer to a request that did not come in time."""
        return self.refused(RequestTimeout(), address)

    def refused(self, error: RealtimeError, address: str | None) -> HttpAnswer:
        """Return the answer to a request that is refused before it is whole.

        :param address: the client's, where it is known.
        """
        return self._refused("a request", error, address)

    def _refused(self, what: str, error: RealtimeError, address: str | None) -> HttpAnswer:
        self._incidents.refused(what, error, address)
        return error_answer(error)


class _TooManyHeaders(InvalidRequest):
    """A request with more than ``MAX_LINES`` headers."""

    status = 431
    default_message = f"the request has more than {MAX_LINES} headers"


def too_large(max_body: int) -> PayloadTooLarge:
    """Return the error for a body over the limit."""
    return PayloadTooLarge(f"the body is larger than {max_body} bytes")


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


def address_of(scope: Scope) -> str | None:
    """The address of the client of a request."""
    client = scope.get("client")
    return client[0] if client else None


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
        address = address_of(scope)
        try:
            body = await _Reading(self._endpoints.bodies).read(receive, self._endpoints.max_body)
        except RealtimeError as error:
            return self._endpoints.refused(error, address)
        if body is None:
            return None
        call = HttpCall(Headers(scope["headers"]), body, address)
        endpoint, call = self._endpoints.admitted(self._endpoint, call)
        try:
            return await self._endpoints.answer(endpoint, call)
        finally:
            self._endpoints.bodies.handled -= len(call.body)


class _Reading:
    """Reads a body over ASGI."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._limit = asyncio.timeout(None)
        self._refusal: RealtimeError | None = None

    async def read(self, receive: Receive, max_body: int) -> bytes | None:
        """Return the whole body; ``None`` when the client disconnects before its end.

        :raises RealtimeError: when it is refused.
        """
        body = bytearray()
        try:
            async with self._limit:
                while self._refusal is None:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > max_body:
                        raise too_large(max_body)
                    if not message.get("more_body"):
                        return bytes(body)
                    self._bodies.arrived(self, len(body))
        except TimeoutError:
            if self._refusal is None:
                raise
        finally:
            self._bodies.end(self)
        raise self._refusal

    def refuse(self, error: RealtimeError) -> None:
        """Read no further."""
        self._refusal = error
        self._limit.reschedule(0.0)

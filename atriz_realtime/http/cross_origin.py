"""CORS for the server's HTTP paths: https://fetch.spec.whatwg.org/#http-cors-protocol."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.engine.request import errors
from atriz_realtime.http.endpoints import address_of

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""The methods that pages of a listed origin may use; a route answers 405 to those it has not."""

MAX_NAMED = 100
"""Characters of a client's header in the log."""


class CrossOrigin(CORSMiddleware):
    """Lets pages of the listed origins call an application, and reports refused preflights."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], incidents: Incidents) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=["*"],  # an authenticator may read any
            max_age=600,
        )
        self._incidents = incidents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or pass the request on."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            self._report(Headers(scope=scope), address_of(scope))
        await super().__call__(scope, receive, send)

    def _report(self, headers: Headers, address: str | None) -> None:
        """Report a preflight that is about to be refused."""
        origin, method = headers.get("origin"), headers.get("access-control-request-method")
        if origin is None or method is None:
            return
        line = f"{origin[:MAX_NAMED]!r}"
        if not self.is_allowed_origin(origin):
            self._incidents.report("origin refused", line + errors.by(address))
        elif method not in METHODS:
            line += f": no page may use the method {method[:MAX_NAMED]!r}"
            self._incidents.report("preflight refused", line + errors.by(address))

"""Requests that are no Engine.IO: the standard answers.

The numbers are those of the reference implementation, which clients know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import orjson

if TYPE_CHECKING:
    from atriz_realtime.engine.server import EngineServer


@attrs.frozen
class Refusal:
    """Why a request is refused."""

    status: int
    """Of the HTTP response."""
    code: int
    """Engine.IO's number for it."""
    message: str

    @property
    def body(self) -> bytes:
        """The response's JSON."""
        return orjson.dumps({"code": self.code, "message": self.message})


UNKNOWN_TRANSPORT = Refusal(400, 0, "Transport unknown")
UNKNOWN_SESSION = Refusal(400, 1, "Session ID unknown")
BAD_METHOD = Refusal(400, 2, "Bad handshake method")
BAD_REQUEST = Refusal(400, 3, "Bad request")
FORBIDDEN = Refusal(403, 4, "Forbidden")
BAD_VERSION = Refusal(400, 5, "Unsupported protocol version")
TOO_LARGE = Refusal(413, 3, "Payload too large")
UNAVAILABLE = Refusal(503, 3, "Try again later")


def count(refusal: Refusal, engine: EngineServer) -> None:
    """Report a refusal; an origin and a server that is busy are reported with their reasons."""
    if refusal not in (FORBIDDEN, UNAVAILABLE):
        engine.report("request refused", refusal.message)

"""The standard refusals of Engine.IO.

The numbers are those of the reference implementation, which clients know.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import orjson

Report = Callable[[str, str], None]
"""Takes what a client did wrong: the kind of incident, and one line without secrets."""


def by(address: str | None) -> str:
    """The end of a line about a refusal: which client it was, where that is known."""
    return f"; client {address}" if address else ""


@attrs.frozen
class Refusal:
    """An answer that refuses a request."""

    status: int
    """The status of the HTTP response."""
    code: int
    """Engine.IO's number for it."""
    message: str
    is_incident: bool = True
    """Whether the refusal is reported; false where its cause is reported by itself."""

    @property
    def body(self) -> bytes:
        """The response's JSON; as from Node's server, nothing for a payload that is too large."""
        if self.status == 413:
            return b""
        return orjson.dumps({"code": self.code, "message": self.message})


UNKNOWN_TRANSPORT = Refusal(400, 0, "Transport unknown")
UNKNOWN_SESSION = Refusal(400, 1, "Session ID unknown")
BAD_METHOD = Refusal(400, 2, "Bad handshake method")
BAD_REQUEST = Refusal(400, 3, "Bad request")
TOO_MANY_HEADERS = Refusal(431, 3, "Too many headers")
FORBIDDEN = Refusal(403, 4, "Forbidden", is_incident=False)
BAD_VERSION = Refusal(400, 5, "Unsupported protocol version")
TOO_LARGE = Refusal(413, 3, "Payload too large")
UNAVAILABLE = Refusal(503, 3, "Try again later", is_incident=False)

"""How long a client may take to send a request."""

from __future__ import annotations

from typing import Protocol

from atriz_realtime.engine.deadlines import Deadlines

REQUEST_TIMEOUT = 5.0
"""Seconds that a client has for the head of a request, and on a new connection for its first
request, even where the keep-alive timeout is shorter."""

MIN_BODY_RATE = 500
"""Bytes of a body that must come per second, measured over the timeout of a head; as Apache's
``mod_reqtimeout`` demands by default."""


class Incoming(Protocol):
    """A connection on which a request is being read.

    Its deadline begins with the first byte of a head, ends with the head, and begins again for
    each part of a body.  It has none while the server itself reads nothing.
    """

    def request_overdue(self) -> None:
        """Refuse the request, unless its body comes fast enough."""


def request_deadlines() -> Deadlines[Incoming]:
    """Return the deadlines of all connections of a server."""
    return Deadlines(REQUEST_TIMEOUT, lambda incoming, _: incoming.request_overdue())


def is_fast_enough(received: int) -> bool:
    """Return whether a body goes on fast enough.

    :param received: bytes of it that have come since its deadline began.
    """
    return received >= MIN_BODY_RATE * REQUEST_TIMEOUT

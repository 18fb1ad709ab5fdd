"""How much memory the bodies of requests may take, all together, and for how long."""

from __future__ import annotations

from typing import Protocol

from atriz_realtime.api.contracts import Report, limit_reached
from atriz_realtime.api.errors import RealtimeError, RequestTimeout, Unavailable
from atriz_realtime.engine.deadlines import Deadlines

MAX_ARRIVING = 67_108_864
"""Bytes of the bodies that have not come whole, together; beyond, the one that began first is
refused."""

BODY_TIMEOUT = 60.0
"""Seconds in which a whole body must come, without those in which the server reads nothing."""

MAX_HANDLED = 16_777_216
"""Bytes of the bodies that wait for their answers, together; beyond, a further one is refused.
Read as JSON, a body takes up to 40 times its bytes."""

MAX_HANDLED_LARGE = 8_388_608
"""Bytes of the same from which a body of more than ``SMALL_BODY`` is refused: so batches leave
room for single fixes.  Both bounds grow with ``max_body``, to make room for two of the largest
bodies, and for as much of small ones."""

SMALL_BODY = 8_192
"""Bytes of a body that is refused only at ``MAX_HANDLED``: a fix with the largest metadata."""

RETRY_AFTER = 1
"""Seconds after which a client that was refused should send its request again."""

FULL = "the bodies of requests take as much memory as they may: one is refused"


class Receiver(Protocol):
    """Something that reads the body of a request."""

    def refuse(self, error: RealtimeError) -> None:
        """Drop the body, and answer with the error."""


class Bodies:
    """The bodies that a server holds.

    A body that comes in one read is not seen while it arrives.

    :param max_body: bytes that one body may have; one alone always has room.
    :param report: counts that a bound was reached.
    """

    def __init__(self, max_body: int, report: Report) -> None:
        self.arriving = 0
        """Bytes of the bodies that have not come whole."""
        self.handled = 0
        """Bytes of the bodies that wait for their answers."""
        self._most_arriving = max(MAX_ARRIVING, max_body)
        self._most_large = max(MAX_HANDLED_LARGE, 2 * max_body)
        self._most_handled = max(MAX_HANDLED, 2 * self._most_large)
        self._report = report
        self._sizes: dict[Receiver, int] = {}  # in the order in which they began
        self._deadlines: Deadlines[Receiver] = Deadlines(BODY_TIMEOUT, self._overdue)

    def arrived(self, receiver: Receiver, size: int) -> None:
        """Count what has come of a body so far, which is not all of it."""
        self.arriving += size - self._sizes.get(receiver, 0)
        self._sizes[receiver] = size
        self._deadlines.begin(receiver)
        while self.arriving > self._most_arriving:
            first = next(iter(self._sizes))
            self.end(first)
            limit_reached(self._report, f"{__name__}.MAX_ARRIVING", FULL)
            first.refuse(no_room())

    def end(self, receiver: Receiver) -> None:
        """Count a body as arriving no more: it is whole, or was given up."""
        if receiver in self._sizes:
            self.arriving -= self._sizes.pop(receiver)
            self._deadlines.end(receiver)

    def pause(self, receiver: Receiver) -> None:
        """End the deadline of a body that arrives, if one does: the server reads nothing."""
        self._deadlines.end(receiver)

    def resume(self, receiver: Receiver) -> None:
        """Begin the whole deadline anew."""
        if receiver in self._sizes:
            self._deadlines.begin(receiver)

    def refusal(self, size: int) -> RealtimeError | None:
        """Why a body that ``handled`` counts already has no room; ``None`` if it has."""
        if self.handled == size:  # it is alone
            return None
        if self.handled > self._most_handled:
            limit_reached(self._report, f"{__name__}.MAX_HANDLED", FULL)
        elif size > SMALL_BODY and self.handled > self._most_large:
            limit_reached(self._report, f"{__name__}.MAX_HANDLED_LARGE", FULL)
        else:
            return None
        return no_room()

    def _overdue(self, receiver: Receiver, _: float) -> None:
        self.end(receiver)
        receiver.refuse(RequestTimeout())


def no_room() -> Unavailable:
    """The error for a body that is refused because of those of others."""
    return Unavailable("Too many requests at once", retry_after=RETRY_AFTER)

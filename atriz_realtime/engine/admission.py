"""Decides which requests may open or use a session, and when."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from atriz_realtime.engine.loop_bound import LoopBound
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.origins import Origins
from atriz_realtime.engine.request.request import MAX_HEAD, Request
from atriz_realtime.engine.session import Session
from atriz_realtime.engine.sessions import Sessions

PROTOCOL_VERSION = "4"

TRANSPORTS = ("polling", "websocket")

ADMITTED_PER_TURN = 8
"""Handshakes in one turn of the event loop at most.  What these clients send next falls into a few
later turns, each with that of the handshakes before."""

LONG_TURN = 0.004
"""Seconds; after a turn that took longer, the next one admits half as many handshakes, down to
``MIN_ADMITTED`` a second, and after a shorter one, one more."""

MIN_ADMITTED = 400
"""Handshakes a second that are admitted at least, up to ``MAX_STRETCHED`` in one turn: other work
that makes turns long must not keep clients out.  They take about a third of a slow core."""

MAX_STRETCHED = 32
"""Handshakes in one turn of the event loop, however long turns are."""

MAX_WAITING = 20_000
"""Handshakes that may wait for their turn; further ones are refused with 503."""

MAX_ORIGIN = 100
"""Characters of a refused origin that are reported."""


class Admission(LoopBound):
    """Checks requests, and admits a few handshakes in each turn of the loop, in order.

    When the clients of a server that went away all reconnect at once, a turn of the loop would
    otherwise last as long as all their handshakes together, and connected clients would wait.  How
    many are a few depends on the machine, so turns are timed.

    :param ready: called before each handshake; returns what it has to wait for, or ``None``.
    """

    def __init__(
        self, sessions: Sessions, origins: Origins, ready: Callable[[], Awaitable[None] | None]
    ) -> None:
        self.ready = ready
        self._sessions = sessions
        self._origins = origins
        self._waiting: deque[Callable[[], bool]] = deque()
        self._allowed = self._left = ADMITTED_PER_TURN
        self._turn: asyncio.Handle | None = None
        self._began = 0.0

    def check(
        self, request: Request, query: Mapping[str, str], transport: str
    ) -> tuple[Refusal | None, Session | None]:
        """Why a request is refused, or the session that it is for.

        Neither is given for a request that opens a session, nor for a CORS preflight.

        :param query: the parameters of the request.
        :param transport: the transport that the request uses.
        """
        if request.size > MAX_HEAD:
            return errors.BAD_REQUEST, None
        if request.fields.are_too_many:
            return errors.TOO_MANY_HEADERS, None
        if not self._origins.allow(request):
            origin = (request.header(b"origin") or "")[:MAX_ORIGIN]
            self._sessions.report("origin refused", f"{origin!r}{errors.by(request.address)}")
            return errors.FORBIDDEN, None
        method = request.method
        if method == "OPTIONS":
            return None, None
        if query.get("EIO") != PROTOCOL_VERSION:
            return errors.BAD_VERSION, None
        named = query.get("transport")
        if named not in TRANSPORTS:
            return errors.UNKNOWN_TRANSPORT, None
        sid = query.get("sid")
        if sid is None:
            if method != "GET":
                return errors.BAD_METHOD, None
            if self._sessions.is_closing:
                return errors.UNAVAILABLE, None
            return (None if named == transport else errors.BAD_REQUEST), None
        session = self._sessions.find(sid)
        if session is None:
            return errors.UNKNOWN_SESSION, None
        if named != transport:
            return errors.BAD_REQUEST, None
        return None, session

    def refused(self, refusal: Refusal, request: Request | None) -> None:
        """Report that a request is refused.

        :param request: ``None`` if it could not be read.
        """
        if refusal.is_incident:
            client = errors.by(None if request is None else request.address)
            self._sessions.report("request refused", f"{refusal.message}{client}")

    def enqueue(self, admit: Callable[[], bool]) -> bool:
        """Call ``admit`` when it is a handshake's turn; returns False when too many wait.

        :param admit: returns False when its client has gone, and nothing was done.
        """
        if self._turn is None:
            self._began = time.perf_counter()
            self._turn = self.loop.call_soon(self._next_turn)
        if self._left:
            self._left -= admit()
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(admit)
        else:
            self._sessions.report("admission refused", "too many clients connect at once")
            return False
        return True

    def _next_turn(self) -> None:
        self._turn = None
        now = time.perf_counter()
        took, self._began = now - self._began, now
        if took > LONG_TURN:
            least = min(math.ceil(took * MIN_ADMITTED), MAX_STRETCHED)
            self._allowed = max(self._allowed // 2, least)
        else:
            self._allowed = min(self._allowed + 1, ADMITTED_PER_TURN)
        self._left = self._allowed
        if self._waiting:
            self._turn = self.loop.call_soon(self._next_turn)
        while self._left and self._waiting:
            self._left -= self._waiting.popleft()()

    async def turn(self, has_left: Callable[[], bool]) -> bool:
        """Wait for a handshake's turn; returns False when too many wait.

        :param has_left: tells whether its client has gone; its turn is then another's.
        """
        starting = self.ready()
        if starting is not None:
            await starting
        admitted = asyncio.get_running_loop().create_future()

        def admit() -> bool:
            if admitted.done():  # its task was cancelled
                return False
            admitted.set_result(None)
            return not has_left()

        if not self.enqueue(admit):
            return False
        await admitted
        return True

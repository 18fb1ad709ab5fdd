"""HTTP long polling: the client posts its packets, and keeps a request open to receive."""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Awaitable, Iterator, Sequence

from atriz_realtime.engine.admission import Admission
from atriz_realtime.engine.loop_bound import LoopBound
from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import InvalidPacket, Packet
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.exchange import Exchange, Headers
from atriz_realtime.engine.request.origins import Origins
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Reason, Session, Transport
from atriz_realtime.engine.sessions import Sessions

UPGRADE_GRACE = 0.05
"""Seconds that a poll waits during an upgrade before it is answered with a noop, which lets the
client go on; and that a poll waits after the upgrade before it is refused."""

COMPRESS_FROM = 1_024
"""Bytes from which a response is compressed for clients that accept gzip."""

COMPRESS_UP_TO = 131_072
"""Bytes up to which it is compressed: the event loop waits for that, a millisecond at most."""

_GZIP = re.compile(
    r"(?:^|,)\s*gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[^,]*)?(?:,|$)", re.IGNORECASE
)
"""Finds gzip in the encodings that a client accepts, unless its weight is 0 (RFC 9110, 12.5.3)."""

TEXT = b"text/plain; charset=UTF-8"

ANY_PAGE = [(b"access-control-allow-origin", b"*")]
"""Lets every page read a response, though not with the cookies of the user."""

Received = tuple[str, str | bytes]
"""A packet from a client: its type and its data."""


class Polling(Transport):
    """The transport of a session that polls.

    Each poll is answered with the next packets that are written.  Reading need not be paused:
    the rest of a post waits for the session.

    :param requests: answers the session's requests.
    :param request: the request that opens the session.
    """

    __slots__ = ("_answered", "_requests", "handling", "poll", "posting", "session")

    name = "polling"

    def __init__(self, requests: PollingRequests, request: Request) -> None:
        self._requests = requests
        self.poll: Exchange | None = None
        """The poll that waits for packets."""
        self._answered: Exchange | None = None  # the poll before it
        self.posting = False
        """Whether the client has begun a post that is not answered."""
        self.handling = False
        """Whether that post has come whole."""
        self.session = requests.sessions.create(request, self)
        self.session.hold()

    @property
    def is_behind(self) -> bool:
        """Whether a post has come whole and is not answered."""
        return self.handling

    def write(self, content: list[Packet]) -> None:
        """Answer the poll."""
        poll, self.poll = self.poll, None
        self.session.hold()
        if poll is None:  # it was answered or given up in this turn of the loop
            for packet in content:
                self.session.put(packet)
            return
        self._answered = poll
        self._requests.send(poll, content)
        if not self.session.is_open:
            self._requests.sessions.forget(self.session)

    def close(self) -> None:
        """Answer the poll with a noop; without a poll, packets wait for the next one."""
        if self.poll is not None:
            self.write([packets.NOOP_PACKET])

    abort = close

    def leave(self) -> None:
        """Refuse the poll: a websocket replaces this transport."""
        poll, self.poll = self.poll, None
        if poll is not None:
            poll.abandoned = None
            self._requests.refuse_later(poll)

    def begin(self, poll: Exchange) -> bool:
        """Answer a poll from now on; returns False during another, or while its answer is unread.

        Answers on many connections would otherwise go round the bound of what waits for a client.
        """
        if self.poll is not None or (self._answered is not None and self._answered.is_unread()):
            return False
        self._answered = None
        self.poll = poll
        poll.abandoned = self.abandon
        return True

    def abandon(self) -> None:
        """End the session: its client has closed the poll."""
        self.poll = None
        self._requests.sessions.end(self.session, Reason.TRANSPORT_CLOSE, farewell=None)


class PollingRequests(LoopBound):
    """Answers the requests of sessions that poll.

    :param origins: decides which pages may read the responses.
    :param max_packets: packets that one request may have.
    """

    def __init__(
        self, sessions: Sessions, admission: Admission, origins: Origins, max_packets: int
    ) -> None:
        self.sessions = sessions
        self._admission = admission
        self._origins = origins
        self._max_packets = max_packets

    def answer(self, exchange: Exchange) -> None:
        """Answer a request, now or later."""
        request = exchange.request
        refusal, session = self._admission.check(request, exchange.query, Polling.name)
        method = request.method
        if refusal is not None:
            self._refuse(exchange, refusal)
        elif method == "OPTIONS":
            self._respond(exchange, 200, TEXT, b"", self._origins.preflight(request))
        elif session is None:
            self._open(exchange)
        elif method == "GET":
            self._poll(session, exchange)
        elif method == "POST":
            self._post(session, exchange)
        else:
            self._refuse(exchange, errors.BAD_REQUEST)

    # -- new sessions ----------------------------------------------------------------------

    def _open(self, exchange: Exchange) -> None:
        """Open a new session when it is its turn, and respond with its first packet."""
        starting = self._admission.ready()
        exchange.abandoned = exchange.give_up
        if starting is not None:
            self.sessions.start_task(self._open_later, starting, exchange)
        elif not self._admission.enqueue(functools.partial(self._admitted, exchange)):
            self._refuse(exchange, errors.UNAVAILABLE)

    async def _open_later(self, starting: Awaitable[None], exchange: Exchange) -> None:
        try:
            await starting
        except BaseException:
            self._refuse(exchange, errors.UNAVAILABLE)
            raise
        self._open(exchange)

    def _admitted(self, exchange: Exchange) -> bool:
        exchange.abandoned = None
        if exchange.is_given_up:
            return False
        session = Polling(self, exchange.request).session
        opened = self.sessions.open(session)
        if isinstance(opened, bool):
            self._opened(exchange, session, opened)
        else:
            self.sessions.start_task(self._opened_later, exchange, session, opened)
        return True

    async def _opened_later(
        self, exchange: Exchange, session: Session, opening: Awaitable[bool]
    ) -> None:
        self._opened(exchange, session, await opening)

    def _opened(self, exchange: Exchange, session: Session, opened: bool) -> None:
        if opened:
            first = self.sessions.open_packet(session, upgrades='"websocket"')
            self.send(exchange, [first])
        else:
            self._refuse(exchange, errors.BAD_REQUEST)

    # -- polls -----------------------------------------------------------------------------

    def _poll(self, session: Session, poll: Exchange) -> None:
        """Respond with the session's packets as soon as there are some.

        A second poll closes the session while the first, or its answer, is under way.
        """
        transport = session.transport
        if not isinstance(transport, Polling):
            self._refuse(poll, errors.BAD_REQUEST)
            return
        if not transport.begin(poll):
            self.sessions.end(session, Reason.TRANSPORT_ERROR)
            self._refuse(poll, errors.BAD_REQUEST)
            return
        session.release()
        session.flush()  # packets that waited need not wait for the end of the turn
        if transport.poll is poll and session.upgrading is not None:
            self.loop.call_later(UPGRADE_GRACE, self._end_poll, transport, poll)

    def _end_poll(self, transport: Polling, poll: Exchange) -> None:
        if transport.poll is poll:
            transport.abort()

    # -- posts -----------------------------------------------------------------------------

    def _post(self, session: Session, exchange: Exchange) -> None:
        """Handle the packets that a client posts; a post during another closes the session."""
        transport = session.transport
        if not session.is_open or not isinstance(transport, Polling):
            self._refuse(exchange, errors.BAD_REQUEST)
        elif transport.posting:
            self.sessions.end(session, Reason.TRANSPORT_ERROR, farewell=None)
            self._refuse(exchange, errors.BAD_REQUEST)
        else:
            transport.posting = True
            exchange.abandoned = functools.partial(self._cut_off, transport, exchange)
            received = functools.partial(self._received, transport, exchange)
            exchange.read(self.sessions.max_payload, received)

    def _cut_off(self, transport: Polling, exchange: Exchange) -> None:
        exchange.abandoned = None
        self.sessions.end(transport.session, Reason.TRANSPORT_CLOSE, farewell=None)
        self._posted(transport, exchange, errors.BAD_REQUEST)

    def _received(self, transport: Polling, exchange: Exchange, body: bytes | None) -> None:
        exchange.abandoned = None
        transport.handling = True
        self.sessions.turns.call(functools.partial(self._take, transport, exchange, body))

    def _take(self, transport: Polling, exchange: Exchange, body: bytes | None) -> None:
        """Handle a post, or refuse it."""
        if body is None:
            self.sessions.end(transport.session, Reason.TRANSPORT_ERROR, farewell=None)
            self._posted(transport, exchange, errors.TOO_LARGE)
        elif not transport.session.is_open:
            self._posted(transport, exchange, errors.BAD_REQUEST)
        else:
            self._handle(transport, exchange, self._packets(body))

    def _packets(self, body: bytes) -> Iterator[Received]:
        yield from packets.parse_payload(body, self._max_packets)

    def _handle(self, transport: Polling, exchange: Exchange, received: Iterator[Received]) -> None:
        """Handle packets; those that have to wait take turns with the posts of others."""
        session = transport.session
        try:
            for kind, data in received:
                self.sessions.receive(session, kind, data)
                if session.is_busy:
                    self.sessions.start_task(self._handle_later, transport, exchange, received)
                    return
                if self.sessions.turns.is_over:
                    self.sessions.turns.call(
                        functools.partial(self._handle, transport, exchange, received)
                    )
                    return
        except InvalidPacket as error:
            self.sessions.protocol_broken(session, error)
            self._posted(transport, exchange, errors.BAD_REQUEST)
        else:
            self._posted(transport, exchange)

    async def _handle_later(
        self, transport: Polling, exchange: Exchange, received: Iterator[Received]
    ) -> None:
        await transport.session.until_idle()
        self.sessions.turns.call(functools.partial(self._handle, transport, exchange, received))

    def _posted(
        self, transport: Polling, exchange: Exchange, refusal: Refusal | None = None
    ) -> None:
        transport.posting = transport.handling = False
        if refusal is not None:
            self._refuse(exchange, refusal)
        else:
            self._respond(exchange, 200, b"text/html", b"ok")

    # -- responses -------------------------------------------------------------------------

    def send(self, exchange: Exchange, content: Sequence[Packet]) -> None:
        """Respond with packets."""
        body = packets.SEPARATOR.join([packet.text for packet in content]).encode()
        if COMPRESS_FROM <= len(body) <= COMPRESS_UP_TO:
            accepted = exchange.request.header(b"accept-encoding")
            if accepted and _GZIP.search(accepted):
                self.sessions.turns.call(functools.partial(self._send_compressed, exchange, body))
                return
        self._respond(exchange, 200, TEXT, body)

    def _send_compressed(self, exchange: Exchange, body: bytes) -> None:
        compressed = gzip.compress(body, compresslevel=1)
        self._respond(exchange, 200, TEXT, compressed, [(b"content-encoding", b"gzip")])

    def refuse_later(self, poll: Exchange) -> None:
        """Refuse a poll whose session has upgraded; packets on the websocket arrive first."""
        self.loop.call_later(UPGRADE_GRACE, self._refuse, poll, errors.BAD_REQUEST)

    def _refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        self._admission.refused(refusal, exchange.request)
        # a page of a refused origin may read that it is refused: its client then stops asking
        headers = ANY_PAGE if refusal is errors.FORBIDDEN else ()
        self._respond(exchange, refusal.status, b"application/json", refusal.body, headers)

    def _respond(
        self,
        exchange: Exchange,
        status: int,
        content_type: bytes,
        body: bytes,
        headers: Headers = (),
    ) -> None:
        allowed = self._origins.headers(exchange.request)
        exchange.respond(status, content_type, body, [*allowed, *headers])

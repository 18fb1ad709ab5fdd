"""HTTP long polling: the client posts its packets, and keeps a request open to receive."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence

from atriz_realtime.engine.admission import Admission
from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import InvalidPacket, Packet
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.exchange import HttpExchange
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Reason, Session, Transport
from atriz_realtime.engine.sessions import Sessions
from atriz_realtime.engine.turns import Turn

UPGRADE_GRACE = 0.05
"""Seconds that a poll waits during an upgrade before it is answered with a noop, which lets the
client go on; and that a poll waits after the upgrade before it is refused."""

COMPRESS_FROM = 1_024
"""Bytes from which a response is compressed for clients that accept gzip."""


class Polling(Transport):
    """The transport of a session that polls.

    Each poll is answered with the next packets that are written.  Reading need not be paused:
    :meth:`PollingRequests.post` waits for the session.
    """

    name = "polling"

    def __init__(self, sessions: Sessions, request: Request) -> None:
        self.poll: asyncio.Future[list[Packet] | None] | None = None
        """The poll that waits for packets; ``None`` as its result means that it is refused."""
        self.posting = False
        """Whether a post of the client is being handled."""
        self.session = sessions.create(request, self)
        self.session.hold()

    def write(self, content: list[Packet]) -> None:
        """Answer the poll."""
        poll, self.poll = self.poll, None
        self.session.hold()
        if poll is not None and not poll.done():
            poll.set_result(content)
        else:  # the client closed the poll in this turn of the loop
            for packet in content:
                self.session.put(packet)

    def close(self) -> None:
        """Answer the poll with a noop; without a poll, packets wait for the next one."""
        if self.poll is not None:
            self.write([packets.NOOP_PACKET])

    abort = close

    def leave(self) -> None:
        """Refuse the poll: a websocket replaces this transport."""
        if self.poll is not None and not self.poll.done():
            self.poll.set_result(None)


class PollingRequests:
    """Answers the requests of sessions that poll.

    :param max_packets: packets that one request may have.
    """

    def __init__(self, sessions: Sessions, admission: Admission, max_packets: int) -> None:
        self._sessions = sessions
        self._admission = admission
        self._max_packets = max_packets

    async def open(self, exchange: HttpExchange) -> None:
        """Open a new session, and respond with its first packet."""
        if not await self._admission.turn():
            await exchange.refuse(errors.UNAVAILABLE)
            return
        session = Polling(self._sessions, exchange.request).session
        opened = self._sessions.open(session)
        if not (opened if isinstance(opened, bool) else await opened):
            await exchange.refuse(errors.BAD_REQUEST)
            return
        await _respond(exchange, [self._sessions.open_packet(session, upgrades='"websocket"')])

    async def poll(self, session: Session, exchange: HttpExchange) -> None:
        """Respond with the session's packets as soon as there are some.

        A second poll during the first closes the session.
        """
        transport = session.transport
        if not isinstance(transport, Polling):
            await exchange.refuse(errors.BAD_REQUEST)
            return
        if transport.poll is not None:
            self._sessions.end(session, Reason.TRANSPORT_ERROR)
            await exchange.refuse(errors.BAD_REQUEST)
            return
        future = transport.poll = asyncio.get_running_loop().create_future()
        session.release()
        session.flush()  # packets that waited need not wait for the end of the turn
        if not future.done():
            disconnected = asyncio.ensure_future(exchange.disconnected())
            grace = None if session.upgrading is None else UPGRADE_GRACE
            try:
                done, _ = await asyncio.wait(
                    (future, disconnected), return_when=asyncio.FIRST_COMPLETED, timeout=grace
                )
            finally:
                disconnected.cancel()
            if not done:
                transport.abort()
        if not future.done():
            transport.poll = None
            self._sessions.end(session, Reason.TRANSPORT_CLOSE, farewell=None)
            return
        content = future.result()
        if content is None:
            await asyncio.sleep(UPGRADE_GRACE)  # packets on the websocket arrive first
            await exchange.refuse(errors.BAD_REQUEST)
            return
        await _respond(exchange, content)
        if not session.is_open:
            self._sessions.forget(session)

    async def post(self, session: Session, exchange: HttpExchange) -> None:
        """Handle the packets that a client posts; a post during another closes the session."""
        refusal = await self._receive(session, exchange) if session.is_open else errors.BAD_REQUEST
        if refusal is not None:
            await exchange.refuse(refusal)
        else:
            await exchange.respond(200, b"text/html", b"ok")

    async def _receive(self, session: Session, exchange: HttpExchange) -> Refusal | None:
        """Handle the packets of a request; returns why it is refused, if it is."""
        transport = session.transport
        if not isinstance(transport, Polling):
            return errors.BAD_REQUEST
        if transport.posting:
            self._sessions.end(session, Reason.TRANSPORT_ERROR, farewell=None)
            return errors.BAD_REQUEST
        transport.posting = True
        try:
            body = await exchange.body(self._sessions.max_payload)
            if body is None:
                self._sessions.end(session, Reason.TRANSPORT_ERROR, farewell=None)
                return errors.TOO_LARGE
            if not session.is_open:
                return errors.BAD_REQUEST
            turn = Turn()
            for kind, data in packets.parse_payload(body, self._max_packets):
                self._sessions.receive(session, kind, data)
                if session.is_busy:
                    await session.until_idle()
                elif turn.is_over:
                    await turn.next()
        except ConnectionResetError:
            self._sessions.end(session, Reason.TRANSPORT_CLOSE, farewell=None)
            return errors.BAD_REQUEST
        except InvalidPacket as error:
            self._sessions.protocol_broken(session, error)
            return errors.BAD_REQUEST
        finally:
            transport.posting = False
        return None


async def _respond(exchange: HttpExchange, content: Sequence[Packet]) -> None:
    """Respond with packets."""
    body = packets.SEPARATOR.join([packet.text for packet in content]).encode()
    headers = []
    if len(body) >= COMPRESS_FROM and "gzip" in (exchange.request.header(b"accept-encoding") or ""):
        body = gzip.compress(body, compresslevel=1)
        headers = [(b"content-encoding", b"gzip")]
    await exchange.respond(200, b"text/plain; charset=UTF-8", body, headers)

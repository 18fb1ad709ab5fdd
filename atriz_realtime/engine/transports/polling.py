"""HTTP long polling: the client posts what it sends, and always has a request open to receive."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence

from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import InvalidPacket, Packet
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.exchange import Exchange
from atriz_realtime.engine.session import Session

UPGRADE_GRACE = 0.05
"""Seconds that a poll waits for a websocket which has probed to take over, before it is
answered with nothing so that the client can go on; and that it waits when one has."""

COMPRESS_FROM = 1_024
"""Bytes from which a response is compressed for clients that can read it."""


class Polling:
    """The transport of a session that polls.

    It takes packets once for each poll: with the first that come, the poll is answered.
    """

    name = "polling"

    def __init__(self) -> None:
        self.poll: asyncio.Future[list[Packet] | None] | None = None
        """The poll that waits for packets; it gets ``None`` when they go another way."""
        self.posting = False
        """Whether a request of the client's is being taken."""
        self.session: Session

    def write(self, content: list[Packet]) -> None:
        """Answer the poll."""
        poll, self.poll = self.poll, None
        self.session.hold()
        if poll is not None and not poll.done():
            poll.set_result(content)
        else:  # it was given up in this very turn
            for packet in content:
                self.session.put(packet)

    def pause_reading(self) -> None:
        """Nothing: a request waits for its turn (see :func:`post`)."""

    def resume_reading(self) -> None:
        """Nothing, likewise."""

    def close(self) -> None:
        """Answer the poll; without one, what waits is for the poll that is yet to come."""
        self.abort()

    def abort(self) -> None:
        """Answer the poll with nothing."""
        if self.poll is not None:
            self.write([packets.NOOP_PACKET])

    def leave(self) -> None:
        """Refuse the poll: a websocket has taken over."""
        if self.poll is not None and not self.poll.done():
            self.poll.set_result(None)


async def begin(exchange: Exchange) -> None:
    """Open a new session, and answer with its first packet."""
    engine = exchange.engine
    if not await engine.admitted():
        await exchange.refuse(errors.UNAVAILABLE)
        return
    transport = Polling()
    session = transport.session = Session(engine, engine.generate_id(), exchange.request, transport)
    session.hold()
    admitted = engine.let_in(session)
    if not (admitted if isinstance(admitted, bool) else await admitted):
        await exchange.refuse(errors.BAD_REQUEST)
        return
    await send(exchange, [engine.open_packet(session, upgrades='"websocket"')])


async def poll(session: Session, exchange: Exchange) -> None:
    """Answer a poll with packets, when there are some."""
    transport = session.transport
    engine = exchange.engine
    if not isinstance(transport, Polling):
        await exchange.refuse(errors.BAD_REQUEST)
        return
    if transport.poll is not None:
        engine.end(session, engine.reason.TRANSPORT_ERROR)
        await exchange.refuse(errors.BAD_REQUEST)
        return
    future = transport.poll = asyncio.get_running_loop().create_future()
    session.release()
    session.flush()  # what waited need not wait for the end of the turn
    if not future.done():
        gone = asyncio.ensure_future(exchange.gone())
        grace = None if session.upgrading is None else UPGRADE_GRACE
        try:
            done, _ = await asyncio.wait(
                (future, gone), return_when=asyncio.FIRST_COMPLETED, timeout=grace
            )
        finally:
            gone.cancel()
        if not done:
            transport.abort()
    if not future.done():
        transport.poll = None
        engine.end(session, engine.reason.TRANSPORT_CLOSE, farewell=None)
        return
    content = future.result()
    if content is None:
        await asyncio.sleep(UPGRADE_GRACE)  # what is under way on the websocket goes first
        await exchange.refuse(errors.BAD_REQUEST)
        return
    await send(exchange, content)
    if not session.is_open:
        engine.forget(session)


async def send(exchange: Exchange, content: Sequence[Packet]) -> None:
    """Respond with packets."""
    body = packets.SEPARATOR.join([packet.text for packet in content]).encode()
    headers = []
    if len(body) >= COMPRESS_FROM and "gzip" in (exchange.request.header(b"accept-encoding") or ""):
        body = gzip.compress(body, compresslevel=1)
        headers = [(b"content-encoding", b"gzip")]
    await exchange.respond(200, b"text/plain; charset=UTF-8", body, headers)


async def post(session: Session, exchange: Exchange) -> None:
    """Take what a client posts; one that posts twice at once has lost its senses."""
    transport = session.transport
    engine = exchange.engine
    if not isinstance(transport, Polling) or not session.is_open:
        await exchange.refuse(errors.BAD_REQUEST)
        return
    if transport.posting:
        engine.end(session, engine.reason.TRANSPORT_ERROR, farewell=None)
        await exchange.refuse(errors.BAD_REQUEST)
        return
    transport.posting = True
    try:
        refusal = await _taken(session, exchange)
    finally:
        transport.posting = False
    if refusal is not None:
        await exchange.refuse(refusal)
    else:
        await exchange.respond(200, b"text/html", b"ok")


async def _taken(session: Session, exchange: Exchange) -> Refusal | None:
    """Take the packets of a request; why not, when they cannot be taken."""
    engine = exchange.engine
    body = await exchange.body(engine.max_payload)
    if body is None:
        engine.end(session, engine.reason.TRANSPORT_ERROR, farewell=None)
        return errors.TOO_LARGE
    if not session.is_open:
        return errors.BAD_REQUEST
    try:
        for kind, data in packets.parse_payload(body, engine.max_packets):
            session.receive(kind, data)
            if session.is_busy:
                await session.until_idle()
    except InvalidPacket as error:
        engine.broken(session, error)
        return errors.BAD_REQUEST
    return None

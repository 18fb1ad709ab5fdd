"""One client's Engine.IO session, whatever transport it uses at the moment.

An idle session is one object: no task, timer, queue or request dictionary of its own.  A
task runs only while messages of the client are being handled, one after another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from atriz_realtime.engine.outbox import CLOSED, Outbox
from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import InvalidPacket, Packet

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from atriz_realtime.engine.request.request import Request
    from atriz_realtime.engine.server import EngineServer

MAX_INBOX = 64
"""Messages of a client that wait to be handled before no more are read from it."""


class Transport(Protocol):
    """How packets reach the client."""

    name: str
    """``polling`` or ``websocket``."""

    def write(self, content: list[Packet]) -> None:
        """Send packets; called only while the session may write, and must not raise."""

    def pause_reading(self) -> None:
        """Read no more from the client until told to; it may still deliver what it has read."""

    def resume_reading(self) -> None:
        """Read again."""

    def close(self) -> None:
        """Close in order, within a bounded time; what was written is sent before."""

    def abort(self) -> None:
        """Close at once."""


class _Gone:
    """The transport of a session that has ended, which its own would keep alive, and it that."""

    def __init__(self, name: str) -> None:
        self.name = name

    def write(self, _: list[Packet]) -> None:
        """Nothing, as all of this."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


_GONE = {name: _Gone(name) for name in ("polling", "websocket")}


class State(Enum):
    """How far a session has come."""

    OPENING = "opening"
    """The ``connect`` handler has not let it in yet."""
    OPEN = "open"
    CLOSED = "closed"
    """Nothing is received any more; what waits may still be sent."""


class Session:
    """A session.

    :param transport: how it was opened.
    """

    __slots__ = (
        "_engine",
        "_handling",
        "_inbox",
        "_pending",
        "_resume",
        "outbox",
        "request",
        "sid",
        "state",
        "transport",
        "upgrading",
        "user_session",
    )

    def __init__(
        self, engine: EngineServer, sid: str, request: Request, transport: Transport
    ) -> None:
        self._engine = engine
        self.sid = sid
        self.request = request
        """The request that opened it."""
        self.transport = transport
        self.state = State.OPENING
        self.upgrading: Transport | None = None
        """The websocket that has probed and not taken over yet."""
        self.outbox: Outbox | None = None
        """What waits while the transport takes nothing; ``None`` while it takes everything."""
        self.user_session: dict[str, Any] | None = None
        """What ``get_session()`` keeps for the application."""
        self._pending: list[Packet] | None = None
        self._inbox: deque[str | bytes] | None = None
        self._handling: asyncio.Task[None] | None = None
        self._resume: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the client can be reached and heard."""
        return self.state is State.OPEN

    @property
    def upgraded(self) -> bool:
        """Whether it is on a websocket."""
        return self.transport.name == "websocket"

    # -- out -------------------------------------------------------------------------------

    def put_frame(self, key: str, packet: Packet) -> None:
        """Send a location frame; while the client lags, newer ones of its key replace it."""
        if self.outbox is not None:
            self.outbox.put_frame(key, packet)
        elif self._pending is None:
            self._pending = [packet]
            self._engine.flusher.add(self)
        else:
            self._pending.append(packet)

    def put(self, packet: Packet) -> None:
        """Send a packet that nothing replaces."""
        if self.outbox is not None:
            self.outbox.put(packet)
        elif self._pending is None:
            self._pending = [packet]
            self._engine.flusher.add(self)
        else:
            self._pending.append(packet)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.put(packets.PING_PACKET)

    def flush(self) -> None:
        """Write what was sent in this turn of the loop."""
        pending, self._pending = self._pending, None
        if pending:
            self.transport.write(pending)

    def hold(self) -> None:
        """Let packets wait: the transport takes no more for now."""
        if self.outbox is None:
            self.outbox = self._engine.new_outbox(self)

    def release(self) -> None:
        """Send what has waited, and everything from now on: the transport takes it again."""
        outbox = self.outbox
        if outbox is None or outbox is CLOSED:
            return
        self.outbox = None
        if outbox:
            self._engine.past_conflated += outbox.conflated
            waiting = outbox.take()
            if self._pending is None:
                self._engine.flusher.add(self)
                self._pending = waiting
            else:
                self._pending.extend(waiting)

    def discard(self) -> None:
        """Keep nothing that is sent from now on, nor what sent it: it has ended."""
        self._pending = None
        self.outbox = CLOSED
        self.transport = _GONE[self.transport.name]

    # -- in --------------------------------------------------------------------------------

    def receive(self, kind: str, data: str | bytes) -> None:
        """Take a packet from the client.

        :raises InvalidPacket: when a client must not send it.
        """
        if self.state is State.CLOSED:
            return
        if kind == packets.MESSAGE:
            self._receive_message(data)
        elif kind == packets.PONG:
            self._engine.heartbeat.pong(self)
        elif kind == packets.CLOSE:
            self._engine.end(
                self, self._engine.reason.CLIENT_DISCONNECT, farewell=packets.NOOP_PACKET
            )
        else:
            raise InvalidPacket("a client must not send this")

    def clear_inbox(self) -> None:
        """Forget what the client has sent and nobody has handled: it is sent away."""
        if self._inbox:
            self._inbox.clear()

    async def handled(self) -> None:
        """Wait until everything that the client has sent is handled."""
        if self._handling is not None:
            await asyncio.wait((self._handling,))

    @property
    def is_busy(self) -> bool:
        """Whether as many messages wait to be handled as may."""
        return self._inbox is not None and len(self._inbox) >= MAX_INBOX

    async def until_idle(self) -> None:
        """Wait until more messages may come."""
        while self.is_busy and self.state is not State.CLOSED:
            if self._resume is None:
                self._resume = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._resume)

    def _receive_message(self, data: str | bytes) -> None:
        """Handle a message now, if nothing that came before it is still being handled."""
        if self._inbox is None and self.state is State.OPEN:
            unfinished = self._engine.dispatch(self, data)
            if unfinished is not None:
                self._inbox = deque()
                self._handle_later(unfinished)
            return
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(data)
        if len(self._inbox) == MAX_INBOX:
            self.transport.pause_reading()

    def opened(self) -> None:
        """Begin to handle what the client has sent."""
        self.state = State.OPEN
        if self._inbox:
            self._handle_later()

    def _handle_later(self, unfinished: Awaitable[Any] | None = None) -> None:
        """Handle messages in a task; a session's end waits for it."""
        self._handling = self._engine.loop.create_task(self._handle(unfinished))

    async def _handle(self, unfinished: Awaitable[Any] | None = None) -> None:
        """Handle messages in the order they came, until there are none."""
        inbox = self._inbox
        try:
            if unfinished is not None:
                await self._engine.finish(self, unfinished)
            while inbox:
                unfinished = self._engine.dispatch(self, inbox.popleft())
                if unfinished is not None:
                    await self._engine.finish(self, unfinished)
                if len(inbox) == MAX_INBOX // 2:
                    self._read_again()
        finally:
            self._inbox = self._handling = None
            self._read_again()

    def _read_again(self) -> None:
        self.transport.resume_reading()
        resume, self._resume = self._resume, None
        if resume is not None and not resume.done():
            resume.set_result(None)

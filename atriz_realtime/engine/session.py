"""One client's Engine.IO session, on whichever transport it currently uses.

An idle session is one object, without a task, timer, queue or request dictionary of its own.  A
task runs only while messages of the client are being handled, one after another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, TypeVar

import attrs

from atriz_realtime.engine.loop_bound import LoopBound
from atriz_realtime.engine.outbox import CLOSED, Outbox
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.turns import TurnQueue

T = TypeVar("T")

MAX_INBOX = 64
"""Messages of one client that may wait to be handled; at this many its transport stops reading."""


class Reason:
    """Why a session ended, as python-socketio names it."""

    SERVER_DISCONNECT = "server disconnect"
    CLIENT_DISCONNECT = "client disconnect"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"


class State(Enum):
    """The stages of a session."""

    OPENING = "opening"
    """The ``connect`` handler has not accepted the session yet: nothing is received from the
    client, and packets for it wait."""
    OPEN = "open"
    CLOSED = "closed"
    """Nothing is received any more; packets that wait may still be sent."""


class Transport:
    """Carries a session's packets to the client; this one carries none."""

    __slots__ = ()

    name: str
    """``polling`` or ``websocket``."""

    @property
    def is_behind(self) -> bool:
        """Whether something that the client has sent waits to be handled."""
        return False

    def write(self, content: list[Packet]) -> None:
        """Send packets; called only while the session has no outbox, and must not raise."""

    def pause_reading(self) -> None:
        """Stop reading from the client; what is read already may still be delivered."""

    def resume_reading(self) -> None:
        """Read from the client again."""

    def close(self) -> None:
        """Close within a bounded time, after everything written is sent."""

    def abort(self) -> None:
        """Close at once."""


class _Gone(Transport):
    """Replaces the transport of a session that has ended: each would keep the other in memory."""

    def __init__(self, name: str) -> None:
        self.name = name


_GONE = {name: _Gone(name) for name in ("polling", "websocket")}


@attrs.frozen(slots=False)
class SessionServices(LoopBound):
    """Functions of the server that its sessions call."""

    flush_soon: Callable[[Session], None]
    """Calls the session's ``flush`` soon."""
    new_outbox: Callable[[Session], Outbox]
    handle_message: Callable[[Session, str | bytes], Awaitable[Any] | None]
    """Hands a message to the application; returns an awaitable if it has not finished."""
    protocol_broken: Callable[[Session, Exception], None]
    """Ends a session because a message of its client could not be handled."""
    turns: TurnQueue
    """The time in which the messages that wait in all sessions are handled."""


class Session:
    """A session.

    :param request: the request that opened it.
    :param transport: the transport that it was opened on.
    """

    __slots__ = (
        "_handling",
        "_inbox",
        "_pause",
        "_pending",
        "_resume",
        "_services",
        "outbox",
        "request",
        "sid",
        "state",
        "transport",
        "upgrading",
        "user_session",
    )

    def __init__(
        self, services: SessionServices, sid: str, request: Request, transport: Transport
    ) -> None:
        self._services = services
        self.sid = sid
        self.request = request
        self.transport = transport
        self.state = State.OPENING
        self.upgrading: Transport | None = None
        """A websocket that has probed and has not replaced polling yet."""
        self.outbox: Outbox | None = None
        """Packets that wait for the transport; ``None`` while it accepts everything."""
        self.user_session: dict[str, Any] | None = None
        """What the application stores with the session."""
        self._pending: list[Packet] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._inbox: deque[str | bytes] | None = None
        self._handling: asyncio.Task[None] | None = None
        self._resume: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether packets are sent to the client and received from it."""
        return self.state is State.OPEN

    @property
    def upgraded(self) -> bool:
        """Whether the session is on a websocket."""
        return self.transport.name == "websocket"

    def put_frame(self, key: str, packet: Packet) -> None:
        """Send a location frame; while the client lags, newer frames of its key replace it."""
        if self.outbox is not None:
            self.outbox.put_frame(key, packet)
        elif self._pending is None:
            self._pending = [packet]
            self._services.flush_soon(self)
        else:
            self._pending.append(packet)

    def put(self, packet: Packet) -> None:
        """Send a packet that no other replaces."""
        if self.outbox is not None:
            self.outbox.put(packet)
        elif self._pending is None:
            self._pending = [packet]
            self._services.flush_soon(self)
        else:
            self._pending.append(packet)

    def flush(self) -> None:
        """Write the packets that were sent since the last flush, unless sending is paused."""
        if self._pause is not None:
            return
        pending, self._pending = self._pending, None
        if pending:
            self.transport.write(pending)

    def pause_sending(self, seconds: float) -> None:
        """Write what was sent so far now, and what is sent from now on after a pause."""
        self.resume_sending()
        self._pending = []
        self._pause = self._services.loop.call_later(seconds, self.resume_sending)

    def resume_sending(self) -> None:
        """End a pause, if there is one, and flush."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self.flush()

    def hold(self) -> None:
        """Queue packets in an outbox from now on: the transport accepts no more."""
        if self.outbox is None:
            self.outbox = self._services.new_outbox(self)

    def release(self) -> None:
        """Send what is in the outbox and everything that follows: the transport accepts it."""
        outbox = self.outbox
        if outbox is None or outbox is CLOSED:
            return
        self.outbox = None
        if outbox:
            waiting = outbox.take()
            if self._pending is None:
                self._services.flush_soon(self)
                self._pending = waiting
            else:
                self._pending.extend(waiting)

    def move_to(self, transport: Transport) -> None:
        """Complete an upgrade: send through another transport from now on."""
        self.transport = transport
        self.upgrading = None
        self.release()

    def discard(self) -> None:
        """Drop all packets, now and later, and the transport: the session has ended."""
        self._pending = None
        self.outbox = CLOSED
        self.transport = _GONE[self.transport.name]

    def receive_message(self, data: str | bytes) -> None:
        """Handle a message now, or after those that are still being handled."""
        if self._inbox is None:
            unfinished = self._dispatch(data)
            if unfinished is not None:
                self._inbox = deque()
                self._handle_later(unfinished)
            return
        self._inbox.append(data)
        if len(self._inbox) == MAX_INBOX:
            self.transport.pause_reading()

    def clear_inbox(self) -> None:
        """Drop the messages that are not handled yet."""
        if self._inbox:
            self._inbox.clear()

    async def handled(self) -> None:
        """Wait until every message that has come is handled."""
        if self._handling is not None:
            await asyncio.wait((self._handling,))

    @property
    def is_busy(self) -> bool:
        """Whether the inbox is full."""
        return self._inbox is not None and len(self._inbox) >= MAX_INBOX

    async def until_idle(self) -> None:
        """Wait until the inbox has room."""
        while self.is_busy and self.state is not State.CLOSED:
            if self._resume is None:
                self._resume = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._resume)

    def _dispatch(self, data: str | bytes) -> Awaitable[Any] | None:
        """Hand a message to the application; returns an awaitable if it has not finished."""
        try:
            return self._services.handle_message(self, data)
        except Exception as error:
            self._services.protocol_broken(self, error)
            return None

    def _handle_later(self, unfinished: Awaitable[Any]) -> None:
        """Handle messages in a task; the end of the session waits for it."""
        self._handling = self._services.loop.create_task(self._handle(unfinished))

    async def _handle(self, unfinished: Awaitable[Any]) -> None:
        """Handle messages in the order they came, until there are none."""
        try:
            await self._finish(unfinished)
            while inbox := await self._messages():
                further = self._dispatch(inbox.popleft())
                if further is not None:
                    await self._finish(further)
                if len(inbox) == MAX_INBOX // 2:
                    self._read_again()
        finally:
            self._inbox = self._handling = None
            self._read_again()

    async def _messages(self) -> deque[str | bytes] | None:
        """The messages that wait, once there is time to handle one."""
        if self._inbox and self._services.turns.is_over:
            await self._services.turns.next()
        return self._inbox

    async def take(self, read: Callable[[str | bytes], T | None]) -> T | None:
        """Take the next message that waits, to handle it before the present one is finished.

        :param read: what it makes of the message is returned; ``None`` leaves the message.
        """
        inbox = await self._messages()
        taken = read(inbox[0]) if inbox else None
        if inbox and taken is not None:
            inbox.popleft()
            if len(inbox) == MAX_INBOX // 2:
                self._read_again()
        return taken

    async def _finish(self, handling: Awaitable[Any]) -> None:
        try:
            await handling
        except Exception as error:
            self._services.protocol_broken(self, error)

    def _read_again(self) -> None:
        self.transport.resume_reading()
        resume, self._resume = self._resume, None
        if resume is not None and not resume.done():
            resume.set_result(None)

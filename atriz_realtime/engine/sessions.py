"""The sessions of one server: how they open and end."""

from __future__ import annotations

import asyncio
import base64
import inspect
import os
from collections.abc import Awaitable, Callable
from typing import Any

from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.engine.flusher import Flusher
from atriz_realtime.engine.loop_bound import LoopBound
from atriz_realtime.engine.outbox import Outbox, OutboxLimits
from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import InvalidPacket, Packet
from atriz_realtime.engine.request.errors import Report
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Reason, Session, SessionServices, State, Transport
from atriz_realtime.engine.turns import TurnQueue

IDS_PER_BATCH = 64
"""Session ids made from one read of the system's random source."""

LINGER_SECONDS = 5.0
"""Seconds that the packets of a closed session wait for the client's next poll."""

CLIENT_REASONS = frozenset({Reason.CLIENT_DISCONNECT, Reason.TRANSPORT_CLOSE})
"""Ends that the client brought about: messages that it sent before are still handled."""


class Sessions(LoopBound):
    """The sessions of one server.

    What is not described here is as in :class:`.EngineServer`.

    :param limits: limits of the outboxes.
    :param id_prefix: the beginning of each session id.
    :param unasked: called with an open session for each packet that nobody waits for.
    :param connect: called with each new session; ``False`` or an exception refuses it.
    :param message: called with each message; returns an awaitable if it has not finished.
    :param disconnect: called with each session that has ended, and the reason.
    """

    def __init__(
        self,
        *,
        ping_interval: float,
        ping_timeout: float,
        max_payload: int,
        limits: OutboxLimits,
        flush_interval: float,
        id_prefix: str,
        report: Report,
        unasked: Callable[[Session], object],
        connect: Callable[[Session], Any],
        message: Callable[[Session, str | bytes], Awaitable[Any] | None],
        disconnect: Callable[[Session, str], Any],
    ) -> None:
        self.by_id: dict[str, Session] = {}
        """Each session, until the application has handled its end."""
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.max_payload = max_payload
        self.report = report
        self.turns = TurnQueue()
        """The time for what clients send (packets, HTTP requests, messages that wait), and for the
        compression of answers to polls."""
        self.is_closing = False
        """Whether no more sessions are opened."""
        self._id_prefix = id_prefix
        self._limits = limits
        self._unasked = unasked
        self._connect = connect
        self._disconnect = disconnect
        self._pings = Deadlines(ping_interval, self._ping)
        """From the opening of a session, or its last pong, to the next ping."""
        self._pongs = Deadlines(ping_timeout, self._expired)
        self._services = SessionServices(
            flush_soon=Flusher(flush_interval).add,
            new_outbox=self._new_outbox,
            handle_message=message,
            protocol_broken=self.protocol_broken,
            turns=self.turns,
        )
        self._terms = (
            f'"pingInterval":{int(ping_interval * 1000)},"pingTimeout":{int(ping_timeout * 1000)},'
            f'"maxPayload":{max_payload}'
        )
        self._lingering: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ids: list[str] = []

    def generate_id(self) -> str:
        """A new id: the prefix, and 120 random bits in 20 characters."""
        if not self._ids:
            random = base64.urlsafe_b64encode(os.urandom(15 * IDS_PER_BATCH)).decode()
            self._ids = [random[start : start + 20] for start in range(0, len(random), 20)]
        return self._id_prefix + self._ids.pop()

    def start_task(self, target: Callable[..., Any], *args: Any) -> asyncio.Task[Any]:
        """Run a coroutine function in a task, which :meth:`shutdown` waits for."""
        task = self.loop.create_task(target(*args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def shutdown(self) -> None:
        """Open no more sessions, close the open ones, and wait until all ends are handled."""
        self.is_closing = True
        for session in list(self.by_id.values()):
            self.end(session, Reason.SERVER_DISCONNECT)
        self._pings.close()
        self._pongs.close()
        for session in list(self._lingering.values()):
            self.forget(session)
        while pending := [task for task in self._tasks if task is not asyncio.current_task()]:
            await asyncio.wait(pending)

    def create(self, request: Request, transport: Transport) -> Session:
        """Create a session, whose transport reads no packets before it is open."""
        session = Session(self._services, self.generate_id(), request, transport)
        self.by_id[session.sid] = session
        return session

    def open(self, session: Session) -> bool | Awaitable[bool]:
        """Ask the application to accept a session, and open it unless the application refuses.

        What is sent to the session while the answer is awaited is held.

        :returns: whether it is open; an awaitable only if the application's answer is one.
        """
        try:
            answer = self._connect(session)
        except Exception as error:
            return self._accept(session, self._connect_failed(error))
        if answer is not None and inspect.isawaitable(answer):
            session.hold()
            return self._open_later(session, answer)
        return self._accept(session, answer)

    def open_packet(self, session: Session, *, upgrades: str = "") -> Packet:
        """The first packet of a session.

        :param upgrades: the transports that it may change to, as JSON strings.
        """
        return Packet(
            f'{packets.OPEN}{{"sid":"{session.sid}","upgrades":[{upgrades}],{self._terms}}}'.encode()
        )

    def find(self, sid: str) -> Session | None:
        """The session with an id, if it is open or has packets for a last poll."""
        session = self._lingering.get(sid) or self.by_id.get(sid)
        if session is not None:
            self._pings.check(session)
            self._pongs.check(session)
        if session is None or not (session.is_open or sid in self._lingering):
            return None
        return session

    async def _open_later(self, session: Session, asking: Awaitable[Any]) -> bool:
        try:
            answer = await asking
        except Exception as error:
            answer = self._connect_failed(error)
        return self._accept(session, answer)

    def _connect_failed(self, error: Exception) -> bool:
        self.report("connect handler failed", f"{type(error).__name__}: {error}")
        return False

    def _accept(self, session: Session, answer: Any) -> bool:
        if answer is False or session.state is State.CLOSED:
            session.state = State.CLOSED
            self.by_id.pop(session.sid, None)
            return False
        session.state = State.OPEN
        self._pings.begin(session)
        return True

    def receive(self, session: Session, kind: str, data: str | bytes) -> None:
        """Handle a packet from a client.

        :raises InvalidPacket: for a packet that a client must not send.
        """
        if session.state is State.CLOSED:
            return
        if kind == packets.MESSAGE:
            session.receive_message(data)
        elif kind == packets.PONG:
            if self._pongs.end(session):
                self._pings.begin(session)
            else:
                self.charge(session)
        elif kind == packets.CLOSE:
            self.end(session, Reason.CLIENT_DISCONNECT, farewell=packets.NOOP_PACKET)
        else:
            raise InvalidPacket("a client must not send this")

    def charge(self, session: Session) -> None:
        """Count a packet that nobody waits for."""
        if session.is_open:
            self._unasked(session)

    def _ping(self, session: Session, due: float) -> None:
        self._pongs.begin(session, due)  # clients count from when the ping was due
        session.put(packets.PING_PACKET)

    def _new_outbox(self, session: Session) -> Outbox:
        def overflow(reason: str) -> None:
            self.report("slow client cut", reason)
            self.cut(session, Reason.TRANSPORT_ERROR)

        return Outbox(self._limits, overflow)

    def end(
        self, session: Session, reason: str, *, farewell: Packet | None = packets.CLOSE_PACKET
    ) -> None:
        """Close a session after everything that was sent to it.

        :param farewell: the last packet; with ``None`` nothing waits for a further poll.
        """
        if not self._ended(session, reason):
            return
        if session.upgraded:
            session.release()
        elif farewell is not None:
            self._lingering[session.sid] = session
            self.loop.call_later(LINGER_SECONDS, self.forget, session)
        if farewell is not None:
            session.put(farewell)
        session.resume_sending()
        session.transport.close()
        if session.sid not in self._lingering:
            session.discard()

    def protocol_broken(self, session: Session, error: Exception) -> None:
        """Close a session whose client broke the protocol, without a last poll."""
        self.report("protocol broken", f"{type(error).__name__}: {error}; the session was closed")
        self.end(session, Reason.TRANSPORT_ERROR, farewell=None)

    def cut(self, session: Session, reason: str) -> None:
        """Close a session at once."""
        if self._ended(session, reason):
            session.transport.abort()
            session.discard()

    def disconnected(self, session: Session) -> None:
        """End a session whose connection is closed."""
        if self._ended(session, Reason.TRANSPORT_CLOSE):
            session.discard()

    def forget(self, session: Session) -> None:
        """Drop the packets of a closed session that wait for a last poll."""
        self._lingering.pop(session.sid, None)
        session.discard()

    def _expired(self, session: Session, _: float) -> None:
        if session.transport.is_behind:  # its pong may be in what waits
            self._pongs.begin(session)
            return
        self.end(session, Reason.PING_TIMEOUT, farewell=None)

    def _ended(self, session: Session, reason: str) -> bool:
        """Mark a session as closed; returns whether its transport is still to be closed.

        The transport of a session that is opening refuses it when the application has answered.
        """
        before = session.state
        if before is State.CLOSED:
            return False
        session.state = State.CLOSED
        self._pings.end(session)
        self._pongs.end(session)
        if session.upgrading is not None:
            session.upgrading.close()
        if reason not in CLIENT_REASONS:
            session.clear_inbox()
        self.start_task(self._tell_application, session, reason)
        if before is State.OPENING:
            session.discard()
        return before is State.OPEN

    async def _tell_application(self, session: Session, reason: str) -> None:
        """Call the application, for which the session exists until it returns."""
        await session.handled()
        try:
            answer = self._disconnect(session, reason)
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:
            self.report("disconnect handler failed", f"{type(error).__name__}: {error}")
        finally:
            self.by_id.pop(session.sid, None)

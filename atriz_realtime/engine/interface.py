"""What an application calls: the methods that python-socketio knows of python-engineio's server."""

from __future__ import annotations

import asyncio
import base64
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from atriz_realtime.engine.loop_bound import LoopBound
from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.reasons import Reason
from atriz_realtime.engine.session import Session

IDS_AT_ONCE = 64
"""Session ids that are made with one call to the system."""

Handler = Callable[..., Any]


class Interface(LoopBound, ABC):
    """Messages, handlers, what is kept for sessions, and tasks."""

    reason: ClassVar[type[Reason]] = Reason
    async_mode: ClassVar[str] = "asgi"

    def __init__(self) -> None:
        self.sockets: dict[str, Session] = {}
        """The sessions by id, until the application has taken note of their end."""
        self.session_prefix = ""
        """How session ids begin, where several processes must tell theirs apart."""
        self._handlers: dict[str, Handler] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ids: list[str] = []

    @abstractmethod
    def end(self, session: Session, reason: str) -> None:
        """Close a session in order: what was sent to it goes out before."""

    @abstractmethod
    def cut(self, session: Session, reason: str) -> None:
        """Close a session at once."""

    def on(self, event: str, handler: Handler | None = None) -> Handler:
        """Handle ``connect(sid, environ)``, ``message(sid, data)`` or ``disconnect(sid, reason)``.

        Plain functions and coroutine functions both; without a handler it is a decorator.
        A ``connect`` handler that returns ``False`` or raises refuses the session.

        :raises ValueError: for another event.
        """
        if event not in ("connect", "message", "disconnect"):
            raise ValueError(f"no such event: {event}")
        if handler is None:
            return lambda function: self.on(event, function)
        self._handlers[event] = handler
        return handler

    async def send(self, sid: str, data: str | bytes) -> None:
        """Send a message; harmless when the session is gone."""
        session = self.sockets.get(sid)
        if session is not None:
            session.put(packets.message(data))

    async def send_packet(self, sid: str, pkt: Any) -> None:
        """Send a packet of python-engineio's; harmless when the session is gone."""
        session = self.sockets.get(sid)
        if session is not None:
            encoded = pkt.encode()
            content = encoded if isinstance(encoded, bytes) else encoded.encode()
            session.put(Packet(content, binary=isinstance(encoded, bytes)))

    async def disconnect(self, sid: str | None = None) -> None:
        """Close a session, or all: what was sent to it goes out before."""
        for one in list(self.sockets) if sid is None else [sid]:
            if one in self.sockets:
                self.end(self.sockets[one], Reason.SERVER_DISCONNECT)

    async def abort(self, sid: str) -> None:
        """Close a session without waiting for its client to take anything."""
        if sid in self.sockets:
            self.cut(self.sockets[sid], Reason.SERVER_DISCONNECT)

    async def get_session(self, sid: str) -> dict[str, Any]:
        """What the application keeps for a session.

        :raises KeyError: when there is no such session.
        """
        session = self.sockets[sid]
        if session.user_session is None:
            session.user_session = {}
        return session.user_session

    async def save_session(self, sid: str, session: dict[str, Any]) -> None:
        """Keep it.

        :raises KeyError: when there is no such session.
        """
        self.sockets[sid].user_session = session

    @asynccontextmanager
    async def session(self, sid: str) -> AsyncIterator[dict[str, Any]]:
        """What the application keeps for a session, kept again when the context ends."""
        kept = await self.get_session(sid)
        yield kept
        await self.save_session(sid, kept)

    def transport(self, sid: str) -> str:
        """``polling`` or ``websocket``.

        :raises KeyError: when there is no such session.
        """
        return self.sockets[sid].transport.name

    def generate_id(self) -> str:
        """A new id: 120 bits from the system's random source, in 20 characters."""
        if not self._ids:
            random = base64.urlsafe_b64encode(os.urandom(15 * IDS_AT_ONCE)).decode()
            self._ids = [random[start : start + 20] for start in range(0, len(random), 20)]
        return self.session_prefix + self._ids.pop()

    def start_background_task(self, target: Callable[..., Any], *args: Any) -> asyncio.Task[Any]:
        """Run a coroutine function beside everything else."""
        task = self.loop.create_task(target(*args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def sleep(self, seconds: float = 0) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    def create_event(self) -> asyncio.Event:
        """An event."""
        return asyncio.Event()

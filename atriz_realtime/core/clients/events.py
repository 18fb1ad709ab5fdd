"""The package's own events: handled and answered in the order in which a socket sends them."""

from __future__ import annotations

import asyncio
import functools
import re
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType
from typing import Any

import socketio.packet

from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.api.wire import track_event
from atriz_realtime.core.clients.gateway import Gateway
from atriz_realtime.core.clients.sockets import EventHandlers
from atriz_realtime.core.hub.packets import StrictJson
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.engine.protocol.packets import message
from atriz_realtime.engine.session import Session

MAX_UNANSWERED = 100
"""Events that track one entity each and are handled at once, for one socket; further ones wait."""

TRACKS_ONE = re.compile(rf'{socketio.packet.EVENT}[0-9]*\["{track_event("")}[^"\\]*","[^"\\]*"\]')
"""A packet that asks to track one entity, as clients write it.  One that is written in another way
is handled when those before it are answered."""

Following = tuple[int | None, str, Callable[[], Awaitable[Any]]]
"""The number of an event's acknowledgement, its name, and what handles it."""


class OwnEvents:
    """Answers the package's own events and those of plugins.

    A socket that tracks its entities one by one need not wait for Redis as often: events that
    have come meanwhile share the round trips of the first.
    """

    def __init__(
        self, rooms: RoomManager, gateway: Gateway, handlers: EventHandlers, incidents: Incidents
    ) -> None:
        self._rooms = rooms
        self._gateway = gateway
        self._handlers = handlers
        self._incidents = incidents

    async def answer(
        self, session: Session, sid: str, number: int | None, event: str, handling: Awaitable[Any]
    ) -> None:
        """Handle an event, and acknowledge it if the client asks for that by a number."""
        answer = await self._result(sid, event, handling)
        if isinstance(answer, CoroutineType):
            await self._answer_together(session, sid, number, event, answer)
        else:
            self.acknowledge(session, number, answer)

    async def _answer_together(
        self,
        session: Session,
        sid: str,
        number: int | None,
        event: str,
        rest: Coroutine[Any, Any, Any],
    ) -> None:
        """Finish an event that tracks an entity, and meanwhile begin those that follow it."""
        following = await self._take(session, sid, 1)
        if following is None:
            self.acknowledge(session, number, await self._result(sid, event, rest))
            return
        loop = asyncio.get_running_loop()
        unanswered: deque[tuple[int | None, str, asyncio.Task[Any]]]
        unanswered = deque([(number, event, loop.create_task(rest))])
        begun: asyncio.Future[None] | None = None  # of the last one; ``None``: it has begun
        while unanswered:
            number, event, finishing = unanswered[0]
            if begun is not None and begun.done():
                begun = None
            if finishing.done():
                self.acknowledge(session, number, await self._result(sid, event, finishing))
                unanswered.popleft()
            elif begun is not None:
                await asyncio.wait((finishing, begun), return_when=asyncio.FIRST_COMPLETED)
            elif following := following or await self._take(session, sid, len(unanswered)):
                (number, event, handling), following = following, None
                begun = loop.create_future()
                finishing = loop.create_task(self._handle(sid, handling, begun))
                unanswered.append((number, event, finishing))
                await asyncio.sleep(0)  # most begin at once
            else:
                await asyncio.wait((finishing,))

    async def _take(self, session: Session, sid: str, unanswered: int) -> Following | None:
        """Take the next event, if it may be handled before those before it are answered."""
        if unanswered >= MAX_UNANSWERED:
            return None
        return await session.take(functools.partial(self._following, sid))

    def _following(self, sid: str, text: str | bytes) -> Following | None:
        """The event in a message, if it may be handled before those before it are answered."""
        if not (
            isinstance(text, str)
            and TRACKS_ONE.fullmatch(text)
            and self._rooms.is_connected(sid, DEFAULT_NAMESPACE)
            and self._gateway.would_admit(sid)
        ):
            return None
        try:
            packet = self._rooms.server.packet_class(encoded_packet=text, binary=False)
        except ValueError:  # it is refused in its turn
            return None
        event = packet.data[0]
        handler, arguments = self._handlers.find(event, packet.data)
        if handler is None or not self._gateway.admit(sid):
            return None
        return packet.id, event, functools.partial(handler, sid, *arguments)

    async def _handle(
        self, sid: str, handling: Callable[[], Awaitable[Any]], begun: asyncio.Future[None]
    ) -> Any:
        """Await both parts of a handler; ``begun`` is done after the first of them."""
        try:
            if not self._rooms.is_connected(sid, DEFAULT_NAMESPACE):  # it has left meanwhile
                return None
            answer = await handling()
        finally:
            begun.set_result(None)
        return await answer if isinstance(answer, CoroutineType) else answer

    async def _result(self, sid: str, event: str, handling: Awaitable[Any]) -> Any:
        """Await a handler; an error becomes ``error`` and a negative acknowledgement."""
        try:
            answer = await handling
            return answer() if callable(answer) else answer
        except RealtimeError as refusal:
            self._incidents.refused(event, refusal)
            return self._refuse(sid, refusal)
        except Exception as failure:
            return self._refuse(sid, self._incidents.failed("event handler failed", event, failure))

    def _refuse(self, sid: str, error: RealtimeError) -> dict[str, Any]:
        """Tell a client that its event was refused; returns the acknowledgement."""
        self._rooms.send(sid, "error", error.message)
        if error.status < RealtimeError.status:  # the client's fault
            self._rooms.server.count_errors(sid, 1)
        return error.to_wire()

    def acknowledge(self, session: Session, number: int | None, answer: Any) -> None:
        """Send an acknowledgement if the client has asked for it, and its session lasts."""
        if number is not None and session.sid in self._rooms.server.eio.sockets:
            session.put(message(f"{socketio.packet.ACK}{number}{StrictJson.dumps([answer])}"))

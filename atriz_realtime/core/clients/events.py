"""The package's own events: handled and answered in the order in which a socket sends them."""

from __future__ import annotations

import asyncio
import functools
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import socketio.packet

from atriz_realtime.api.errors import InvalidRequest, PluginFailed, RealtimeError
from atriz_realtime.api.wire import track_event
from atriz_realtime.core.clients.current_locations import Owing
from atriz_realtime.core.clients.gateway import Gateway
from atriz_realtime.core.clients.sockets import EventHandlers
from atriz_realtime.core.hub.packets import StrictJson
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.runtime import cancellation
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.engine.protocol.packets import message
from atriz_realtime.engine.session import Session

MAX_UNANSWERED = 200
"""Events that track one entity each and are handled at once, for one socket; further ones wait."""

TRACKS_ONE = re.compile(
    rf'{socketio.packet.EVENT}([0-9]{{0,15}})\["({track_event("")}[^"\\\0-\x1f]*)","([^"\\\0-\x1f]*)"\]'
)
"""A packet that asks to track one entity, as clients write it: its number, the event and the id.
One that is written in another way is handled when those before it are answered."""

Following = tuple[int | None, str, Callable[[], Awaitable[Any]]]
"""The number of an event's acknowledgement, its name, and what handles it."""

Unanswered = tuple[int | None, str, asyncio.Future[Any]]
"""The number of an event's acknowledgement, its name, and its answer."""


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
        answer = await self._result(session, sid, event, handling)
        if isinstance(answer, Owing):
            await self._answer_together(session, sid, number, event, answer)
        else:
            self._acknowledge(session, sid, number, event, answer)

    async def _answer_together(
        self, session: Session, sid: str, number: int | None, event: str, owing: Owing
    ) -> None:
        """Finish an event that tracks an entity, and meanwhile begin those that follow it."""
        following = await self._take(session, sid, 1)
        if following is None:
            self._acknowledge(
                session, sid, number, event, await self._result(session, sid, event, owing.sent())
            )
            return
        loop = asyncio.get_running_loop()
        unanswered = deque[Unanswered]([(number, event, owing.sent_together())])
        beginning = loop.create_task(self._begin(session, sid, following, unanswered))
        while True:
            while unanswered and unanswered[0][2].done():
                number, event, finishing = unanswered.popleft()
                self._acknowledge(
                    session, sid, number, event, await self._result(session, sid, event, finishing)
                )
            if beginning.done():
                beginning.result()  # raises what failed
                following = await self._take(session, sid, len(unanswered))
                if following is not None:
                    beginning = loop.create_task(self._begin(session, sid, following, unanswered))
                elif not unanswered:
                    return
            await asyncio.wait((unanswered[0][2] if unanswered else beginning,))

    async def _begin(
        self,
        session: Session,
        sid: str,
        first: Following,
        unanswered: deque[Unanswered],
    ) -> None:
        """Begin events one after the other; those of a turn of the loop are finished together."""
        following: Following | None = first
        while following is not None:
            number, event, handling = following
            if self._rooms.is_connected(sid, DEFAULT_NAMESPACE):  # it may have left meanwhile
                unanswered.append((number, event, await begun(handling)))
                if len(unanswered) == 1:  # nothing tells that there is an answer again
                    return
            following = await self._take(session, sid, len(unanswered))

    async def _take(self, session: Session, sid: str, unanswered: int) -> Following | None:
        """Take the next event, if it may be handled before those before it are answered."""
        if unanswered >= MAX_UNANSWERED:
            return None
        return await session.take(functools.partial(self._following, sid))

    def _following(self, sid: str, text: str | bytes) -> Following | None:
        """The event in a message, if it may be handled before those before it are answered."""
        found = TRACKS_ONE.fullmatch(text) if isinstance(text, str) else None
        if (
            found is None
            or not self._rooms.is_connected(sid, DEFAULT_NAMESPACE)
            or not self._gateway.would_admit(sid)
        ):
            return None
        number, event, entity_id = found.groups()
        handler, arguments = self._handlers.find(event, [event, entity_id])
        if handler is None or not self._gateway.admit(sid):
            return None
        handling = functools.partial(handler, sid, *arguments)
        return int(number) if number else None, event, handling

    async def _result(
        self, session: Session, sid: str, event: str, handling: Awaitable[Any]
    ) -> Any:
        """Await a handler; an error becomes ``error`` and a negative acknowledgement."""
        try:
            answer = await handling
            return answer() if callable(answer) else answer
        except RealtimeError as refusal:
            self._incidents.refused(event, refusal, session.request.address)
            return self._refuse(sid, refusal)
        except (Exception, asyncio.CancelledError) as failure:
            if cancellation.is_own(failure):
                raise
            answer = self._incidents.failed("event handler failed", event, failure, cause=event)
            return self._refuse(sid, answer)

    def _refuse(self, sid: str, error: RealtimeError) -> dict[str, Any]:
        """Tell a client that its event was refused; returns the acknowledgement."""
        self._rooms.send(sid, "error", error.message)
        if error.status < RealtimeError.status:  # the client's fault
            self._rooms.server.count_errors(sid, 1)
        return error.to_wire()

    def _acknowledge(
        self, session: Session, sid: str, number: int | None, event: str, answer: Any
    ) -> None:
        """Acknowledge an event; an answer that is not JSON is a failure of the event's plugin."""
        try:
            self.acknowledge(session, number, answer)
        except (TypeError, ValueError, RecursionError) as error:
            plugin = self._handlers.plugin_of(event)
            if plugin is None:
                raise
            reason = f"its answer is not JSON: {type(error).__name__}: {error}"
            self._incidents.plugin_problem(plugin, "failed", f"event {event!r}", reason)
            self.acknowledge(session, number, self._refuse(sid, PluginFailed()))

    def refuse_unknown(
        self, session: Session, sid: str, namespace: str, number: int, event: str
    ) -> None:
        """Acknowledge an event that nobody handles; there is no ``error`` without that wish."""
        refusal = InvalidRequest("unknown event")
        self._incidents.refused(event, refusal, session.request.address)
        self._rooms.server.count_errors(sid, 1, namespace)
        self.acknowledge(session, number, refusal.to_wire(), namespace)

    def acknowledge(
        self,
        session: Session,
        number: int | None,
        answer: Any,
        namespace: str = DEFAULT_NAMESPACE,
    ) -> None:
        """Send an acknowledgement if the client has asked for it, and its session lasts."""
        if number is not None and session.sid in self._rooms.server.eio.sockets:
            where = "" if namespace == DEFAULT_NAMESPACE else f"{namespace},"
            data = StrictJson.dumps([answer])
            session.put(message(f"{socketio.packet.ACK}{where}{number}{data}"))


async def begun(handling: Callable[[], Awaitable[Any]]) -> asyncio.Future[Any]:
    """Await the first part of a handler; returns its answer, which a second part may still owe."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()
    try:
        result = await handling()
    except Exception as failure:  # it is told in its turn
        answer.set_exception(failure)
    else:
        if isinstance(result, Owing):
            return result.sent_together()
        answer.set_result(result)
    return answer

"""Connected sockets: the state of each, how its events are handled, and how it is reached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sized
from typing import Any

import attrs

from atriz_realtime.api.model import Identity, as_id
from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.runtime.token_bucket import TokenBucket

Handler = Callable[..., Awaitable[Any]]
"""Takes the sid and the event's arguments; returns the acknowledgement.

It may return an :class:`~atriz_realtime.core.clients.current_locations.Owing` instead: events of
the socket that follow, and do likewise, may be handled before its locations are sent.
"""


@attrs.define(eq=False)
class ConnectedSocket:
    """One connected socket, and the identity it has."""

    sid: str
    address: str
    bucket: TokenBucket
    """Limits its events."""
    identity: Identity | None = None
    user_bucket: TokenBucket | None = None
    """Limits the events of all sockets of its user together."""
    tracked: set[str] = attrs.field(factory=set)
    """The entity rooms it joined with ``track:<type>``."""
    revision: int = 0
    """Counts revocations of its user; an authorization during which it changes starts again."""
    deadline: asyncio.TimerHandle | None = None
    """Closes the socket unless it authenticates before."""

    @property
    def owner(self) -> str:
        """Whom long work for it is for: its user, on whatever socket."""
        return self.sid if self.identity is None else self.identity.user_id

    @property
    def is_single_entity(self) -> bool:
        """Whether its identity may watch one entity, and do nothing else."""
        return self.identity is not None and self.identity.only is not None


@attrs.frozen
class Client:
    """A socket, for plugins' handlers: see :class:`~atriz_realtime.api.SocketClient`."""

    _rooms: RoomManager
    _socket: ConnectedSocket

    @property
    def sid(self) -> str:
        """The Socket.IO session id."""
        return self._socket.sid

    @property
    def identity(self) -> Identity | None:
        """Its identity; ``None`` before it has authenticated."""
        return self._socket.identity

    async def emit(self, event: str, data: Any) -> None:
        """Send an event to this socket alone."""
        self._rooms.send(self.sid, event, data)

    def count_errors(self, count: int) -> None:
        """Take errors from its error budget."""
        self._rooms.server.count_errors(self.sid, count)

    async def disconnect(self) -> None:
        """Disconnect it."""
        await self._rooms.server.disconnect(self.sid)


class Sockets:
    """The connected sockets of every server: see :class:`~atriz_realtime.api.Sockets`.

    :param connected: the sockets that are connected to this server, as they are at any time.
    """

    def __init__(self, rooms: RoomManager, connected: Sized) -> None:
        self._rooms = rooms
        self._connected = connected

    async def emit(self, event: str, data: Any, room: str | list[str]) -> None:
        """Send an event to everyone in a room, or in any of several: once to each socket."""
        await self._rooms.emit(event, data, DEFAULT_NAMESPACE, room=room)

    async def emit_newest(self, event: str, data: Any, room: str) -> None:
        """Send an event to a room; a client that lags gets only the newest one of the room."""
        await self._rooms.emit(event, data, DEFAULT_NAMESPACE, room=room, conflation_key=room)

    async def send_to_user(self, user_id: str | int, event: str, data: Any) -> None:
        """Send an event to every socket of a user."""
        await self.emit(event, data, RoomNames.user(as_id(user_id)))

    async def broadcast_to_authenticated(self, event: str, data: Any) -> None:
        """Send an event to every authenticated socket."""
        await self.emit(event, data, RoomNames.AUTHENTICATED)

    @property
    def connections(self) -> int:
        """Sockets connected to this server."""
        return len(self._connected)

    @property
    def rooms(self) -> int:
        """Rooms with a member on this server, each socket's own room included."""
        return self._rooms.room_count


class EventHandlers:
    """Handlers by event name; ``track:*`` handles what begins with ``track:`` and has no other.

    They run in order inside the connection that sent the event, without a task each.
    Handlers that a host puts on ``socket_io`` itself run as python-socketio runs them.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._binary: set[str] = set()
        self._eager: set[str] = set()
        self._plugins: dict[str, str] = {}

    def add(
        self,
        event: str,
        handler: Handler,
        *,
        binary: bool = False,
        eager: bool = False,
        plugin: str | None = None,
    ) -> None:
        """Handle an event.

        :param binary: whether its arguments may hold bytes.
        :param eager: whether the handler may take its first step without a task:
            see :func:`~atriz_realtime.core.runtime.eager.run_eagerly`.
        :param plugin: the plugin that registers it; ``None``: it is the server's own.
        """
        self._handlers[event] = handler
        if plugin is not None:
            self._plugins[event] = plugin
        if binary:
            self._binary.add(event)
        if eager:
            self._eager.add(event)

    def is_eager(self, event: str) -> bool:
        """Whether the handler of an event may take its first step without a task."""
        return event in self._eager

    def plugin_of(self, event: str) -> str | None:
        """The plugin that handles an event; ``None`` for the server itself."""
        return self._plugins.get(event)

    def find(self, event: str, data: list[Any]) -> tuple[Handler | None, list[Any]]:
        """The handler of an event, and its arguments; a wildcard's first one is the name.

        :param data: the name, followed by what the client sent.
        """
        wildcard = _wildcard(event)
        handler = None if event == wildcard else self._handlers.get(event)
        if handler is not None:
            return handler, data[1:]
        return self._handlers.get(wildcard), data

    def refuses_bytes(self, event: str) -> bool:
        """Whether an event is handled here, and its arguments may not hold bytes."""
        is_handled = event in self._handlers or _wildcard(event) in self._handlers
        return is_handled and event not in self._binary


def _wildcard(event: str) -> str:
    return f"{event.partition(':')[0]}:*"

"""Who is in which room, and the broadcast to them.

:class:`Rooms` is python-socketio's client manager (its ``client_manager=`` seam),
so ``socket_io.emit(…, room=…)``, ``enter_room``, namespaces and acknowledgements
go through it, and location frames go the short way: one packet, encoded once,
appended to every watcher's outbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from typing import Any

import socketio
import socketio.packet

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.core.hub.packets import emitted_location, location_packet
from atriz_realtime.core.hub.views import Views
from atriz_realtime.core.hub.watermarks import Watermarks, event_time
from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.session import Session

DEFAULT_NAMESPACE = "/"

GREETING_PAUSE = 0.002
"""Seconds between a connection's welcome and what its ``connect`` handler sent meanwhile."""

NOBODY: frozenset[str | None] = frozenset()

Relay = Callable[[str, list[str] | None, list[str], list[str | bytes], str | None], None]
"""Passes an emit on to the other servers: namespace, rooms (``None``: everyone),
rooms to skip, the encoded packet with its attachments, the conflation key."""


class Rooms(socketio.AsyncManager):
    """Membership of rooms, and broadcast.

    :param first_joined: called with a room of the default namespace that was empty.
    :param last_left: called with a room of the default namespace that is now empty.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        first_joined: Callable[[str], None],
        last_left: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._followers = [(first_joined, last_left)]
        self._joined: dict[str, set[str]] = {}
        self._sids: dict[tuple[str, str], str] = {}
        self._connecting: set[str] = set()
        self._early: dict[str, list[packets.Packet]] = {}
        self._disconnecting: set[str] = set()
        self._last: dict[str, bytes] = {}
        self.watermarks = Watermarks(clock)
        self.views: Views | None = None
        """Who sees what otherwise than it was published; ``None``: nobody does."""
        self.relay: Relay | None = None
        self._queued = 0

    def statistics(self) -> dict[str, float]:
        """Location frames ``queued`` for clients, and how many of them were ``conflated``."""
        return {"queued": self._queued, "conflated": self.server.eio.conflated}

    # -- location frames -------------------------------------------------------------------

    def deliver(self, room: str, event: bytes) -> None:
        """Send an event's bytes as ``location:update`` to everyone in a room on this server.

        The same bytes twice in a row are sent once: a fan-out that was interrupted may
        bring an entity's newest event again.
        """
        members = self.rooms.get(DEFAULT_NAMESPACE, {}).get(room)
        if not members or self._last.get(room) == event:
            return
        self._last[room] = event
        spared = self.watermarks.already_seen(room, event) if self.watermarks else NOBODY
        if None in spared:
            return
        if self.views is not None and room in self.views.by_room:
            spared = {*spared, *self._deliver_views(self.views, room, event, spared)}
        packet = location_packet(event)
        sockets, early = self.server.eio.sockets, self._early
        queued = 0
        for sid, eio_sid in members.items():
            session = sockets.get(eio_sid)
            if session is None or sid in spared:
                continue
            if sid in early:
                early[sid].append(packet)
            else:
                session.put_frame(room, packet)
                queued += 1
        self._queued += queued

    def _deliver_views(
        self, views: Views, room: str, event: bytes, spared: Container[str | None]
    ) -> Collection[str]:
        """Send an event to those members of a room who do not see it whole; returns them."""
        shown, viewers = views.shown(event), views.by_room[room]
        members = self.rooms[DEFAULT_NAMESPACE][room]
        sockets = self.server.eio.sockets
        for sid, chain in viewers.items():
            session = sockets.get(members.get(sid))
            if session is None or sid in spared:
                continue
            seen = shown.packet(chain)
            if seen is None:
                continue
            if sid in self._early:
                self._early[sid].append(seen)
            else:
                session.put_frame(room, seen)
                self._queued += 1
        return viewers

    def last(self, room: str) -> bytes | None:
        """The event that went out to a room last, since its first member joined."""
        return self._last.get(room)

    def show(self, sid: str, room: str, event: bytes) -> None:
        """Send one member of a room the entity's current location."""
        session = self.session(sid)
        if session is None:
            return
        self.watermarks.advance(room, sid, event)
        views = self.views
        packet = location_packet(event) if views is None else views.packet(room, sid, event)
        if packet is not None:
            session.put_frame(room, packet)
            self._queued += 1

    def show_all(self, room: str, event: bytes) -> bool:
        """Send everyone in a room the entity's current location; whether it is newer."""
        last = self._last.get(room)
        if last is not None and event_time(event) <= event_time(last):
            return False
        self.deliver(room, event)
        self.watermarks.advance(room, None, event)
        return True

    def session(self, sid: str, namespace: str = DEFAULT_NAMESPACE) -> Session | None:
        """A socket's Engine.IO session; ``None`` when it is gone."""
        session: Session | None = self.server.eio.sockets.get(self.eio_sid_from_sid(sid, namespace))
        return session

    def follow(self, filled: Callable[[str], None], emptied: Callable[[str], None]) -> None:
        """Tell which rooms of the default namespace have members, sockets' own left out."""
        self._followers.append((filled, emptied))
        for room in list(self.rooms.get(DEFAULT_NAMESPACE, {})):
            if room is not None and not self.is_sid_room(DEFAULT_NAMESPACE, room):
                filled(room)

    @property
    def room_count(self) -> int:
        """Rooms of the default namespace with members, each socket's own included."""
        rooms = self.rooms.get(DEFAULT_NAMESPACE, {})
        return len(rooms) - (None in rooms) - (RoomNames.AUTHENTICATED in rooms)

    # -- emits -----------------------------------------------------------------------------

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: str | Iterable[str] | None = None,
        skip_sid: str | list[str] | None = None,
        callback: Callable[..., Any] | None = None,
        to: str | Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send an event to a socket, to rooms, or to everyone, on every server.

        With a ``callback``, which needs an answer from one socket, only sockets of
        this server are reached.
        """
        target = to or room
        if callback is not None:
            await super().emit(
                event, data, namespace, room=target, skip_sid=skip_sid, callback=callback
            )
            return
        parts = self.encoded(event, data, namespace)
        rooms = None if target is None else [target] if isinstance(target, str) else list(target)
        skip = [skip_sid] if isinstance(skip_sid, str) else list(skip_sid or ())
        key = kwargs.get("conflation_key")
        self.emit_encoded(namespace, rooms, skip, parts, key)
        if self.relay is not None and not self._is_local_socket(namespace, rooms):
            self.relay(namespace, rooms, skip, parts, key)

    def send(self, sid: str, event: str, data: Any) -> None:
        """Send an event to one socket of this server; harmless when it is gone."""
        session = self.session(sid)
        if session is not None:
            for part in self.encoded(event, data, DEFAULT_NAMESPACE):
                session.put(packets.message(part))

    def encoded(self, event: str, data: Any, namespace: str) -> list[str | bytes]:
        """A Socket.IO event packet, followed by its attachments.

        As python-socketio has it, a tuple is several arguments, ``None`` is none.
        """
        arguments = [data] if data is not None else []
        if isinstance(data, tuple):
            arguments = list(data)
        encoded: str | list[str | bytes] = self.server.packet_class(
            socketio.packet.EVENT, namespace=namespace, data=[event, *arguments]
        ).encode()
        return encoded if isinstance(encoded, list) else [encoded]

    def emit_encoded(
        self,
        namespace: str,
        rooms: list[str] | None,
        skip: list[str],
        parts: list[str | bytes],
        key: str | None = None,
    ) -> None:
        """Send an encoded Socket.IO packet to the members of rooms on this server.

        :param skip: rooms whose members are left out; a socket's id is its own room.
        :param key: when given, the packet is a location frame, replaced by newer
            ones of the same key while a client lags.
        """
        encoded = [packets.message(part) for part in parts]
        skipped = {sid for sid, _ in self.get_participants(namespace, skip)} if skip else set()
        if self.views is not None and namespace == DEFAULT_NAMESPACE and rooms:
            skipped |= self._emit_views(self.views, rooms, skipped, parts)
        sockets = self.server.eio.sockets
        for sid, eio_sid in self.get_participants(namespace, rooms):
            session = sockets.get(eio_sid)
            if session is None or sid in skipped:
                continue
            if sid in self._early:
                self._early[sid] += encoded
                continue
            for packet in encoded:
                if key is not None:
                    session.put_frame(key, packet)
                    self._queued += 1
                else:
                    session.put(packet)

    def _emit_views(
        self, views: Views, rooms: list[str], skipped: set[str], parts: list[str | bytes]
    ) -> set[str]:
        """Send a position that was emitted to those who do not see it whole; returns them."""
        served: set[str] = set()
        event = emitted_location(parts)
        if event is not None:
            for room in views.by_room.keys() & rooms:
                served |= {*self._deliver_views(views, room, event, skipped | served)}
        return served

    def _is_local_socket(self, namespace: str, rooms: list[str] | None) -> bool:
        return rooms is not None and len(rooms) == 1 and bool(self.is_sid_room(namespace, rooms[0]))

    # -- python-socketio's client manager --------------------------------------------------

    def get_participants(
        self, namespace: str, room: str | Iterable[str] | None
    ) -> Iterator[tuple[str, str]]:
        """The sockets in a room, or in any of several, as (sid, Engine.IO sid)."""
        rooms = self.rooms.get(namespace, {})
        if room is None or isinstance(room, str):
            return iter(list(rooms.get(room, {}).items()))
        members: dict[str, str] = {}
        for name in room:
            members.update(rooms.get(name, {}))
        return iter(members.items())

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """The session id that an Engine.IO session has in a namespace."""
        return self._sids.get((namespace, eio_sid))

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """The Engine.IO session behind a session id."""
        try:
            eio_sid: str = self.rooms[namespace][None][sid]
        except KeyError:
            return None
        return eio_sid

    def register(self, eio_sid: str, namespace: str) -> str | None:
        """Register a connection that is yet to be accepted; ``None`` when there is one already.

        What is sent to it waits until it is.
        """
        if (namespace, eio_sid) in self._sids:
            return None
        sid: str = self.server.eio.generate_id()
        self._sids[namespace, eio_sid] = sid
        self._connecting.add(sid)
        self._early[sid] = []
        self._joined[sid] = set()
        self.rooms.setdefault(namespace, {}).setdefault(None, {})[sid] = eio_sid
        self.basic_enter_room(sid, namespace, sid)
        return sid

    def accept(self, sid: str, namespace: str, welcome: packets.Packet) -> None:
        """Accept a connection: the welcome goes first, then what has waited.

        That comes in a write of its own: a client may begin to listen with the welcome.
        """
        self._connecting.discard(sid)
        session = self.session(sid, namespace)
        if session is not None:
            session.put(welcome)
        if self._early.get(sid):
            asyncio.get_running_loop().call_later(GREETING_PAUSE, self._greet, sid, namespace)
        else:
            self._early.pop(sid, None)

    def _greet(self, sid: str, namespace: str) -> None:
        """Send what was sent to a connection before it was accepted, and since."""
        session = self.session(sid, namespace)
        for packet in self._early.pop(sid, ()):
            if session is not None:
                session.put(packet)

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """See :meth:`register`."""
        return self.register(eio_sid, namespace)

    async def connect(self, sid: str, namespace: str) -> str:  # noqa: ARG002  # their signature
        """Mark a connection as accepted."""
        self._connecting.discard(sid)
        self._early.pop(sid, None)
        return sid

    def is_pre_connected(self, sid: str, namespace: str) -> bool:  # noqa: ARG002  # likewise
        """Whether it is yet to be accepted."""
        return sid in self._connecting

    def is_connected(self, sid: str | None, namespace: str) -> bool:
        """Whether it is accepted, and not on its way out."""
        return (
            sid in self._joined
            and sid not in self._connecting
            and sid not in self._disconnecting
            and sid in self.rooms.get(namespace, {}).get(None, {})
        )

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """Mark a connection as on its way out."""
        self._disconnecting.add(sid)
        return self.eio_sid_from_sid(sid, namespace)

    def basic_disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        """Forget a connection and leave all its rooms."""
        for room in list(self._joined.pop(sid, ())):
            self._remove(sid, namespace, room)
        eio_sid = self.eio_sid_from_sid(sid, namespace)
        if eio_sid is not None:
            self._sids.pop((namespace, eio_sid), None)
        self._remove(sid, namespace, None)
        self.callbacks.pop(sid, None)
        self._connecting.discard(sid)
        self._early.pop(sid, None)
        self._disconnecting.discard(sid)

    def basic_enter_room(
        self, sid: str, namespace: str, room: str, eio_sid: str | None = None
    ) -> None:
        """Put a socket into a room.

        :raises ValueError: when it is not connected, or the room is another socket's own.
        """
        try:
            rooms = self.rooms[namespace]
            sids = rooms[None]
            eio_sid = sids[sid]
        except KeyError:
            raise ValueError("sid is not connected to requested namespace") from None
        if sid != room and room in sids:
            raise ValueError("cannot enter a sid room")
        members = rooms.get(room)
        if members is None:
            rooms[room] = {sid: eio_sid}
            if namespace == DEFAULT_NAMESPACE and sid != room:
                for filled, _ in self._followers:
                    filled(room)
        else:
            members[sid] = eio_sid
        self._joined[sid].add(room)

    def basic_leave_room(self, sid: str, namespace: str, room: str) -> None:
        """Take a socket out of a room; harmless when it is not in it."""
        joined = self._joined.get(sid)
        if joined is not None and room in joined:
            joined.discard(room)
            self._remove(sid, namespace, room)

    def get_rooms(self, sid: str, namespace: str) -> list[str]:
        """The rooms a socket is in."""
        if sid not in self.rooms.get(namespace, {}).get(None, {}):
            return []
        return list(self._joined.get(sid, ()))

    def _remove(self, sid: str, namespace: str, room: str | None) -> None:
        if self.views is not None and room is not None and namespace == DEFAULT_NAMESPACE:
            self.views.forget(room, sid)
        rooms = self.rooms.get(namespace, {})
        members = rooms.get(room)
        if members is None or members.pop(sid, None) is None or members:
            return
        del rooms[room]
        if not rooms:
            del self.rooms[namespace]
        if room is not None and namespace == DEFAULT_NAMESPACE and sid != room:
            self._last.pop(room, None)
            self.watermarks.forget(room)
            for _, emptied in self._followers:
                emptied(room)

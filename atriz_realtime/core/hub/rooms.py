"""Membership of rooms, and emits to them.

:class:`RoomManager` is python-socketio's client manager (its ``client_manager=`` seam), so
``socket_io.emit(…, room=…)``, ``enter_room``, namespaces and acknowledgements go through it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from typing import Any

import socketio
import socketio.packet

from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.core.hub.packets import StrictJson, emitted_location
from atriz_realtime.core.hub.relay import Relay
from atriz_realtime.core.hub.views import RenderedViews, Views
from atriz_realtime.core.hub.watermarks import Watermarks
from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.session import Session

DEFAULT_NAMESPACE = "/"

WELCOME_PAUSE = 0.002
"""Seconds between the answer to a CONNECT and what the ``connect`` handler sent meanwhile."""


class RoomManager(socketio.AsyncManager):
    """The sockets of this server, the rooms they are in, and emits to those rooms.

    :param views: changes what some sockets see of a location; ``None``: no plugin does.
    :param watermarks: forgets the members that leave.
    :param relay: carries emits to the other servers.
    """

    def __init__(self, views: Views | None, watermarks: Watermarks, relay: Relay) -> None:
        super().__init__()
        self._views = views
        self._watermarks = watermarks
        self._relay = relay
        self._followers: list[tuple[Callable[[str], None], Callable[[str], None]]] = []
        self._joined: dict[str, set[str]] = {}
        self._sids: dict[tuple[str, str], str] = {}
        self._connecting: set[str] = set()
        self._disconnecting: set[str] = set()
        self.unconfirmed: dict[str, list[packets.Packet]] = {}
        """Packets held back from sockets whose CONNECT is not answered yet, by sid."""
        self.frames_queued = 0
        """Location frames queued by emits and through views, since the start."""

    def follow(self, filled: Callable[[str], None], emptied: Callable[[str], None]) -> None:
        """Call ``filled`` and ``emptied`` when a room gets its first member and loses its last.

        Only rooms of the default namespace count, and no socket's own room. ``filled`` is
        called at once for the rooms that have members already.
        """
        self._followers.append((filled, emptied))
        for room in list(self.rooms.get(DEFAULT_NAMESPACE, {})):
            if room is not None and not self.is_sid_room(DEFAULT_NAMESPACE, room):
                filled(room)

    @property
    def room_count(self) -> int:
        """Rooms of the default namespace with members, each socket's own included."""
        rooms = self.rooms.get(DEFAULT_NAMESPACE, {})
        return len(rooms) - (None in rooms) - (RoomNames.AUTHENTICATED in rooms)

    def session(self, sid: str, namespace: str = DEFAULT_NAMESPACE) -> Session | None:
        """A socket's Engine.IO session; ``None`` when it has ended."""
        session: Session | None = self.server.eio.sockets.get(self.eio_sid_from_sid(sid, namespace))
        return session

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

        A ``callback`` takes the answer of one socket, so only sockets of this server are
        reached with one.
        """
        target = to or room
        rooms = None if target is None else [target] if isinstance(target, str) else list(target)
        skip = [skip_sid] if isinstance(skip_sid, str) else list(skip_sid or ())
        if callback is not None:
            for sid, _ in self.get_participants(namespace, rooms):
                if sid not in skip:
                    number = self._generate_ack_id(sid, callback)
                    self._send(sid, namespace, self.encoded(event, data, namespace, number))
            return
        parts = self.encoded(event, data, namespace)
        key = kwargs.get("conflation_key")
        self.emit_encoded(namespace, rooms, skip, parts, key)
        if rooms is None or len(rooms) != 1 or not self.is_sid_room(namespace, rooms[0]):
            self._relay.send(namespace, rooms, skip, parts, key)

    def send(self, sid: str, event: str, data: Any) -> None:
        """Send an event to one socket of this server; does nothing when it has disconnected."""
        self._send(sid, DEFAULT_NAMESPACE, self.encoded(event, data, DEFAULT_NAMESPACE))

    def _send(self, sid: str, namespace: str, parts: list[str | bytes]) -> None:
        session = self.session(sid, namespace)
        if session is not None:
            put = self.unconfirmed[sid].append if sid in self.unconfirmed else session.put
            for part in parts:
                put(packets.message(part))

    def encoded(
        self, event: str, data: Any, namespace: str, number: int | None = None
    ) -> list[str | bytes]:
        """A Socket.IO event packet, followed by its attachments.

        As in python-socketio, a tuple is several arguments and ``None`` is none.

        :param number: asks the client for an acknowledgement with this number.
        """
        arguments = data if isinstance(data, tuple) else () if data is None else (data,)
        event_data = [event, *arguments]
        try:
            text = StrictJson.dumps(event_data)
        except TypeError:  # there are bytes in it, or what has no JSON form
            encoded: list[str | bytes] = self.server.packet_class(
                socketio.packet.EVENT, namespace=namespace, data=event_data, id=number, binary=True
            ).encode()
            return encoded
        where = "" if namespace == DEFAULT_NAMESPACE else f"{namespace},"
        return [f"{socketio.packet.EVENT}{where}{'' if number is None else number}{text}"]

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
        :param key: when given, the packet is a location frame: while a client lags, a newer
            one of the same key replaces it.
        """
        encoded = [packets.message(part) for part in parts]
        skipped = {sid for sid, _ in self.get_participants(namespace, skip)} if skip else set()
        if self._views is not None and namespace == DEFAULT_NAMESPACE and rooms:
            skipped |= self._emit_through_views(self._views, rooms, skipped, parts)
        sockets = self.server.eio.sockets
        for sid, eio_sid in self.get_participants(namespace, rooms):
            session = sockets.get(eio_sid)
            if session is None or sid in skipped:
                continue
            if sid in self.unconfirmed:
                self.unconfirmed[sid] += encoded
                continue
            for packet in encoded:
                if key is not None:
                    session.put_frame(key, packet)
                    self.frames_queued += 1
                else:
                    session.put(packet)

    def _emit_through_views(
        self, views: Views, rooms: list[str], skipped: set[str], parts: list[str | bytes]
    ) -> set[str]:
        """Send an emitted location to the members of rooms that have views; returns them."""
        viewers: set[str] = set()
        event = emitted_location(parts)
        if event is not None:
            for room in views.by_room.keys() & rooms:
                viewers |= {*self.send_through_views(views, room, event, skipped | viewers)}
        return viewers

    def send_through_views(
        self, views: Views, room: str, event: bytes, skip: Container[str | None]
    ) -> Collection[str]:
        """Send a location to the members of a room that have views; returns their sids.

        :param skip: members that are sent nothing.
        """
        rendered, viewers = RenderedViews(views, event), views.by_room[room]
        members = self.rooms[DEFAULT_NAMESPACE][room]
        sockets = self.server.eio.sockets
        for sid, chain in viewers.items():
            session = sockets.get(members.get(sid))
            if session is None or sid in skip:
                continue
            packet = rendered.packet(chain)
            if packet is None:
                continue
            if sid in self.unconfirmed:
                self.unconfirmed[sid].append(packet)
            else:
                session.put_frame(room, packet)
                self.frames_queued += 1
        return viewers

    # -- connections -----------------------------------------------------------------------

    def register(self, eio_sid: str, namespace: str) -> str | None:
        """Register a connection that has yet to be accepted; ``None`` when there is one already.

        Packets sent to it are held back until :meth:`accept`.
        """
        if (namespace, eio_sid) in self._sids:
            return None
        sid: str = self.server.eio.generate_id()
        self._sids[namespace, eio_sid] = sid
        self._connecting.add(sid)
        self.unconfirmed[sid] = []
        self._joined[sid] = set()
        self.rooms.setdefault(namespace, {}).setdefault(None, {})[sid] = eio_sid
        self.basic_enter_room(sid, namespace, sid)
        return sid

    def accept(self, sid: str, namespace: str, welcome: packets.Packet) -> None:
        """Accept a connection: answer its CONNECT, then send the packets held back.

        The two leave in separate writes, because a client may add its listeners only when
        it is connected. What is sent meanwhile follows in order.
        """
        self._connecting.discard(sid)
        waiting = self.unconfirmed.pop(sid, ())
        session = self.session(sid, namespace)
        if session is None:
            return
        session.put(welcome)
        if waiting:
            session.pause_sending(WELCOME_PAUSE)
        for packet in waiting:
            session.put(packet)

    def awaits_answer(self, sid: str, number: int) -> bool:
        """Whether a socket was sent an event with this number, and has not acknowledged it."""
        return number > 0 and number in self.callbacks.get(sid, ())  # 0 holds the counter

    def disconnect_soon(self, sid: str) -> None:
        """Begin to disconnect a socket of the default namespace."""
        self.server.start_background_task(self.server.disconnect, sid)

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
        """The socket id that an Engine.IO session has in a namespace."""
        return self._sids.get((namespace, eio_sid))

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """The id of a socket's Engine.IO session."""
        try:
            eio_sid: str = self.rooms[namespace][None][sid]
        except KeyError:
            return None
        return eio_sid

    def is_connected(self, sid: str | None, namespace: str) -> bool:
        """Whether a socket is accepted, and not being disconnected."""
        return (
            sid not in self._connecting
            and sid not in self._disconnecting
            and sid in self.rooms.get(namespace, {}).get(None, {})
        )

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """Mark a socket as being disconnected; returns the id of its Engine.IO session."""
        self._disconnecting.add(sid)
        return self.eio_sid_from_sid(sid, namespace)

    def basic_disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        """Take a socket out of all its rooms and forget it."""
        for room in list(self._joined.pop(sid, ())):
            self._remove(sid, namespace, room)
        eio_sid = self.eio_sid_from_sid(sid, namespace)
        if eio_sid is not None:
            self._sids.pop((namespace, eio_sid), None)
        self._remove(sid, namespace, None)
        self.callbacks.pop(sid, None)
        self._connecting.discard(sid)
        self.unconfirmed.pop(sid, None)
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
        """Take a socket out of a room; does nothing when it is not in it."""
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
        if room is not None and namespace == DEFAULT_NAMESPACE:
            self._watermarks.forget(room, sid)
            if self._views is not None:
                self._views.forget(room, sid)
        rooms = self.rooms.get(namespace, {})
        members = rooms.get(room)
        if members is None or members.pop(sid, None) is None or members:
            return
        del rooms[room]
        if not rooms:
            del self.rooms[namespace]
        if room is not None and namespace == DEFAULT_NAMESPACE and sid != room:
            for _, emptied in self._followers:
                emptied(room)


class Membership:
    """Rooms and their members on this server: see :class:`~atriz_realtime.api.Membership`."""

    def __init__(self, rooms: RoomManager) -> None:
        self._rooms = rooms
        self.disconnect = rooms.disconnect_soon
        self.follow = rooms.follow

    def select(
        self, rooms: Collection[str], skip: Collection[str]
    ) -> Mapping[str, Collection[str]]:
        """The sockets in any of ``rooms``, or all when there are none, with their rooms."""
        manager = self._rooms
        found = dict(manager.get_participants(DEFAULT_NAMESPACE, rooms or None))
        skipped = dict(manager.get_participants(DEFAULT_NAMESPACE, skip))
        return {
            sid: manager.get_rooms(sid, DEFAULT_NAMESPACE)
            for sid in found
            if sid not in skipped and manager.is_connected(sid, DEFAULT_NAMESPACE)
        }

    def join(self, sid: str, room: str) -> None:
        """Put a socket into a room."""
        manager = self._rooms
        if manager.is_connected(sid, DEFAULT_NAMESPACE) and not manager.is_sid_room(
            DEFAULT_NAMESPACE, room
        ):
            manager.basic_enter_room(sid, DEFAULT_NAMESPACE, room)

    def leave(self, sid: str, room: str) -> None:
        """Take a socket out of a room."""
        self._rooms.basic_leave_room(sid, DEFAULT_NAMESPACE, room)

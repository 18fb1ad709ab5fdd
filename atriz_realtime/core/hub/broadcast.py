"""Sends locations to this server's watchers: encoded once, appended to every outbox."""

from __future__ import annotations

from atriz_realtime.api.contracts import Clock
from atriz_realtime.core.hub.packets import location_packet
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.hub.views import Views
from atriz_realtime.core.hub.watermarks import Watermarks, event_time

NOBODY: frozenset[str | None] = frozenset()


class LocationBroadcaster:
    """Sends ``location:update`` to the members of entities' rooms."""

    def __init__(self, rooms: RoomManager, views: Views | None, clock: Clock) -> None:
        self._rooms = rooms
        self._views = views
        self._watermarks = Watermarks(clock)
        self._last: dict[str, bytes] = {}
        self._queued = 0
        rooms.follow(lambda _: None, self._forget)

    def statistics(self) -> dict[str, float]:
        """Location frames ``queued`` for clients, and how many of them were ``conflated``."""
        rooms = self._rooms
        return {
            "queued": self._queued + rooms.frames_queued,
            "conflated": rooms.server.eio.conflated,
        }

    def broadcast(self, room: str, event: bytes) -> None:
        """Send an event's bytes as ``location:update`` to everyone in a room on this server.

        The same bytes twice in a row are sent once: a fan-out that was interrupted may
        deliver an entity's newest event again.
        """
        rooms, views = self._rooms, self._views
        members = rooms.rooms.get(DEFAULT_NAMESPACE, {}).get(room)
        if not members or self._last.get(room) == event:
            return
        self._last[room] = event
        skip = self._watermarks.already_seen(room, event) if self._watermarks else NOBODY
        if None in skip:
            return
        if views is not None and room in views.by_room:
            skip = {*skip, *rooms.send_through_views(views, room, event, skip)}
        packet = location_packet(event)
        sockets, unconfirmed = rooms.server.eio.sockets, rooms.unconfirmed
        queued = 0
        for sid, eio_sid in members.items():
            session = sockets.get(eio_sid)
            if session is None or sid in skip:
                continue
            if sid in unconfirmed:
                unconfirmed[sid].append(packet)
            else:
                session.put_frame(room, packet)
                queued += 1
        self._queued += queued

    def last(self, room: str) -> bytes | None:
        """The newest event sent to a room since its first member joined."""
        return self._last.get(room)

    def send_current(self, sid: str, room: str, event: bytes) -> None:
        """Send one member of a room the entity's current location.

        Nothing older follows: what is still on its way from the fan-out is skipped.  A socket
        that has left the room meanwhile is sent nothing.
        """
        session = self._rooms.session(sid)
        members = self._rooms.rooms.get(DEFAULT_NAMESPACE, {}).get(room, ())
        if session is None or sid not in members:
            return
        self._watermarks.advance(room, sid, event)
        views = self._views
        packet = location_packet(event) if views is None else views.packet(room, sid, event)
        if packet is None:
            return
        if sid in self._rooms.unconfirmed:
            self._rooms.unconfirmed[sid].append(packet)
        else:
            session.put_frame(room, packet)
            self._queued += 1

    def broadcast_current(self, room: str, event: bytes) -> bool:
        """Send everyone in a room the entity's current location, if it is newer than the last.

        :returns: whether it was newer, and so was sent.
        """
        last = self._last.get(room)
        if last is not None and event_time(event) <= event_time(last):
            return False
        self.broadcast(room, event)
        self._watermarks.advance(room, None, event)
        return True

    def _forget(self, room: str) -> None:
        self._last.pop(room, None)
        self._watermarks.forget(room)

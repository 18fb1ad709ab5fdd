"""Sends locations to this server's watchers: encoded once, appended to every outbox."""

from __future__ import annotations

from atriz_realtime.core.hub.packets import location_packet
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.hub.views import Views
from atriz_realtime.core.hub.watermarks import NOBODY, Watermarks, event_time


class LocationBroadcaster:
    """Sends ``location:update`` to the members of entities' rooms."""

    def __init__(self, rooms: RoomManager, views: Views | None, watermarks: Watermarks) -> None:
        self._rooms = rooms
        self._views = views
        self._watermarks = watermarks
        self._last: dict[str, bytes] = {}
        self._queued = 0
        rooms.follow(lambda _: None, self._forget)

    def statistics(self) -> dict[str, float]:
        """Location frames ``queued`` for clients, and how many of them were ``conflated``."""
        queued = self._queued + self._rooms.frames_queued
        return {"queued": queued, "conflated": self._rooms.server.eio.conflated}

    def broadcast(self, room: str, event: bytes) -> None:
        """Send an event's bytes as ``location:update`` to everyone in a room on this server.

        The same bytes twice in a row are sent once: a fan-out that was interrupted may
        deliver an entity's newest event again.
        """
        rooms, views, watermarks = self._rooms, self._views, self._watermarks
        members = rooms.rooms.get(DEFAULT_NAMESPACE, {}).get(room)
        if not members or self._last.get(room) == event:
            return
        self._last[room] = event
        skip = watermarks.already_seen(room, event) if room in watermarks.by_room else NOBODY
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
        """The last event sent live to a room since its first member joined."""
        return self._last.get(room)

    def newest(self, room: str, sid: str | None = None) -> bytes | None:
        """The newest event sent to a room, and to one of its members, live or from the cache."""
        sent, live = self._watermarks.sent(room, sid), self._last.get(room)
        if live is not None:
            sent.append(live)
        return max(sent, key=event_time, default=None)

    def send_current(self, sid: str, room: str, event: bytes) -> None:
        """Send one member of a room the entity's current location.

        The cache may be behind the room, while it cannot be written: what is newer is sent
        instead.  Nothing older follows: what is still on its way from the fan-out is skipped.
        A socket that has left the room meanwhile is sent nothing.
        """
        session = self._rooms.session(sid)
        members = self._rooms.rooms.get(DEFAULT_NAMESPACE, {}).get(room, ())
        if session is None or sid not in members:
            return
        newest = self.newest(room, sid)
        event = event if newest is None else max(event, newest, key=event_time)
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
        """Send the entity's current location to those in a room who have had nothing as new.

        :returns: whether there were any.
        """
        newest = self.newest(room)
        is_old = newest is not None and event_time(event) <= event_time(newest)
        if is_old or room not in self._rooms.rooms.get(DEFAULT_NAMESPACE, {}):
            return False
        before = self.statistics()["queued"]
        self._watermarks.hold(room)
        self.broadcast(room, event)
        self._watermarks.advance(room, None, event)
        return self.statistics()["queued"] > before

    def _forget(self, room: str) -> None:
        self._last.pop(room, None)
        self._watermarks.forget(room, None)

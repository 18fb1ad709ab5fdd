"""Sends locations to this server's watchers: encoded once, appended to every outbox."""

from __future__ import annotations

import attrs

from atriz_realtime.core.hub.packets import location_packet
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.hub.views import Views
from atriz_realtime.core.hub.watermarks import NOBODY, Watermarks, event_time


@attrs.define(eq=False)
class _Live:
    """What a room was sent live since its first member joined.

    The two differ if devices with different clocks report one entity, or one reports late.
    """

    last: bytes
    newest: bytes
    """The newest by its timestamp; of several, the last."""
    newest_time: bytes
    last_at: int
    """How many events had been broadcast, this one included, when it was."""
    newest_at: int


class LocationBroadcaster:
    """Sends ``location:update`` to the members of entities' rooms."""

    def __init__(self, rooms: RoomManager, views: Views | None, watermarks: Watermarks) -> None:
        self._rooms = rooms
        self._views = views
        self._watermarks = watermarks
        self._live: dict[str, _Live] = {}
        self._queued = 0
        self.broadcasts = 0
        """How many events have been sent to a room."""
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
        live = self._live.get(room)
        if not members or (live is not None and live.last == event):
            return
        time = event_time(event)
        skip = watermarks.already_seen(room, event, time) if room in watermarks.by_room else NOBODY
        if None in skip:
            return
        self.broadcasts = at = self.broadcasts + 1
        if live is None:
            self._live[room] = _Live(event, event, time, at, at)
        else:
            live.last, live.last_at = event, at
            if time >= live.newest_time:
                live.newest, live.newest_time, live.newest_at = event, time, at
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

    def newest(self, room: str, sid: str | None = None) -> bytes | None:
        """The newest event, by timestamp, that went out to a room since its first member joined.

        :param sid: a member that may have had a newer one from the cache.
        """
        live, watermark = self._live.get(room), self._watermarks.of(room, sid)
        if watermark is None:
            return None if live is None else live.newest
        if live is None or (live.newest_time, False) < (watermark.timestamp, watermark.is_last):
            return watermark.event
        return live.newest

    def has_sent(self, room: str, event: bytes, since: int) -> bool:
        """Whether a room was sent an event, or one as new, after so many :attr:`broadcasts`."""
        live = self._live.get(room)
        return live is not None and (
            (live.newest_at > since and live.newest_time >= event_time(event))
            or (live.last_at > since and live.last == event)
        )

    def has_newer(self, room: str, event: bytes) -> bool:
        """Whether anybody in a room has had something newer, live or from the cache."""
        live, time = self._live.get(room), event_time(event)
        watermarks = self._watermarks.by_room.get(room, {}).values()
        return (live is not None and live.newest_time > time) or any(
            watermark.timestamp > time for watermark in watermarks
        )

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
        """Send the entity's current location to those in a room who have it not, or not last.

        If the cache is behind the room, what is newer is sent instead.

        :returns: whether there were any.
        """
        live = self._live.get(room)
        if live is not None and event_time(event) <= live.newest_time:
            event = live.newest
            if event_time(live.last) == live.newest_time:
                return False
        if room not in self._rooms.rooms.get(DEFAULT_NAMESPACE, {}):
            return False
        before = self.statistics()["queued"]
        self._watermarks.hold(room)
        self.broadcast(room, event)
        self._watermarks.advance(room, None, event)
        return self.statistics()["queued"] > before

    def _forget(self, room: str) -> None:
        self._live.pop(room, None)
        self._watermarks.forget(room, None)

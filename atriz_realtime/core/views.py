"""Who sees what otherwise than it was published.

Watchers to whom views apply are members of the entity's room like all others; only what
they are sent differs.  Those who see an entity through the same views share a *viewpoint*:
a fix is read once, and changed, encoded and framed once for each viewpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs

from atriz_realtime.api.errors import PluginFailed, RealtimeError
from atriz_realtime.api.model import EntityRef, Identity, LocationEvent
from atriz_realtime.api.wire import Payload, decode_event, encode
from atriz_realtime.core.containment import Containment
from atriz_realtime.core.incidents import Incidents
from atriz_realtime.core.packets import location_packet
from atriz_realtime.engine.packets import Packet
from atriz_realtime.host.registry import Registry

T = TypeVar("T")


@attrs.frozen(eq=False)
class Step:
    """One view, and whose it is."""

    plugin: str
    what: str
    applies: Callable[[Identity, EntityRef], Awaitable[bool]]
    apply: Callable[[LocationEvent], LocationEvent | None]


Viewpoint = tuple[Step, ...]
"""The views that somebody sees an entity through, in order; none: it is seen whole."""


async def _everybody(_: Identity, __: EntityRef) -> bool:
    return True


HIDDEN: Viewpoint = (Step("", "nothing", _everybody, lambda _: None),)
"""Shows nothing."""


class Views:
    """The views that plugins registered, and the viewpoint of each watcher here."""

    def __init__(self, registry: Registry, containment: Containment, incidents: Incidents) -> None:
        self._steps = [
            Step(registry.owner(view), f"view {view.name!r}", view.applies, view.apply)
            for view in registry.views
        ]
        self._containment = containment
        self._incidents = incidents
        self.by_room: dict[str, dict[str, Viewpoint]] = {}
        """Of each room, the members that do not see it whole, by sid."""

    async def chosen(self, identity: Identity, entity: EntityRef) -> Viewpoint:
        """How an identity sees an entity; not at all when a view cannot say whether it applies."""
        viewpoint: list[Step] = []
        for step in self._steps:
            try:
                applies = await self._containment.run(
                    step.plugin, step.what, step.applies(identity, entity)
                )
            except RealtimeError as error:
                self._failed(step, error)
                return HIDDEN
            if applies:
                viewpoint.append(step)
        return tuple(viewpoint)

    def set(self, room: str, sid: str, viewpoint: Viewpoint) -> bool:
        """Note how a member of a room sees it; whether that is new."""
        if self.viewpoint(room, sid) == viewpoint:
            return False
        if viewpoint:
            self.by_room.setdefault(room, {})[sid] = viewpoint
        else:
            self.forget(room, sid)
        return True

    def viewpoint(self, room: str, sid: str) -> Viewpoint:
        """How a member of a room sees it."""
        return self.by_room.get(room, {}).get(sid, ())

    def forget(self, room: str, sid: str) -> None:
        """Forget somebody who leaves a room; harmless when they see it whole."""
        viewers = self.by_room.get(room)
        if viewers is not None and viewers.pop(sid, None) is not None and not viewers:
            del self.by_room[room]

    def shown(self, event: bytes) -> Shown:
        """What an event's bytes look like from any viewpoint."""
        return Shown(self, event)

    def packet(self, room: str, sid: str, event: bytes) -> Packet | None:
        """The frame of an event for one member of a room; ``None`` when they see nothing."""
        viewpoint = self.viewpoint(room, sid)
        return self.shown(event).packet(viewpoint) if viewpoint else location_packet(event)

    def read(self, event: bytes) -> LocationEvent | None:
        """An event to be changed; ``None`` when its bytes are no event."""
        try:
            return decode_event(event)
        except RealtimeError as error:  # another program publishes on these channels too
            self._incidents.report("unreadable fix hidden", error.message)
            return None

    def see(self, step: Step, event: LocationEvent) -> LocationEvent | None:
        """Apply one view."""
        return self._guarded(step, step.apply, event)

    def encoded(self, step: Step, event: LocationEvent) -> Payload | None:
        """Encode what a view has returned, which may be anything."""
        return self._guarded(step, encode, event)

    def _guarded(
        self, step: Step, work: Callable[[LocationEvent], T], event: LocationEvent
    ) -> T | None:
        try:
            return self._containment.call(step.plugin, step.what, work, event)
        except RealtimeError as error:
            self._failed(step, error)
            return None

    def _failed(self, step: Step, error: RealtimeError) -> None:
        """Count a view's refusal; other failures the containment has counted."""
        if not isinstance(error, PluginFailed):
            self._incidents.report(f"plugin {step.plugin} failed", f"{step.what}: {error.message}")


class Shown:
    """One event from every viewpoint that somebody has."""

    def __init__(self, views: Views, event: bytes) -> None:
        self._views = views
        self._seen: dict[Viewpoint, LocationEvent | None] = {(): views.read(event)}
        self._payloads: dict[Viewpoint, Payload | None] = {}
        self._packets: dict[Viewpoint, Packet | None] = {}

    def payload(self, viewpoint: Viewpoint) -> Payload | None:
        """The event encoded; ``None`` when there is nothing to see."""
        if viewpoint not in self._payloads:
            seen = self._see(viewpoint)
            self._payloads[viewpoint] = (
                None if seen is None else self._views.encoded(viewpoint[-1], seen)
            )
        return self._payloads[viewpoint]

    def packet(self, viewpoint: Viewpoint) -> Packet | None:
        """Its frame; ``None`` likewise."""
        if viewpoint not in self._packets:
            payload = self.payload(viewpoint)
            self._packets[viewpoint] = None if payload is None else location_packet(payload.event)
        return self._packets[viewpoint]

    def _see(self, viewpoint: Viewpoint) -> LocationEvent | None:
        """What all its views make of the event; what viewpoints begin with they share."""
        if viewpoint not in self._seen:
            before = self._see(viewpoint[:-1])
            self._seen[viewpoint] = (
                None if before is None else self._views.see(viewpoint[-1], before)
            )
        return self._seen[viewpoint]

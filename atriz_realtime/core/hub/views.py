"""Who sees what otherwise than it was published.

Watchers to whom views apply are members of the entity's room like all others; only what
they are sent differs.  Those who see an entity through the same views share a *chain*:
a fix is read once, and changed, encoded and framed once for each chain.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs

from atriz_realtime.api.errors import PluginFailed, RealtimeError
from atriz_realtime.api.model import EntityRef, Identity, LocationEvent
from atriz_realtime.api.wire import Payload, decode_event, encode
from atriz_realtime.core.hub.packets import location_packet
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.plugin_system.registry import Registry

T = TypeVar("T")


@attrs.frozen(eq=False)
class Step:
    """One view, and whose it is."""

    plugin: str
    what: str
    applies: Callable[[Identity, EntityRef], Awaitable[bool]]
    apply: Callable[[LocationEvent], LocationEvent | None]


ViewChain = tuple[Step, ...]
"""The views that somebody sees an entity through, in order; none: it is seen whole."""


async def _everybody(_: Identity, __: EntityRef) -> bool:
    return True


HIDDEN: ViewChain = (Step("", "nothing", _everybody, lambda _: None),)
"""Shows nothing."""


class Views:
    """The views that plugins registered, and the chain of each watcher here."""

    def __init__(
        self, registry: Registry, plugin_runner: PluginRunner, incidents: Incidents
    ) -> None:
        self._steps = [
            Step(registry.owner(view), f"view {view.name!r}", view.applies, view.apply)
            for view in registry.views
        ]
        self._plugin_runner = plugin_runner
        self._incidents = incidents
        self.by_room: dict[str, dict[str, ViewChain]] = {}
        """Of each room, the members that do not see it whole, by sid."""

    async def chosen(self, identity: Identity, entity: EntityRef) -> ViewChain:
        """How an identity sees an entity; not at all when a view cannot say whether it applies."""
        chain: list[Step] = []
        for step in self._steps:
            try:
                applies = await self._plugin_runner.run(
                    step.plugin, step.what, step.applies(identity, entity)
                )
            except RealtimeError as error:
                self._failed(step, error)
                return HIDDEN
            if applies:
                chain.append(step)
        return tuple(chain)

    def set(self, room: str, sid: str, chain: ViewChain) -> bool:
        """Note how a member of a room sees it; whether that is new."""
        if self.chain(room, sid) == chain:
            return False
        if chain:
            self.by_room.setdefault(room, {})[sid] = chain
        else:
            self.forget(room, sid)
        return True

    def chain(self, room: str, sid: str) -> ViewChain:
        """How a member of a room sees it."""
        return self.by_room.get(room, {}).get(sid, ())

    def forget(self, room: str, sid: str) -> None:
        """Forget somebody who leaves a room; harmless when they see it whole."""
        viewers = self.by_room.get(room)
        if viewers is not None and viewers.pop(sid, None) is not None and not viewers:
            del self.by_room[room]

    def shown(self, event: bytes) -> RenderedViews:
        """What an event's bytes look like from any chain."""
        return RenderedViews(self, event)

    def packet(self, room: str, sid: str, event: bytes) -> Packet | None:
        """The frame of an event for one member of a room; ``None`` when they see nothing."""
        chain = self.chain(room, sid)
        return self.shown(event).packet(chain) if chain else location_packet(event)

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
            return self._plugin_runner.call(step.plugin, step.what, work, event)
        except RealtimeError as error:
            self._failed(step, error)
            return None

    def _failed(self, step: Step, error: RealtimeError) -> None:
        """Count a view's refusal; other failures the plugin_runner has counted."""
        if not isinstance(error, PluginFailed):
            self._incidents.plugin_problem(step.plugin, "failed", f"{step.what}: {error.message}")


class RenderedViews:
    """One event from every chain that somebody has."""

    def __init__(self, views: Views, event: bytes) -> None:
        self._views = views
        self._seen: dict[ViewChain, LocationEvent | None] = {(): views.read(event)}
        self._payloads: dict[ViewChain, Payload | None] = {}
        self._packets: dict[ViewChain, Packet | None] = {}

    def payload(self, chain: ViewChain) -> Payload | None:
        """The event encoded; ``None`` when there is nothing to see."""
        if chain not in self._payloads:
            seen = self._see(chain)
            self._payloads[chain] = None if seen is None else self._views.encoded(chain[-1], seen)
        return self._payloads[chain]

    def packet(self, chain: ViewChain) -> Packet | None:
        """Its frame; ``None`` likewise."""
        if chain not in self._packets:
            payload = self.payload(chain)
            self._packets[chain] = None if payload is None else location_packet(payload.event)
        return self._packets[chain]

    def _see(self, chain: ViewChain) -> LocationEvent | None:
        """What all its views make of the event; what chains begin with they share."""
        if chain not in self._seen:
            before = self._see(chain[:-1])
            self._seen[chain] = None if before is None else self._views.see(chain[-1], before)
        return self._seen[chain]

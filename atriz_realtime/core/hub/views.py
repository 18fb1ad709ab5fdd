"""Watchers who see less, or something else, than was published.

Watchers with views are members of the entity's room like all others; only what they are
sent differs. Those who see an entity through the same views share a :data:`ViewChain`: an
event is decoded once, and changed, encoded and framed once for each chain.
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
from atriz_realtime.core.runtime.plugin_runner import PluginRunner, awaiting
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.plugin_system.registry import Registry

T = TypeVar("T")


@attrs.frozen(eq=False)
class ViewStep:
    """One view, and the plugin that registered it."""

    plugin: str
    what: str
    """How the log names it."""
    applies: Callable[[Identity, EntityRef], Awaitable[bool]]
    apply: Callable[[LocationEvent], LocationEvent | None]


ViewChain = tuple[ViewStep, ...]
"""The views that a watcher sees an entity through, in order; empty when nothing is changed."""


async def _always(_: Identity, __: EntityRef) -> bool:
    return True


HIDDEN: ViewChain = (ViewStep("", "nothing", _always, lambda _: None),)
"""Shows nothing."""


class Views:
    """The views that plugins registered, and the chain of each watcher on this server."""

    def __init__(
        self, registry: Registry, plugin_runner: PluginRunner, incidents: Incidents
    ) -> None:
        self._steps = [
            ViewStep(
                registry.owner(view), f"view {view.name!r}", awaiting(view.applies), view.apply
            )
            for view in registry.views
        ]
        self._plugin_runner = plugin_runner
        self._incidents = incidents
        self.by_room: dict[str, dict[str, ViewChain]] = {}
        """The members of each room that have views, by sid."""

    async def chain(self, identity: Identity, entity: EntityRef) -> ViewChain:
        """The views that apply when an identity watches an entity.

        :data:`HIDDEN` when a view fails to say whether it applies.
        """
        chain: list[ViewStep] = []
        for step in self._steps:
            try:
                answer: object = await self._plugin_runner.run(
                    step.plugin, step.what, step.applies(identity, entity)
                )
                applies = self._plugin_runner.decision(step.plugin, step.what, answer)
            except RealtimeError as error:
                self._report(step, error)
                return HIDDEN
            if applies:
                chain.append(step)
        return tuple(chain)

    def set(self, room: str, sid: str, chain: ViewChain) -> bool:
        """Set the chain of a member of a room; returns whether it has changed."""
        if self._chain_of(room, sid) == chain:
            return False
        if chain:
            self.by_room.setdefault(room, {})[sid] = chain
        else:
            self.forget(room, sid)
        return True

    def forget(self, room: str, sid: str) -> None:
        """Drop the chain of a member that leaves a room, if it has one."""
        viewers = self.by_room.get(room)
        if viewers is not None and viewers.pop(sid, None) is not None and not viewers:
            del self.by_room[room]

    def has_failed(self, room: str, sid: str) -> bool:
        """Whether a member sees nothing because a view failed to say whether it applies."""
        return self._chain_of(room, sid) is HIDDEN

    def packet(self, room: str, sid: str, event: bytes) -> Packet | None:
        """The frame of an event for one member of a room; ``None`` when a view hides it."""
        chain = self._chain_of(room, sid)
        return RenderedViews(self, event).packet(chain) if chain else location_packet(event)

    def _chain_of(self, room: str, sid: str) -> ViewChain:
        return self.by_room.get(room, {}).get(sid, ())

    def decode(self, event: bytes) -> LocationEvent | None:
        """Decode an event; ``None`` when the bytes are not an event.

        Other programs publish on these channels too.
        """
        try:
            return decode_event(event)
        except RealtimeError as error:
            self._incidents.report("unreadable fix hidden", error.message)
            return None

    def guarded(
        self, step: ViewStep, work: Callable[[LocationEvent], T], event: LocationEvent
    ) -> T | None:
        """What ``work`` returns for an event; ``None`` when it fails, which a view is to blame for.

        :param step: the view that is applied, or that has returned the event.
        """
        try:
            return self._plugin_runner.call(step.plugin, step.what, work, event)
        except RealtimeError as error:
            self._report(step, error)
            return None

    def _report(self, step: ViewStep, error: RealtimeError) -> None:
        """Count an error that a view raised on purpose; the plugin runner counts all others."""
        if not isinstance(error, PluginFailed):
            self._incidents.plugin_problem(step.plugin, "failed", step.what, error.message)


class RenderedViews:
    """One event as each chain of views shows it; rendered when it is first asked for."""

    def __init__(self, views: Views, event: bytes) -> None:
        self._views = views
        self._events: dict[ViewChain, LocationEvent | None] = {(): views.decode(event)}
        self._packets: dict[ViewChain, Packet | None] = {}

    def payload(self, chain: ViewChain) -> Payload | None:
        """The encoded event; ``None`` when the chain hides it."""
        event = self._event(chain)
        return None if event is None else self._views.guarded(chain[-1], encode, event)

    def packet(self, chain: ViewChain) -> Packet | None:
        """The event's frame; ``None`` when the chain hides it."""
        if chain not in self._packets:
            payload = self.payload(chain)
            self._packets[chain] = None if payload is None else location_packet(payload.event)
        return self._packets[chain]

    def _event(self, chain: ViewChain) -> LocationEvent | None:
        """Apply a chain; chains that begin alike share their first steps."""
        if chain not in self._events:
            before, step = self._event(chain[:-1]), chain[-1]
            self._events[chain] = (
                None if before is None else self._views.guarded(step, step.apply, before)
            )
        return self._events[chain]

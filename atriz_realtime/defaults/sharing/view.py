"""What the holders of links are shown of a location.

Of ``metadata`` they see nothing but the configured fields, under the names of
:data:`~atriz_realtime.defaults.sharing.details.SHOWN`, and of these only what their link shows.
The server leaves out the rest, not the page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from atriz_realtime.api import (
    EntityRef,
    Identity,
    InvalidLocation,
    LocationEvent,
    View,
    format_timestamp,
    parse_timestamp,
)
from atriz_realtime.defaults.privacy import PrivacyRule, Rule, coarse
from atriz_realtime.defaults.sharing.details import Destination
from atriz_realtime.defaults.sharing.settings import SharingSettings
from atriz_realtime.defaults.sharing.text import first_name, text_of
from atriz_realtime.defaults.sharing.tokens import NAME, SHOW_CLAIM

AFTER_END = 10_000.0
"""Metres to which positions are rounded once the status of a shared entity is the last step: what
it does next is not the business of whoever waited for it."""


def views(settings: SharingSettings) -> list[View]:
    """The view of all holders, and one for each field that a link may leave out."""
    if not settings.hide and not settings.fields:
        return []
    shown = SharedLocation(settings).apply
    return [
        View(NAME, _has_link, shown),
        *(
            View(
                f"{NAME}:{field}", _leaves_out(field), _without(field, settings.steps[-1]), order=1
            )
            for field in settings.fields
        ),
    ]


async def _has_link(identity: Identity, _: EntityRef) -> bool:
    return identity.authenticator == NAME


def _leaves_out(field: str) -> Callable[[Identity, EntityRef], Awaitable[bool]]:
    async def applies(identity: Identity, _: EntityRef) -> bool:
        show = identity.claims.get(SHOW_CLAIM)
        return identity.authenticator == NAME and show is not None and field not in show

    return applies


def _without(field: str, end: str) -> Callable[[LocationEvent], LocationEvent]:
    """Leave out a field, except the status that ends the page: the position is no longer exact,
    and the page must not show it as if it were.
    """

    def apply(event: LocationEvent) -> LocationEvent:
        metadata = event.location.metadata
        if metadata is None or field not in metadata:
            return event
        if field == "status" and metadata[field] == end:
            return event
        rest = {name: value for name, value in metadata.items() if name != field}
        return attrs.evolve(event, location=attrs.evolve(event.location, metadata=rest or None))

    return apply


class SharedLocation:
    """Leaves out what is hidden, and picks the configured fields of ``metadata``."""

    def __init__(self, settings: SharingSettings) -> None:
        self._paths = {name: path.split(".") for name, path in settings.fields.items()}
        self._steps = settings.steps
        self._hide = Rule(PrivacyRule(hide=settings.hide)).apply if settings.hide else _unchanged
        self._end = Rule(PrivacyRule(hide=("speed", "heading", "accuracy", "altitude"))).apply

    def apply(self, event: LocationEvent) -> LocationEvent:
        """The event as every holder may see it."""
        metadata = event.location.metadata
        event = self._hide(event)
        if metadata is None or not self._paths:
            return event
        picked = {name: self._picked(name, metadata) for name in self._paths}
        found = {name: value for name, value in picked.items() if value is not None}
        location = attrs.evolve(event.location, metadata=found or None)
        if found.get("status") == self._steps[-1]:
            latitude, longitude = coarse(location.latitude, location.longitude, AFTER_END)
            location = attrs.evolve(location, latitude=latitude, longitude=longitude)
            return self._end(attrs.evolve(event, location=location))
        return attrs.evolve(event, location=location)

    def _picked(self, name: str, metadata: Mapping[str, Any]) -> object:
        """What a field is set to, in the form that the page expects; ``None`` for anything else."""
        value: Any = metadata
        for key in self._paths[name]:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        match name:
            case "destination":
                found = Destination.read(value)
                return None if found is None else found.to_wire()
            case "eta" | "since":
                return _time(value)
        text = text_of(value)
        if name == "status":
            return text if text in self._steps else None
        if name == "driver" and text is not None:
            return first_name(text)
        return text


def _unchanged(event: LocationEvent) -> LocationEvent:
    return event


def _time(value: object) -> str | None:
    try:
        return format_timestamp(parse_timestamp(value))
    except InvalidLocation:
        return None

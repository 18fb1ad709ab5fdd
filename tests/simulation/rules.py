"""A plugin of the simulation: a throttled type, permissions that take time, and a filter.

The permissions are a table that all servers read, as a database would be: an answer is as
old as the way back from it.
"""

from __future__ import annotations

import asyncio

import attrs

from atriz_realtime.api import (
    Authorizer,
    EntityRef,
    EntityType,
    Filter,
    Identity,
    LocationEvent,
    hookimpl,
)


@attrs.define
class Rules:
    """What the plugin of every server reads."""

    latency: float = 0.0
    """Seconds that an authorizer takes."""
    filtering: float = 0.0
    """Seconds that the filter takes."""
    denied: set[tuple[str, str]] = attrs.field(factory=set)
    """Who may not track what: (user, entity)."""


current = Rules()


async def _may_track(identity: Identity, entity: EntityRef) -> bool:
    rules = current
    await asyncio.sleep(rules.latency / 2)
    allowed = (identity.user_id, str(entity)) not in rules.denied
    await asyncio.sleep(rules.latency / 2)
    return allowed


async def _filtered(event: LocationEvent) -> LocationEvent | None:
    if current.filtering:
        await asyncio.sleep(current.filtering)
    return None if (event.location.metadata or {}).get("bad") else event


@hookimpl
def register_entity_types() -> EntityType:
    return EntityType("parcel")


@hookimpl
def register_authorizers() -> Authorizer:
    return Authorizer("simulation", may_track=_may_track)


@hookimpl
def register_filters() -> Filter:
    return Filter("simulation", _filtered)

"""A plugin with an authorizer: a token lists the ids that its bearer may track."""

from __future__ import annotations

from atriz_realtime.api import Authorizer, EntityRef, Identity, hookimpl


async def listed(identity: Identity, entity: EntityRef) -> bool:
    """Whether the claim ``ids`` holds the entity's id."""
    return entity.id in identity.claims.get("ids", ())


@hookimpl
def register_authorizers() -> Authorizer:
    """Register the rule, for tracking alone."""
    return Authorizer("claimed-ids", may_track=listed)

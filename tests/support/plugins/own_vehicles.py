"""A plugin with an authorizer: user ``u1`` may track and publish only ``u1-…``."""

from __future__ import annotations

from atriz_realtime.api import Authorizer, EntityRef, Identity, hookimpl


async def own(identity: Identity, entity: EntityRef) -> bool:
    """Whether the entity's id begins with the user's."""
    return entity.id.startswith(f"{identity.user_id}-")


@hookimpl
def register_authorizers() -> Authorizer:
    """Register the rule, for tracking and for publishing."""
    return Authorizer("own-vehicles", may_track=own, may_publish=own)

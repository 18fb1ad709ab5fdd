"""How often an entity's fixes go out."""

from __future__ import annotations

from typing import Literal, Protocol

import attrs

from atriz_realtime.api.model import EntityRef, Location


@attrs.frozen
class Verdict:
    """What a throttle decides about one fix."""

    outcome: Literal["pass", "drop", "hold"]
    """``pass``: goes out now.  ``drop``: is cached, not sent.  ``hold``: is cached, and sent
    after ``delay`` unless a newer one comes."""
    delay: float = 0.0
    """For ``hold``: seconds until the newest held fix of the entity goes out."""


PASS = Verdict("pass")
"""Publish it now."""
DROP = Verdict("drop")
"""Do not send it to watchers."""


class ThrottlePolicy(Protocol):
    """How often an entity's fixes go out.  One instance serves one entity type."""

    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        """Decide about a fix.

        Called once for each fix in the order of arrival.  A fix that is held
        replaces the one held before it, and is published when its delay is over
        without being asked about again; one that passes discards a held one.
        Memory is bounded by the policy itself.
        """

"""The contract of throttling policies."""

from __future__ import annotations

import math
from typing import Literal, Protocol

import attrs

from atriz_realtime.api.model import EntityRef, Location


@attrs.frozen
class Verdict:
    """What a throttle decides about one fix."""

    outcome: Literal["pass", "drop", "hold"] = attrs.field(
        validator=attrs.validators.in_(("pass", "drop", "hold"))
    )
    """``pass``: send it now.  ``drop``: cache it, but do not send it; while an older fix is held,
    it takes its place.  ``hold``: cache it, and send it after ``delay`` unless a newer one
    replaces it, on this server or on another."""
    delay: float = attrs.field(default=0.0)
    """For ``hold``: seconds until the newest held fix of the entity is sent; finite, from 0 on."""

    @delay.validator
    def _check_delay(self, _: object, value: float) -> None:
        if not 0 <= value < math.inf:  # false for NaN, which would break the loop's timers
            raise ValueError(f"delay must be a finite number of seconds from 0 on, not {value!r}")


PASS = Verdict("pass")
"""Publish it now."""
DROP = Verdict("drop")
"""Do not send it to watchers."""


class ThrottlePolicy(Protocol):
    """Limits how often an entity's fixes are sent.  One instance serves one entity type."""

    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        """Decide about a fix.

        Called once for each fix that the filters pass, in that order.  A held fix replaces an
        older one held before it, and is published after its delay without another call;
        a fix that passes discards an older held one.  The policy must bound its own memory.
        """

"""An authorizer that reads from a token's claims which entities the user may track and publish.

The claim is an object that maps each entity type to ``"*"``, an id, a pattern, or a list of those.
A type that is not in it is refused.  A claim that is missing, too large or malformed allows
nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from atriz_realtime.api import Authorizer, EntityRef, Identity, PluginConfig, hookimpl

MAX_RULES = 1_000
"""Ids and patterns of one type in a claim; a claim with more allows nothing."""

MAX_RULE_LENGTH = 256
"""Characters of an id or pattern; a claim with a longer one allows nothing."""

MAX_STARS = 4
"""Stars in one pattern, which bounds the time of a match."""


@attrs.frozen(kw_only=True)
class ClaimsSettings:
    """The table ``[realtime.plugins.claims]``."""

    track: str | None = None
    """The claim that lists the entities a user may track and read; none: all of them."""
    publish: str | None = None
    """The claim that lists the entities a user may publish; none: all of them."""


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern matches a whole text; ``*`` stands for any characters."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    last = rest.pop()
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    start, end = len(first), len(text) - len(last)
    for part in rest:
        found = text.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True


def is_rule(rule: object) -> bool:
    """Whether an item of a claim is an id or a pattern within the limits."""
    return (
        isinstance(rule, str) and 0 < len(rule) <= MAX_RULE_LENGTH and rule.count("*") <= MAX_STARS
    )


def allows(claim: Any, entity: EntityRef) -> bool:
    """Whether a claim allows an entity."""
    rules = claim.get(entity.type) if isinstance(claim, dict) else None
    if isinstance(rules, str):
        rules = [rules]
    if not isinstance(rules, list) or len(rules) > MAX_RULES or not all(map(is_rule, rules)):
        return False
    return any(matches(rule, entity.id) for rule in rules)


def rule_of(name: str | None) -> Callable[[Identity, EntityRef], Awaitable[bool]] | None:
    """The authorizer's callable for one claim; ``None`` when none is configured."""
    if name is None:
        return None

    async def may(identity: Identity, entity: EntityRef) -> bool:
        return allows(identity.claims.get(name), entity)

    return may


@hookimpl
def register_settings() -> type[ClaimsSettings]:
    """Return the settings class."""
    return ClaimsSettings


@hookimpl
def register_authorizers(config: PluginConfig) -> Authorizer | None:
    """Register the authorizer, when a claim is configured."""
    settings = config.load(ClaimsSettings)
    if settings.track is None and settings.publish is None:
        return None
    return Authorizer(
        "claims", may_track=rule_of(settings.track), may_publish=rule_of(settings.publish)
    )

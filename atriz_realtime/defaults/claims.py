"""An authorizer that reads from a token's claims what its holder may watch and publish.

The claim is an object from types to what is allowed of each: ``"*"``, an id, a pattern,
or a list of those.  A type that is not named is refused, and so is a claim that is
missing, too large or of another form, as a whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from atriz_realtime.api import Authorizer, EntityRef, Identity, PluginConfig, hookimpl

MAX_RULES = 1_000
"""Ids and patterns in one claim; one with more allows nothing."""

MAX_RULE_LENGTH = 256
"""Characters of an id or pattern in a claim; a longer one makes the claim allow nothing."""

MAX_STARS = 4
"""Stars in one pattern, which bounds the time that matching takes."""


@attrs.frozen(kw_only=True)
class ClaimsSettings:
    """The table ``[realtime.plugins.claims]``."""

    track: str | None = None
    """The claim that says what may be watched and read; none: everything."""
    publish: str | None = None
    """The claim that says what may be published; none: everything."""


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern matches a whole text: ``*`` is any characters, all else is itself."""
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


def rules_of(allowed: object) -> list[str] | None:
    """What a claim allows of one type, as patterns; ``None`` when it is malformed."""
    rules = [allowed] if isinstance(allowed, str) else allowed
    if not isinstance(rules, list) or len(rules) > MAX_RULES:
        return None
    for rule in rules:
        if not isinstance(rule, str) or not 0 < len(rule) <= MAX_RULE_LENGTH:
            return None
        if rule.count("*") > MAX_STARS:
            return None
    return rules


def allows(claim: Any, entity: EntityRef) -> bool:
    """Whether a claim allows an entity."""
    if not isinstance(claim, dict):
        return False
    rules = rules_of(claim.get(entity.type))
    return rules is not None and any(matches(rule, entity.id) for rule in rules)


def rule_of(name: str | None) -> Callable[[Identity, EntityRef], Awaitable[bool]] | None:
    """The authorizer's function for one claim."""
    if name is None:
        return None

    async def may(identity: Identity, entity: EntityRef) -> bool:
        return allows(identity.claims.get(name), entity)

    return may


@hookimpl
def register_settings() -> type[ClaimsSettings]:
    """The plugin's own table."""
    return ClaimsSettings


@hookimpl
def register_authorizers(config: PluginConfig) -> Authorizer | None:
    """Register the authorizer, when a claim is named."""
    settings = config.load(ClaimsSettings)
    if settings.track is None and settings.publish is None:
        return None
    return Authorizer(
        "claims", may_track=rule_of(settings.track), may_publish=rule_of(settings.publish)
    )

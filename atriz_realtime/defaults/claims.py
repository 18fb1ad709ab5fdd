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

MAX_READ = 10_000
"""Claims, by entity type, of which the rules stay in memory; beyond, the oldest is read again."""


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


class Rules:
    """The rules for one type in one claim.

    :param rules: what the claim has for the type.
    """

    def __init__(self, rules: Any) -> None:
        if isinstance(rules, str):
            rules = [rules]
        if not isinstance(rules, list) or len(rules) > MAX_RULES or not all(map(is_rule, rules)):
            rules = []
        self._ids = {rule for rule in rules if "*" not in rule}
        self._patterns: dict[tuple[int, int], dict[tuple[str, str], list[str]]] = {}
        for rule in rules:
            if "*" in rule:
                first, last = rule[: rule.index("*")], rule[rule.rindex("*") + 1 :]
                same_lengths = self._patterns.setdefault((len(first), len(last)), {})
                same_lengths.setdefault((first, last), []).append(rule)

    def allow(self, text: str) -> bool:
        """Whether a rule matches; only patterns with the same beginning and end are tried."""
        return text in self._ids or any(
            matches(rule, text)
            for (first, last), patterns in self._patterns.items()
            for rule in patterns.get((text[:first], text[max(len(text) - last, 0) :]), ())
        )


class ClaimRules:
    """The rules of claims, each read once: a token is asked about many entities."""

    def __init__(self) -> None:
        self._read: dict[tuple[int, str], tuple[Any, Rules]] = {}

    def allow(self, claim: Any, entity: EntityRef) -> bool:
        """Whether a claim allows an entity."""
        if not isinstance(claim, dict):
            return False
        key = (id(claim), entity.type)
        found = self._read.get(key)
        if found is None:
            if len(self._read) >= MAX_READ:
                del self._read[next(iter(self._read))]
            found = self._read[key] = claim, Rules(claim.get(entity.type))  # the id stays in use
        return found[1].allow(entity.id)


def rule_of(name: str | None) -> Callable[[Identity, EntityRef], Awaitable[bool]] | None:
    """The authorizer's callable for one claim; ``None`` when none is configured."""
    if name is None:
        return None

    rules = ClaimRules()

    async def may(identity: Identity, entity: EntityRef) -> bool:
        return rules.allow(identity.claims.get(name), entity)

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

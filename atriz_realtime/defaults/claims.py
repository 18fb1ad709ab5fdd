"""An authorizer that reads from a token's claims which entities the user may track and publish.

The claim is an object that maps each entity type to ``"*"``, an id, a pattern, or a list of those.
A type that is not in it is refused.  A claim that is missing, too large or malformed allows
nothing.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable

import attrs

from atriz_realtime.api import Authorizer, EntityRef, Identity, PluginConfig, Resources, hookimpl

MAX_RULES = 1_000
"""Ids and patterns of one type in a claim; a claim with more allows nothing."""

MAX_RULE_LENGTH = 256
"""Characters of an id or pattern; a claim with a longer one allows nothing."""

MAX_STARS = 4
"""Stars in one pattern, which bounds the time of a match."""

NO_OBJECT = 'not an object that maps types to ids, such as {"vehicle": ["v1", "v2"]}'

GLOBS_PER_TURN = 16
"""Patterns other than ids, `head*` and `*tail` that are tried for each id without a pause; with
more of them, a check first gives the event loop a turn."""


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


class Prefixes:
    """A set of texts, to find out whether another text begins with one of them.

    None of them begins with another one, so only the last that sorts before a text can be its
    prefix.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._sorted: list[str] = []
        for text in sorted(texts):
            if not self._sorted or not text.startswith(self._sorted[-1]):
                self._sorted.append(text)

    def match(self, text: str) -> bool:
        """Whether the text begins with one of them."""
        place = bisect_right(self._sorted, text)
        return place > 0 and text.startswith(self._sorted[place - 1])


class Rules:
    """The rules of a claim for one entity type, as an index.

    :param rules: ids and patterns.
    """

    def __init__(self, rules: Iterable[str]) -> None:
        self._ids: set[str] = set()
        prefixes, suffixes = [], []
        self.globs: list[str] = []
        """The patterns with text before and after a star, or with several: they are tried one after
        another."""
        for rule in rules:
            star = rule.find("*")
            if star < 0:
                self._ids.add(rule)
            elif star == len(rule) - 1:
                prefixes.append(rule[:-1])
            elif rule.rfind("*") == 0:
                suffixes.append(rule[:0:-1])
            else:
                self.globs.append(rule)
        self._prefixes = Prefixes(prefixes)
        self._suffixes = Prefixes(suffixes)  # reversed

    def allow(self, text: str) -> bool:
        """Whether a rule matches the whole text."""
        return (
            text in self._ids
            or self._prefixes.match(text)
            or self._suffixes.match(text[::-1])
            or any(matches(glob, text) for glob in self.globs)
        )


def read_rules(claimed: object) -> Rules | None:
    """Index what a claim has for a type; ``None`` when it is malformed or too large."""
    rules = [claimed] if isinstance(claimed, str) else claimed
    if not isinstance(rules, list) or len(rules) > MAX_RULES or not all(map(is_rule, rules)):
        return None
    return Rules(rules)


def rule_of(
    name: str | None, resources: Resources
) -> Callable[[Identity, EntityRef], Awaitable[bool]] | None:
    """The authorizer's callable for one claim; ``None`` when none is configured."""
    if name is None:
        return None

    async def may(identity: Identity, entity: EntityRef) -> bool:
        claim = identity.claims.get(name, {})
        if not isinstance(claim, dict):
            if ("claims", name) not in identity.memo:
                identity.memo["claims", name] = None
                resources.report("claim ignored", f"{name}: {NO_OBJECT}")
            return False
        if entity.type not in claim:
            return False
        key = "claims", name, entity.type
        rules = identity.memo.get(key)
        if rules is None:
            rules = read_rules(claim[entity.type])
            if rules is None:
                problem = f"malformed, or more than {MAX_RULES:,} ids and patterns"
                resources.report("claim ignored", f"{name}, {entity.type}: {problem}")
                rules = Rules(())
            identity.memo[key] = rules
        if len(rules.globs) > GLOBS_PER_TURN:
            await asyncio.sleep(0)
        allowed: bool = rules.allow(entity.id)
        return allowed

    return may


@hookimpl
def register_settings() -> type[ClaimsSettings]:
    """Return the settings class."""
    return ClaimsSettings


@hookimpl
def register_authorizers(config: PluginConfig, resources: Resources) -> Authorizer | None:
    """Register the authorizer, when a claim is configured."""
    settings = config.load(ClaimsSettings)
    if settings.track is None and settings.publish is None:
        return None
    return Authorizer(
        "claims",
        may_track=rule_of(settings.track, resources),
        may_publish=rule_of(settings.publish, resources),
    )

"""Applies a limit to each server on its own, or to all servers that share a Redis."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

import attrs
from redis.exceptions import RedisError

from atriz_realtime.api import (
    DROP,
    PASS,
    ConfigurationError,
    EntityRef,
    Location,
    RedisLink,
    Resources,
    ThrottlePolicy,
    Unavailable,
    Verdict,
)

KEY_PREFIX = "realtime:throttle:"
"""Keys are ``realtime:throttle:<policy>:<type>:<id>`` after the ``redis_prefix``, one for each
entity, and always expire."""

Scope = Literal["cluster", "server"]


@attrs.frozen(kw_only=True)
class ScopeOptions:
    """The options that all policies of this plugin share."""

    scope: Scope | None = None
    """``cluster``: one limit for all servers that share the Redis.  ``server``: one for each
    server.  Default: ``cluster`` when a Redis is configured."""


class Limit(Protocol):
    """A limit on one entity type's fixes, decided in this process or by a script in Redis."""

    name: ClassVar[str]
    """The name of the policy."""
    script: ClassVar[str]
    """The decision in Redis: with the entity's key, it returns 1 when a fix passes, else 0."""

    def arguments(self, location: Location) -> tuple[str | float, ...]:
        """The script's arguments."""

    def admit(self, entity_id: str, location: Location) -> bool:
        """Decide in this process, and record a fix that passes."""

    def note(self, entity_id: str, location: Location) -> None:
        """Record a fix that Redis let pass."""


class ServerWide:
    """A limit of this server."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit

    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        """Pass or drop a fix."""
        return PASS if self._limit.admit(entity.id, location) else DROP


class ClusterWide:
    """One limit for all servers; while Redis is away, each server has its own.

    Fixes that Redis lets pass are recorded here as well, so that an outage does not start with
    an empty record.
    """

    def __init__(self, limit: Limit, resources: Resources, link: RedisLink) -> None:
        self._limit = limit
        self._keys = f"{resources.settings['redis_prefix']}{KEY_PREFIX}{limit.name}:"
        self._report = resources.report
        self._link = link

    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        """Pass or drop a fix."""
        limit = self._limit
        keys = (f"{self._keys}{entity.type}:{entity.id}",)
        try:
            passes = await self._link.evaluate(limit.script, keys, limit.arguments(location))
        except (Unavailable, RedisError) as error:  # unreachable, or read-only
            self._report("throttle without redis", f"{limit.name} limits each server: {error}")
            return PASS if limit.admit(entity.id, location) else DROP
        if not passes:
            return DROP
        limit.note(entity.id, location)
        return PASS


def scoped(limit: Limit, scope: Scope | None, resources: Resources) -> ThrottlePolicy:
    """Make a policy of a limit and a scope.

    :raises ConfigurationError: for the scope ``cluster`` without a Redis.
    """
    if scope == "server" or (scope is None and resources.redis is None):
        return ServerWide(limit)
    if resources.redis is None:
        raise ConfigurationError(
            f'throttle {limit.name!r}: scope = "cluster" needs a redis_url (REDIS_URL)',
            field="scope",
        )
    return ClusterWide(limit, resources, resources.redis)

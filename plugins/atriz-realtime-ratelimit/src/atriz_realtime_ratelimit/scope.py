"""Where a limit holds: on each server by itself, or on all that share a Redis."""

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
"""Keys are ``realtime:throttle:<policy>:<type>:<id>`` after the ``redis_prefix``, one an
entity, and always expire."""

Scope = Literal["cluster", "server"]


@attrs.frozen(kw_only=True)
class ScopeOptions:
    """What the options of every policy of this plugin have."""

    scope: Scope | None = None
    """``cluster``: one limit on all servers that share the Redis.  ``server``: each has its
    own.  Default: ``cluster`` where a Redis is configured."""


class Limit(Protocol):
    """A limit on one entity type's fixes, decided in this process or by a script in Redis."""

    name: ClassVar[str]
    """The policy's."""
    script: ClassVar[str]
    """Decides in Redis: handed the entity's one key, returns 1 to let a fix pass, else 0."""

    def arguments(self, location: Location) -> tuple[str | float, ...]:
        """The script's arguments."""

    def admit(self, entity_id: str, location: Location) -> bool:
        """Decide in this process, and remember what passes."""

    def note(self, entity_id: str, location: Location) -> None:
        """Remember what passed by a decision of Redis."""


class ServerWide:
    """The limit of this server alone."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit

    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        """Pass or drop."""
        return PASS if self._limit.admit(entity.id, location) else DROP


class ClusterWide:
    """One limit on all servers; while Redis does not decide, each server's own.

    What Redis let pass is remembered here too, so that its absence does not begin with
    every entity's fixes passing afresh.
    """

    def __init__(self, limit: Limit, resources: Resources, link: RedisLink) -> None:
        self._limit = limit
        self._keys = f"{resources.settings['redis_prefix']}{KEY_PREFIX}{limit.name}:"
        self._report = resources.report
        self._link = link

    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        """Pass or drop."""
        limit = self._limit
        keys = (f"{self._keys}{entity.type}:{entity.id}",)
        try:
            passes = await self._link.evaluate(limit.script, keys, limit.arguments(location))
        except (Unavailable, RedisError) as error:  # out of reach, or refuses to write
            self._report("throttle without redis", f"{limit.name} limits each server: {error}")
            return PASS if limit.admit(entity.id, location) else DROP
        if not passes:
            return DROP
        limit.note(entity.id, location)
        return PASS


def scoped(limit: Limit, scope: Scope | None, resources: Resources) -> ThrottlePolicy:
    """The limit as a policy of this scope.

    :raises ConfigurationError: for a cluster without a Redis.
    """
    if scope == "server" or (scope is None and resources.redis is None):
        return ServerWide(limit)
    if resources.redis is None:
        raise ConfigurationError(
            f'throttle {limit.name!r}: scope = "cluster" needs a redis_url (REDIS_URL)',
            field="scope",
        )
    return ClusterWide(limit, resources, resources.redis)

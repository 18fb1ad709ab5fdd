"""Revocation: of identities that no longer hold, and of what sockets track."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from atriz_realtime.api.errors import InvalidRequest
from atriz_realtime.api.model import EntityRef, as_id
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.clients.gateway import Gateway
from atriz_realtime.core.clients.subscriptions import Subscriptions
from atriz_realtime.core.hub.signals import Signals
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.runtime.incidents import Incidents

REVOKE = "atriz:revoke"
"""The signal that takes a user's sockets out of an entity's room."""

RECHECK = "atriz:recheck"
"""The signal after which every server asks the authorizers again."""

BATCH = 200
"""Sockets that are checked in one turn of the event loop."""

ENFORCE_PAUSE = 0.1
"""Minimum seconds between two rounds in which the guards are asked about every socket."""


class Permissions:
    """See :class:`~atriz_realtime.api.Permissions`; asks the authenticators again, too.

    :param interval: seconds between two rounds of asking the authenticators.
    """

    def __init__(
        self,
        access: AccessControl,
        gateway: Gateway,
        subscriptions: Subscriptions,
        signals: Signals,
        incidents: Incidents,
        pipeline: Pipeline,
        interval: float,
    ) -> None:
        self._access = access
        self._gateway = gateway
        self._subscriptions = subscriptions
        self._signals = signals
        self._incidents = incidents
        self._pipeline = pipeline
        self._interval = interval
        self.guard = access.add_guard
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_enforcing = False
        self._enforce_again = False
        signals.listen(REVOKE, self._revoked)
        signals.listen(RECHECK, self._start_recheck)
        signals.on_gap(self._start_recheck)  # in a task: when all other handlers have been called

    def start(self) -> None:
        """Revalidate the identities of this server in the background, if an authenticator can."""
        if self._access.can_recheck:
            self._begin(self._revalidate(), name="identity revalidator")

    def enforce(self) -> None:
        """Begin to disconnect the sockets of this server whose identity a guard refuses."""
        self._enforce_again = True
        if not self._is_enforcing:
            self._is_enforcing = True
            self._begin(self._enforce())

    async def _enforce(self) -> None:
        """Ask the guards about every socket; calls that come meanwhile share one more round."""
        while self._enforce_again:
            self._enforce_again = False
            for number, (sid, identity) in enumerate(self._gateway.identities(), start=1):
                if not self._access.is_accepted(identity):
                    self._incidents.report("identity withdrawn", "a guard refused it")
                    self._begin(self._gateway.withdraw(sid, identity))
                if number % BATCH == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(ENFORCE_PAUSE)
        self._is_enforcing = False

    async def revoke(self, user_id: str | int, entity: EntityRef) -> None:
        """Take a user's sockets out of an entity's room, on every server."""
        user_id = as_id(user_id)
        entity = self._pipeline.entity(entity.type, entity.id)
        await self._signals.send(REVOKE, [user_id, entity.type, entity.id])

    async def recheck(self, user_id: str | int | None = None) -> None:
        """Ask the authorizers again about all that a user's sockets track, on every server."""
        await self._signals.send(RECHECK, None if user_id is None else as_id(user_id))

    async def recheck_here(self, user_id: str | int | None = None) -> None:
        """Ask the authorizers again about a user's sockets on this server, or about all."""
        await self._subscriptions.reauthorize_all(None if user_id is None else as_id(user_id))

    async def aclose(self) -> None:
        """Cancel what is being asked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_recheck(self, user_id: str | None = None) -> None:
        self._begin(self.recheck_here(user_id))

    def _revoked(self, data: Any) -> None:
        if not (isinstance(data, list) and len(data) == 3):
            raise InvalidRequest
        user_id, kind, entity_id = data
        self._subscriptions.kick(user_id, EntityRef(kind, entity_id))

    async def _revalidate(self) -> None:
        """Disconnect the sockets whose token has been revoked since they authenticated."""
        while True:
            await asyncio.sleep(self._interval)
            for number, (sid, identity) in enumerate(self._gateway.identities(), start=1):
                if not await self._access.still_holds(identity):
                    self._incidents.report(
                        "identity withdrawn",
                        f"authenticator {identity.authenticator!r}: the socket was closed",
                    )
                    await self._gateway.withdraw(sid, identity)
                if number % BATCH == 0:
                    await asyncio.sleep(0)

    def _begin(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

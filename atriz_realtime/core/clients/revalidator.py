"""Authenticators are asked again about connected sockets.

A token that was valid when a socket connected may be revoked later.
"""

from __future__ import annotations

import asyncio

from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.clients.gateway import Gateway
from atriz_realtime.core.runtime.incidents import Incidents

BATCH = 200
"""Sockets that are checked in one turn of the event loop."""


class IdentityRevalidator:
    """Disconnects the sockets whose identity no longer holds.

    :param interval: seconds between two rounds.
    """

    def __init__(
        self, access: AccessControl, gateway: Gateway, incidents: Incidents, interval: float
    ) -> None:
        self._access = access
        self._gateway = gateway
        self._incidents = incidents
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if an authenticator can be asked."""
        if self._access.can_recheck:
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="identity revalidator"
            )

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            for number, (sid, identity) in enumerate(list(self._gateway.identities()), start=1):
                if not await self._access.still_holds(identity):
                    self._incidents.report(
                        "identity withdrawn",
                        f"authenticator {identity.authenticator!r}: the socket was closed",
                    )
                    await self._gateway.withdraw(sid, identity)
                if number % BATCH == 0:
                    await asyncio.sleep(0)

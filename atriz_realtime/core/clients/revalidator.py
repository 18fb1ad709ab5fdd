"""Whether connected sockets still are who they were: asked again of whoever said so.

A token that was good when a socket connected may be revoked while it stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from atriz_realtime.api.model import Identity
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.runtime.incidents import Incidents

TURN = 200
"""Sockets that are asked about before others get a turn of the loop."""


class Identified(Protocol):
    """The sockets that are somebody."""

    def identities(self) -> Iterable[tuple[str, Identity]]:
        """The sid of each, and who it is."""

    async def withdraw(self, sid: str, identity: Identity) -> None:
        """Close a socket, unless it is somebody else by now."""


class IdentityRevalidator:
    """Closes the sockets whose identity no longer holds.

    :param interval: seconds between two rounds.
    """

    def __init__(
        self, access: AccessControl, sockets: Identified, incidents: Incidents, interval: float
    ) -> None:
        self._access = access
        self._sockets = sockets
        self._incidents = incidents
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, when there is an authenticator that can be asked."""
        if self._access.can_recheck:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="recheck")

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            for number, (sid, identity) in enumerate(list(self._sockets.identities()), start=1):
                if not await self._access.still_holds(identity):
                    self._incidents.report(
                        "identity withdrawn",
                        f"authenticator {identity.authenticator!r}: the socket was closed",
                    )
                    await self._sockets.withdraw(sid, identity)
                if number % TURN == 0:
                    await asyncio.sleep(0)

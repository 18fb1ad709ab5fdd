"""Tracking entities over Socket.IO, across lost connections."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from atriz_realtime.cli.client.connection import Api, Refused, Target, Unreachable
from atriz_realtime.cli.client.socket_connection import SocketConnection

LISTING_INTERVAL = 3.0
"""Seconds after which the entities are listed again, to find new ones."""

BACKOFF_FIRST = 0.5
BACKOFF_MOST = 10.0
"""Seconds before another attempt to connect: the first, doubled each time up to the most."""


class Display(Protocol):
    """Shows positions and the state of the connection."""

    def update(self, event: dict[str, Any]) -> None:
        """Show a ``location:update`` event."""

    def revoked(self, kind: str, entity_id: str) -> None:
        """Show that an entity may not be watched any longer."""

    def state(self, text: str) -> None:
        """Show the state of the connection."""


@attrs.frozen
class EntityWatcher:
    """Tracks entities of one type, and reconnects when the connection is lost."""

    _target: Target
    _api: Api
    _kind: str
    _ids: Sequence[str]
    """The entities to track; empty: all that the server lists, now and later."""
    _display: Display

    async def run(self) -> None:
        """Track until cancelled.

        :raises Refused: when the server refuses the token or an entity.
        :raises Unreachable: when the first attempt to connect fails; later failures are retried.
        """
        connected_once = False
        pause = BACKOFF_FIRST
        while True:
            connection = SocketConnection(self._target, self._display.update, self._revoked)
            try:
                await connection.open()
                connected_once, pause = True, BACKOFF_FIRST
                await self._track(connection)
            except Unreachable as error:
                if not connected_once:
                    raise
                self._display.state(f"{error.message}; connecting again")
            finally:
                await connection.close()
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_MOST)

    async def _track(self, connection: SocketConnection) -> None:
        """Track until the connection ends, which raises."""
        if self._ids:
            await connection.track(self._kind, self._ids)
            self._show_count(len(connection.tracked))
            await connection.wait()  # raises
        while True:
            full = await self._track_new(connection)
            more = "; more than one connection may track" if full else ""
            self._show_count(len(connection.tracked), more)
            await connection.wait(None if full else LISTING_INTERVAL)

    async def _track_new(self, connection: SocketConnection) -> bool:
        """Track entities that are new; returns whether the server allows no more."""
        try:
            listed = await self._api.entity_ids(self._kind)
        except Unreachable:
            return False  # a lost connection is noticed by the connection itself
        except Refused as refusal:
            if not refusal.temporary:
                raise
            return False
        new = [entity_id for entity_id in listed if entity_id not in connection.tracked]
        return not await connection.track_until_full(self._kind, new)

    def _revoked(self, entity_id: str, left: int) -> None:
        self._display.revoked(self._kind, entity_id)
        self._show_count(left)

    def _show_count(self, count: int, addition: str = "") -> None:
        entities = "entity" if count == 1 else "entities"
        self._display.state(f"connected, tracking {count:,} {entities}{addition}")

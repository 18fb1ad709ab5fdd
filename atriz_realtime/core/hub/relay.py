"""Emits to rooms that may have members on other servers.

Location events have a channel each (see :mod:`atriz_realtime.core.hub.channels`).
Everything else that is emitted to a room (``send_to_user``, ``broadcast_to_authenticated``,
whatever a host emits through ``socket_io``) is rare, and travels on one channel that
all servers hear.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable

from atriz_realtime.api.contracts import Fanout
from atriz_realtime.api.errors import InvalidRequest, Unavailable
from atriz_realtime.api.wire import Emit, RedisChannels
from atriz_realtime.core.hub.rooms import Rooms
from atriz_realtime.core.runtime.incidents import Incidents

MAX_SENDING = 1_000
"""Emits that may be under way; beyond, further ones reach this server only."""


class Relay:
    """Carries emits between the servers."""

    def __init__(self, rooms: Rooms, fanout: Fanout, incidents: Incidents) -> None:
        self._rooms = rooms
        self._fanout = fanout
        self._incidents = incidents
        self._name = secrets.token_hex(8)
        self._sending: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Begin to receive, and to send."""
        await self._fanout.subscribe(RedisChannels.EMITS, self._receive)
        self._rooms.relay = self._send

    async def aclose(self) -> None:
        """Stop; what is under way is sent, for a second at most."""
        self._rooms.relay = None
        self._fanout.unsubscribe(RedisChannels.EMITS)
        if self._sending:
            await asyncio.wait(self._sending, timeout=1.0)

    def _send(
        self,
        namespace: str,
        rooms: list[str] | None,
        skip: list[str],
        parts: list[str | bytes],
        key: str | None,
    ) -> None:
        if len(self._sending) >= MAX_SENDING:
            self._incidents.report("emits not relayed", f"more than {MAX_SENDING} under way")
            return
        packet, *attachments = parts
        emit = Emit(
            sender=self._name,
            namespace=namespace,
            rooms=rooms,
            skip=skip,
            packet=str(packet),
            attachments=[part for part in attachments if isinstance(part, bytes)],
            key=key,
        )
        sending = asyncio.ensure_future(
            self._publish(self._fanout.publish(RedisChannels.EMITS, emit.encode()))
        )
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _publish(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except Unavailable as error:
            self._incidents.report("emits not relayed", error.message)
        except Exception as error:  # a plugin's fan-out may raise what it should not
            self._incidents.report("emits not relayed", f"{type(error).__name__}: {error}")

    def _receive(self, _: str, data: bytes) -> None:
        try:
            emit = Emit.decode(data)
        except InvalidRequest as error:
            self._incidents.report("foreign emit ignored", error.message)
            return
        if emit.sender != self._name:
            self._rooms.emit_encoded(
                emit.namespace, emit.rooms, emit.skip, [emit.packet, *emit.attachments], emit.key
            )

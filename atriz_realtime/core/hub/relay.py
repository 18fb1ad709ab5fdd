"""Emits to rooms that may have members on other servers.

Location events have a channel for each entity (see :mod:`atriz_realtime.core.hub.channels`).
Everything else that is emitted to a room (``send_to_user``, ``broadcast_to_authenticated``,
whatever a host emits through ``socket_io``) is rare, and travels on one channel that every
server subscribes to.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from atriz_realtime.api.contracts import Fanout
from atriz_realtime.api.errors import InvalidRequest
from atriz_realtime.api.wire import Emit, RedisChannels
from atriz_realtime.core.runtime.incidents import Incidents, reason

MAX_SENDING = 1_000
"""Emits that may be on their way to Redis; further ones reach this server only."""

EmitEncoded = Callable[[str, list[str] | None, list[str], list[str | bytes], str | None], None]
"""Sends an emit to the sockets of this server: namespace, rooms (``None``: everyone), rooms
to skip, the encoded packet with its attachments, the conflation key."""


class Relay:
    """Carries emits between the servers; before it is started it sends nothing."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents
        self._name = secrets.token_hex(8)
        self._sending: set[asyncio.Future[None]] = set()
        self._fanout: Fanout | None = None

    async def start(self, fanout: Fanout, emit: EmitEncoded) -> None:
        """Begin to send, and to receive.

        :param emit: called with what other servers have sent.
        """

        def receive(_: str, data: bytes) -> None:
            try:
                sent = Emit.decode(data)
            except InvalidRequest as error:
                self._incidents.report("foreign emit ignored", error.message)
                return
            if sent.sender != self._name:
                parts: list[str | bytes] = [sent.packet, *sent.attachments]
                emit(sent.namespace, sent.rooms, sent.skip, parts, sent.key)

        await fanout.subscribe(RedisChannels.EMITS, receive)
        self._fanout = fanout

    async def aclose(self) -> None:
        """Stop; emits that are being sent have one second to finish."""
        if self._fanout is not None:
            self._fanout.unsubscribe(RedisChannels.EMITS)
            self._fanout = None
        if self._sending:
            await asyncio.wait(self._sending, timeout=1.0)

    def send(
        self,
        namespace: str,
        rooms: list[str] | None,
        skip: list[str],
        parts: list[str | bytes],
        key: str | None,
    ) -> None:
        """Send an emit to the other servers: see :data:`EmitEncoded`."""
        if self._fanout is None:
            return
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
        except Exception as error:  # a plugin's fan-out may raise anything
            self._incidents.report("emits not relayed", reason(error))

"""Connected sockets: what is kept of each, and what plugins see of it."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs

from atriz_realtime.api.http import Headers
from atriz_realtime.api.model import Identity
from atriz_realtime.core.clients.socket_server import SocketServer
from atriz_realtime.core.runtime.token_bucket import TokenBucket
from atriz_realtime.engine.request.request import Request


@attrs.define(eq=False)
class ConnectedSocket:
    """One connected socket, and who it is."""

    sid: str
    address: str
    allowance: TokenBucket
    identity: Identity | None = None
    shared: TokenBucket | None = None
    """What all sockets of its user may send together."""
    tracked: set[str] = attrs.field(factory=set)
    """The entity rooms it joined with ``track:<type>``."""
    deadline: asyncio.TimerHandle | None = None
    """Closes the socket unless it authenticates before."""

    @property
    def is_narrow(self) -> bool:
        """Whether it is good for one entity only, and may send what tracks it alone."""
        return self.identity is not None and self.identity.only is not None


@attrs.frozen
class Client:
    """See :class:`~atriz_realtime.api.SocketClient`."""

    _server: SocketServer
    _session: ConnectedSocket

    @property
    def sid(self) -> str:
        """The Socket.IO session id."""
        return self._session.sid

    @property
    def identity(self) -> Identity | None:
        """Who it is."""
        return self._session.identity

    async def emit(self, event: str, data: Any) -> None:
        """Send an event to this socket alone."""
        self._server.manager.send(self.sid, event, data)

    async def disconnect(self) -> None:
        """Close it."""
        await self._server.disconnect(self.sid)


class RequestHeaders(Headers):
    """The headers of a handshake, taken apart when somebody asks for one."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def _raw(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]  # it is read only
        return self._request.headers

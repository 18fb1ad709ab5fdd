"""A gateway put together without a network."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from atriz_realtime import RealtimeConfig
from atriz_realtime.api import AuthenticationRejected, Credentials, Identity, NotAuthenticated
from atriz_realtime.core.clients.gateway import Gateway
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.engine.request.request import Request
from tests.core.parts import KINDS, Hub, Member

REQUEST = Request(b"GET /socket.io/ HTTP/1.1\r\n\r\n", ("10.0.0.1", 4321), "http")


class Access:
    """Knows whoever says ``user:<id>``, once its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()

    async def authenticate(
        self,
        credentials: Credentials,
        *,
        narrow: bool = False,
        already_authenticated: bool = False,
    ) -> Identity:
        await self.gate.wait()
        match credentials.token:
            case None:
                raise NotAuthenticated
            case str(token) if token.startswith("user:"):
                return Identity(user_id=token.removeprefix("user:"))
        raise AuthenticationRejected("no such user")


class Edge:
    """A gateway in front of a hub."""

    def __init__(self, **settings: Any) -> None:
        self.hub = Hub(**settings)
        self.access = Access()
        access: Any = self.access
        pipeline: Any = None
        self.gateway = Gateway(
            config=RealtimeConfig(**settings),
            server=self.hub.server,
            access=access,
            plugin_runner=PluginRunner(self.hub.incidents, self.hub.clock, limit=5),
            channels=self.hub.channels,
            incidents=self.hub.incidents,
            clock=self.hub.clock,
            pipeline=pipeline,
            kinds=KINDS,
        )

    async def connect(self, auth: Any = None) -> Member:
        member = await self.hub.connect()
        await self.gateway.connected(member.sid, REQUEST, auth)
        return member

    async def send(self, member: Member, *event: Any) -> Any:
        """Send an event as its socket would; returns the acknowledgement."""
        _ = member.frames  # what came before
        await self.hub.server._handle_event(member.eio_sid, None, 1, list(event))
        acks = [frame for frame in member.frames if str(frame).startswith("31[")]
        return json.loads(acks[0][2:])[0] if acks else None


def user(name: str) -> dict[str, str]:
    return {"token": f"user:{name}"}

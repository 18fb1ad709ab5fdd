"""An application on an engine that echoes each message and records what happens."""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs

from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.request.exchange import Exchange, Headers
from atriz_realtime.engine.request.request import Request
from tests.support.servers.serving import until
from tests.support.servers.transports import Transport, serving_engine

PATH = "/engine.io/"


class Exchanged(Exchange):
    """An exchange without a network, which records its response."""

    def __init__(self, method: str, query: str, body: bytes = b"", headers: str = "") -> None:
        head = f"{method} {PATH}?EIO=4&transport=polling&{query} HTTP/1.1\r\n{headers}"
        request = Request(head.encode(), None, "http")
        super().__init__(request, request.query())
        self.sent = body
        self.status: int | None = None
        """``None``: there is no response yet."""
        self.packets: list[str] = []

    def read(self, limit: int, received: Callable[[bytes | None], object]) -> None:
        """The body is there."""
        received(self.sent)

    def respond(
        self,
        status: int,
        content_type: bytes,
        body: bytes,
        headers: Headers = (),
    ) -> None:
        """Record the response."""
        assert self.status is None
        self.status = status
        if (b"content-encoding", b"gzip") in headers:
            body = gzip.decompress(body)
        self.packets = body.decode().split("\x1e")


@attrs.define(eq=False)
class Host:
    """The application; its records are by session id."""

    engine: EngineServer
    port: int = 0
    environs: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    messages: defaultdict[str, list[str | bytes]] = attrs.field(factory=lambda: defaultdict(list))
    ended: defaultdict[str, list[str]] = attrs.field(factory=lambda: defaultdict(list))
    """The reasons of its end: a list, so that a second one shows."""

    def __attrs_post_init__(self) -> None:
        self.engine.on("connect", self.on_connect)
        self.engine.on("message", self.on_message)
        self.engine.on("disconnect", self.on_disconnect)

    async def on_connect(self, sid: str, environ: dict[str, Any]) -> bool | None:
        self.environs[sid] = environ
        if "refuse" in environ["QUERY_STRING"]:
            return False
        if "raise" in environ["QUERY_STRING"]:
            raise LookupError("as planned")
        if "greet" in environ["QUERY_STRING"]:
            await self.engine.send(sid, "welcome")
        return None

    async def on_message(self, sid: str, data: str | bytes) -> None:
        self.messages[sid].append(data)
        await self.engine.send(sid, data)

    def on_disconnect(self, sid: str, reason: str) -> None:
        self.ended[sid].append(reason)

    async def until_ended(self, sid: str) -> str:
        """Wait until a session has ended; returns the reason, which must be the only one."""
        (reason,) = await until(lambda: self.ended[sid])
        return str(reason)

    def is_polled(self, sid: str) -> bool:
        """Whether a poll of the session waits for packets."""
        session = self.engine.sockets.get(sid)
        return session is not None and getattr(session.transport, "poll", None) is not None

    async def until_polled(self, sid: str) -> None:
        """Wait until a poll of the session waits for packets."""
        await until(lambda: self.is_polled(sid))

    async def until_not_polled(self, sid: str) -> None:
        """Wait until no poll of the session waits for packets."""
        await until(lambda: not self.is_polled(sid))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert scope["path"] == PATH
        await self.engine.handle_request(scope, receive, send)


@asynccontextmanager
async def hosting(transport: Transport, **settings: Any) -> AsyncIterator[Host]:
    """Serve such an application, by default with pings too rare to disturb a test."""
    defaults: dict[str, Any] = {
        "ping_interval": 25,
        "ping_timeout": 20,
        "max_payload": 100_000,
        "cors_allowed_origins": "*",
    }
    host = Host(EngineServer(**defaults | settings))
    async with serving_engine(transport, host, host.engine, PATH) as host.port:
        yield host

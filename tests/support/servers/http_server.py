"""A server on the protocols that ``serve`` uses, and clients that send it bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import uvicorn
from starlette.applications import Starlette

from atriz_realtime import RealtimeServer
from atriz_realtime.testing.web import on_uvicorn, port_of
from tests.support.servers.serving import TIMEOUT, Live, token

AUTHORIZATION = f"Authorization: Bearer {token()}".encode()


@attrs.frozen
class Answer:
    """A response."""

    status: int
    headers: dict[str, str]
    """By name, in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


@attrs.define(eq=False)
class Connection:
    """A client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *segments: bytes) -> None:
        """Send segments, which the server reads one by one."""
        for segment in segments:
            self.writer.write(segment)
            for _ in range(4):  # the server reads it within the next turns of the loop
                await asyncio.sleep(0)

    async def answer(self) -> Answer:
        """Read the next response, which may be an informational one."""
        async with asyncio.timeout(TIMEOUT):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.split("\r\n")[:-2]
            headers = dict(each.lower().split(": ", 1) for each in lines)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            return Answer(int(line.split(" ")[1]), headers, body)

    async def until_closed(self) -> bytes:
        """Read until the server closes the connection."""
        async with asyncio.timeout(TIMEOUT):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def open(self) -> str:
        """Open a session; returns its id."""
        sid: str = json.loads((await self.call(OPEN)).body[1:])["sid"]
        return sid

    async def call(self, *segments: bytes) -> Answer:
        """Send segments and read one response."""
        await self.send(*segments)
        return await self.answer()

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()


@attrs.define(eq=False)
class HttpServer:
    """A running server that records which requests came over ASGI."""

    app: Starlette
    live: Live = attrs.field(init=False)
    web: uvicorn.Server = attrs.field(init=False)
    over_asgi: list[str] = attrs.field(factory=list)
    """Their paths."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] != "lifespan":
            self.over_asgi.append(scope["path"])
        await self.app(scope, receive, send)

    @property
    def realtime(self) -> RealtimeServer:
        """The application's server."""
        return self.live.server

    @property
    def connections(self) -> int:
        """How many connections uvicorn counts."""
        return len(self.web.server_state.connections)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """Connect a client."""
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.live.port))
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def http_server(app: Starlette, **options: Any) -> AsyncIterator[HttpServer]:
    """Serve an application on uvicorn with its server's protocols."""
    server = HttpServer(app)
    realtime: RealtimeServer = app.state.realtime
    defaults: dict[str, Any] = {
        "port": 0,
        "log_config": None,
        "lifespan": "on",
        "timeout_graceful_shutdown": 2,
        "http": realtime.http_protocol(),
        "ws": realtime.websocket_protocol(),
    }
    async with on_uvicorn(uvicorn.Config(server, **defaults | options)) as server.web:
        server.live = Live(app, port_of(server.web))
        yield server


def request(
    body: bytes = b"",
    path: str = "/api/tracking/location",
    *headers: bytes,
    method: str = "POST",
    version: str = "1.1",
    sized: bool = True,
) -> bytes:
    """Encode a request with a token of ``u1``."""
    lines = [f"{method} {path} HTTP/{version}".encode(), b"Host: here", AUTHORIZATION, *headers]
    if body and sized:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def fix(entity_id: str = "v1", **fields: Any) -> bytes:
    """Encode a body that publishes a vehicle's position."""
    fixed = {"latitude": 52.6, "longitude": -8.6, "timestamp": "2026-01-31T12:00:00Z"}
    return json.dumps({"vehicleId": entity_id} | fixed | fields).encode()


def echo(text: str, *headers: bytes, **options: Any) -> bytes:
    """Encode a request to an endpoint that answers with its body."""
    return request(json.dumps(text).encode(), "/api/echo", *headers, **options)


def get(path: str, *headers: bytes) -> bytes:
    """Encode a request without a body."""
    return request(b"", path, *headers, method="GET")


OPEN = get("/socket.io/?EIO=4&transport=polling")
"""A request that opens a session."""


def poll(sid: str, *headers: bytes) -> bytes:
    """Encode a poll."""
    return get(f"/socket.io/?EIO=4&transport=polling&sid={sid}", *headers)


def post(sid: str, packets: str, *headers: bytes) -> bytes:
    """Encode a request that posts packets."""
    path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
    return request(packets.encode(), path, *headers)

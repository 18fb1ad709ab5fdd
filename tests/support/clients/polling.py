"""An Engine.IO client that polls by hand, one request at a time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs

from tests.support.clients.websocket import OFFER

SEPARATOR = "\x1e"


@attrs.frozen
class Answer:
    """The server's response to a request."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def packets(self) -> list[str]:
        """The packets of a payload."""
        assert self.status == 200, self
        return self.text.split(SEPARATOR)

    @property
    def error(self) -> tuple[int, Any]:
        """The status, and the JSON of the body."""
        return self.status, json.loads(self.text)


@attrs.define(eq=False)
class Polling:
    """A client with a session, or about to open one."""

    http: aiohttp.ClientSession
    url: str
    """Of the engine's path, without a query."""
    opened: Any = None
    """The content of the ``open`` packet."""
    extra: list[str] = attrs.field(factory=list)
    """Packets that came in the same payload."""

    @property
    def sid(self) -> str:
        """The id of the session."""
        sid: str = self.opened["sid"]
        return sid

    @property
    def query(self) -> str:
        """The query of the session's requests."""
        return f"EIO=4&transport=polling&sid={self.sid}"

    async def request(
        self,
        method: str,
        query: str,
        *,
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send any request to the engine."""
        async with self.http.request(
            method, f"{self.url}?{query}", data=body, headers=headers
        ) as response:
            return Answer(response.status, await response.text(), response.headers)

    async def handshake(self, query: str, **headers: str) -> Answer:
        """Send a websocket handshake as a plain request; it is expected to be refused."""
        return await self.request("GET", query, headers={**OFFER, **headers})

    async def open(self, **headers: str) -> Answer:
        """Open a session."""
        answer = await self.request("GET", "EIO=4&transport=polling", headers=headers)
        first, *self.extra = answer.packets
        assert first[0] == "0"
        self.opened = json.loads(first[1:])
        return answer

    async def get(self) -> Answer:
        """Poll once."""
        return await self.request("GET", self.query)

    async def post(self, body: str | bytes) -> Answer:
        """Send a payload."""
        return await self.request("POST", self.query, body=body)

    async def echoes(self, text: str = "still there") -> None:
        """Check that the session works, on a server that echoes messages."""
        assert (await self.post(f"4{text}")).text == "ok"
        assert (await self.get()).packets == [f"4{text}"]


@asynccontextmanager
async def poller(port: int, path: str = "/engine.io/") -> AsyncIterator[Polling]:
    """A client that has not opened its session yet."""
    # each request has its own connection, so that one which the server closes breaks no other
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(10)
    ) as session:
        yield Polling(session, f"http://127.0.0.1:{port}{path}")


@asynccontextmanager
async def polling(port: int, path: str = "/engine.io/") -> AsyncIterator[Polling]:
    """A client with an open session."""
    async with poller(port, path) as client:
        await client.open()
        yield client

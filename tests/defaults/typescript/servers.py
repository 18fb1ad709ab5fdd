"""Runs ``tests/js/bridge/server.mjs``, which behaves like a server of the TypeScript package."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs

from tests.support.clients.node import JS, running
from tests.support.clients.python_socketio import PythonClient
from tests.support.servers.serving import SECRET, TIMEOUT, token

BRIDGE = JS / "bridge"


class NodeError(Exception):
    """The error of a command in the TypeScript server."""


@attrs.define(eq=False)
class TypescriptServer:
    """A running TypeScript server."""

    url: str
    _process: asyncio.subprocess.Process
    server_side: list[Any] = attrs.field(factory=list, init=False)
    """The arguments of each ``serverSideEmit`` that it received."""
    _asked: dict[int, asyncio.Future[Any]] = attrs.field(factory=dict, init=False)
    _numbers: itertools.count[int] = attrs.field(factory=itertools.count, init=False)

    async def call(self, command: str, *arguments: Any) -> Any:
        """Run a command in the server, and return its result."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        line = json.dumps({"id": number, "do": command, "args": arguments})
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(TIMEOUT):
            return await answer

    async def read(self) -> None:
        """Resolve the answers to commands until the process ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            report = json.loads(line)
            if "serverSide" in report:
                self.server_side.append(report["serverSide"])
            elif "error" in report:
                self._asked.pop(report["id"]).set_exception(NodeError(report["error"]))
            else:
                self._asked.pop(report["id"]).set_result(report["result"])


@asynccontextmanager
async def typescript(kind: str, redis_url: str) -> AsyncIterator[TypescriptServer]:
    """Run a TypeScript server with the ``classic`` or the ``sharded`` adapter."""
    async with running(str(BRIDGE / "server.mjs"), kind, redis_url, SECRET) as process:
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            port = json.loads(await process.stdout.readline())["port"]
        server = TypescriptServer(f"http://127.0.0.1:{port}", process)
        reading = asyncio.create_task(server.read())
        yield server
    await reading


@asynccontextmanager
async def client_of(url: str, user: str | None = "u1", *ids: str) -> AsyncIterator[PythonClient]:
    """A python-socketio client of a server that tracks the given vehicles."""
    client = PythonClient()
    await client.connect(url, {"token": token(user)} if user is not None else {})
    try:
        for each in ids:
            assert await client.call("track:vehicle", each) == {"success": True}
        yield client
    finally:
        await client.disconnect()

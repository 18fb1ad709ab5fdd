"""The JavaScript client: ``tests/js/client.mjs``, many sockets in one Node process."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs

from tests.support.clients.python_socketio import Client, Connect, Refusal, handshake
from tests.support.servers.serving import TIMEOUT, Live, until

JS = Path(__file__).parents[2] / "js"

MAX_LINE = 2**24
"""Bytes of one report at most."""


def with_packages(folder: Path) -> Path:
    """Install what a folder's package lock names, unless it is installed; returns the folder."""
    installed = folder / "node_modules" / ".package-lock.json"
    if not installed.is_file() or _versions(installed) != _versions(folder / "package-lock.json"):
        subprocess.run(["npm", "ci", "--prefix", folder], check=True)
    return folder


def _versions(lock: Path) -> Mapping[str, str]:
    """The version of each package that a lock names; those for other platforms are left out."""
    packages = json.loads(lock.read_text())["packages"]
    return {
        path: package["version"]
        for path, package in packages.items()
        if path and not package.get("optional")
    }


@attrs.define(eq=False)
class JsClient(Client):
    """One ``socket.io-client`` socket."""

    _node: Node
    _number: int
    _asked: dict[int, asyncio.Future[Any]] = attrs.field(factory=dict, init=False)
    _closed: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    id: str | None = attrs.field(default=None, init=False)
    transports: list[str] = attrs.field(factory=list, init=False)
    """The transport that the connection was opened with, then the one it was upgraded to."""

    async def emit(self, event: str, *arguments: Any) -> None:
        await self._command("emit", event=event, args=arguments)

    async def call(self, event: str, *arguments: Any) -> Any:
        number = self._node.next_number()
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        await self._command("emit", event=event, args=arguments, ack=number)
        async with asyncio.timeout(TIMEOUT):
            return await answer

    async def disconnect(self) -> None:
        await self._command("disconnect")
        async with asyncio.timeout(TIMEOUT):
            await self._closed.wait()

    async def _command(self, name: str, **parameters: Any) -> None:
        await self._node.send({"do": name, "socket": self._number, **parameters})

    def handle(self, report: Mapping[str, Any]) -> None:
        """Record what the process reports of this socket."""
        if "event" in report:
            self.received.append((report["event"], report["args"]))
        elif "ack" in report:
            answers = report["args"]
            self._asked.pop(report["ack"]).set_result(
                answers[0] if len(answers) == 1 else tuple(answers)
            )
        elif "connect" in report:
            self.connected, self.id = True, report["connect"]
        elif "transport" in report:
            self.transports.append(report["transport"])
        elif "connect_error" in report:
            self.refused = Refusal(report["connect_error"], report.get("data"))
        elif "disconnect" in report:
            self.connected, self.disconnected = False, report["disconnect"]
        elif "closed" in report:
            self._closed.set()


@attrs.define(eq=False)
class Node:
    """A test's connection to the process."""

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _sockets: dict[int, JsClient] = attrs.field(factory=dict, init=False)
    _numbers: itertools.count[int] = attrs.field(factory=itertools.count, init=False)

    async def open(self, url: str, auth: Mapping[str, Any], **options: Any) -> JsClient:
        """Start to connect a socket; what it emits before it is connected is sent once it is.

        :param options: of ``socket.io-client``, for example ``transports=["websocket"]``.
        """
        number = self.next_number()
        client = self._sockets[number] = JsClient(self, number)
        await self.send(
            {"do": "connect", "socket": number, "url": url, "options": {"auth": auth, **options}}
        )
        return client

    async def connect(self, url: str, auth: Mapping[str, Any], **options: Any) -> JsClient:
        """Open a socket, and wait until it is connected or refused."""
        client = await self.open(url, auth, **options)
        await until(lambda: client.connected or client.refused)
        return client

    def next_number(self) -> int:
        """A new number, for a socket or an acknowledgement."""
        return next(self._numbers)

    async def send(self, command: Mapping[str, Any]) -> None:
        """Write a command."""
        self._writer.write(json.dumps(command).encode() + b"\n")
        await self._writer.drain()

    async def read(self) -> None:
        """Pass the process's reports to their sockets until the connection ends."""
        async for line in self._reader:
            report = json.loads(line)
            self._sockets[report["socket"]].handle(report)


@asynccontextmanager
async def running(*arguments: str, folder: Path = JS, **environment: str) -> AsyncIterator[Process]:
    """A Node process with pipes; it must exit with status 0 when its input ends."""
    process = await asyncio.create_subprocess_exec(
        *("node", *arguments),
        cwd=folder,
        stdin=PIPE,
        stdout=PIPE,
        limit=MAX_LINE,
        env={**os.environ, **environment},
    )
    assert process.stdin is not None
    try:
        yield process
        process.stdin.close()
        async with asyncio.timeout(TIMEOUT):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Lines:
    """The JSON values that a process prints, one a line."""

    def __init__(self, process: Process) -> None:
        self.printed: list[Any] = []
        self._process = process

    async def read(self) -> None:
        """Record what is printed until the process ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.printed.append(json.loads(line))

    async def until_last_is(self, value: Any) -> None:
        """Wait until this is the last line."""
        await until(lambda: self.printed[-1:] == [value])

    async def until_printed(self, value: Any, times: int = 1) -> None:
        """Wait until a line was printed so many times."""
        await until(lambda: self.printed.count(value) >= times)

    async def send(self, command: Any) -> None:
        """Write a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")


@asynccontextmanager
async def script(*arguments: str, folder: Path = JS, **environment: str) -> AsyncIterator[Lines]:
    """Run a script that reads and prints JSON, one value a line."""
    reading: asyncio.Future[None] | None = None
    try:
        async with running(*arguments, folder=folder, **environment) as process:
            lines = Lines(process)
            reading = asyncio.create_task(lines.read())
            yield lines
    finally:
        if reading is not None:
            await asyncio.wait_for(reading, TIMEOUT)


@contextmanager
def node_process() -> Iterator[int]:
    """Run ``client.mjs``; yields its port.  It must exit with status 0 when its input ends."""
    command = ["node", "client.mjs"]
    with subprocess.Popen(
        command, cwd=with_packages(JS), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
            process.stdin.close()
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()


@asynccontextmanager
async def node_clients(port: int) -> AsyncIterator[Node]:
    """Connect to that process; the sockets that are opened in it are closed on exit."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MAX_LINE)
    node = Node(reader, writer)
    reading = asyncio.create_task(node.read())
    try:
        yield node
        writer.write_eof()
        async with asyncio.timeout(TIMEOUT):
            await reading
    finally:
        reading.cancel()
        writer.close()


def js_connect(node: Node, **options: Any) -> Connect:
    """Open clients of the JavaScript library."""

    @asynccontextmanager
    async def connected(
        live: Live,
        *,
        user: str | None = "u1",
        auth: Mapping[str, Any] | None = None,
        namespace: str = "/",
        refused: bool = False,
    ) -> AsyncIterator[Client]:
        client = await node.connect(live.url + namespace, handshake(user, auth), **options)
        assert client.connected is not refused, client.refused
        try:
            yield client
        finally:
            await client.disconnect()

    return connected


async def evaluate(expression: str) -> str:
    """The value, a string, of a JavaScript expression in Node."""
    process = await asyncio.create_subprocess_exec(
        "node", "--print", expression, cwd=JS, stdout=PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().removesuffix("\n")

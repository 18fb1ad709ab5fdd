"""Clients that connect, do something, and leave, most of them without closing properly."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
import attrs

from tests.support.clients.websocket import OFFER, TEXT, frame
from tests.support.servers.serving import SECRET, token

ENTITIES = 200
CLIENT_TIMEOUT = 10.0
"""Seconds until a client gives up."""

GARBAGE = (
    "",
    "x",
    "4x",
    "42",
    "42{}",
    '42["connect",{},{}]',
    '42["track:vehicle",' + "[" * 5_000,
    '42["track:vehicle",{"a":1}]',
    "459999999-[]",
    '42["nothing:known",1]',
    "4" + "9" * 101 + "[]",
)


@attrs.frozen
class Target:
    """The address of the server."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Its URL for HTTP."""
        return f"http://{self.host}:{self.port}"


class Socket:
    """A websocket by hand, which may stop reading and abort at any time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, target: Target) -> Socket:
        """Open a websocket."""
        reader, writer = await asyncio.open_connection(target.host, target.port)
        lines = [f"Host: {target.host}", *(f"{name}: {value}" for name, value in OFFER.items())]
        head = "\r\n".join(["GET /socket.io/?EIO=4&transport=websocket HTTP/1.1", *lines, "", ""])
        writer.write(head.encode())
        await reader.readuntil(b"\r\n\r\n")
        return cls(reader, writer)

    def send(self, message: str) -> None:
        """Send a message."""
        self.writer.write(frame(TEXT, message))

    async def read(self, seconds: float) -> None:
        """Read for a while, and answer pings."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await self.reader.read(65_536):
                    if data == b"\x81\x012":
                        self.send("3")

    def abort(self) -> None:
        """Abort the connection."""
        self.writer.transport.abort()


def entities(count: int) -> str:
    """The ids of random vehicles, as JSON."""
    ids = random.sample(range(ENTITIES), count)
    return "[" + ",".join(f'"v{number}"' for number in ids) + "]"


async def watch(target: Target, *, politely: bool) -> None:
    """Track some vehicles for a while."""
    socket = await Socket.connect(target)
    try:
        socket.send(f'40{{"token":"{token(f"u{random.randrange(50)}")}"}}')
        socket.send(f'420["track:vehicle",{entities(random.randrange(1, 50))}]')
        await socket.read(random.uniform(0.1, 3))
        if politely:
            socket.send(f'421["untrack:vehicle",{entities(20)}]')
            socket.send("41")
            socket.send("1")
            await socket.read(0.2)
    finally:
        socket.abort()


async def stall(target: Target) -> None:
    """Track everything, and read nothing."""
    socket = await Socket.connect(target)
    try:
        socket.send(f'40{{"token":"{token()}"}}')
        socket.send(f'420["track:vehicle",{entities(ENTITIES)}]')
        await asyncio.sleep(random.uniform(1, 3))
    finally:
        socket.abort()


async def misbehave(target: Target) -> None:
    """Send invalid packets and random bytes."""
    socket = await Socket.connect(target)
    try:
        if random.random() < 0.7:
            socket.send(f'40{{"token":"{token()}"}}')
        for message in random.sample(GARBAGE, 3):
            socket.send(message)
        if random.random() < 0.3:
            socket.writer.write(random.randbytes(random.randrange(1, 500)))
        await socket.read(0.5)
    finally:
        socket.abort()


async def poll(target: Target) -> None:
    """Open a session by polling, and abandon it during a poll."""
    url = f"{target.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as response:
            sid = (await response.text()).partition('"sid":"')[2].partition('"')[0]
        async with http.post(f"{url}&sid={sid}", data=f'40{{"token":"{token()}"}}'):
            pass
        async with http.post(f"{url}&sid={sid}", data=f'42["track:vehicle",{entities(10)}]'):
            pass
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(0.05, 1)):
                while True:
                    async with http.get(f"{url}&sid={sid}") as response:
                        if response.status != 200 or "1" in (await response.text()).split("\x1e"):
                            return


async def guess(target: Target) -> None:
    """Connect with a token that has another signature."""
    socket = await Socket.connect(target)
    try:
        socket.send(f'40{{"token":"{token(secret=SECRET[::-1])}"}}')
        socket.send('420["track:vehicle","v1"]')
        await socket.read(0.3)
    finally:
        socket.abort()


KINDS: tuple[tuple[str, Callable[[Target], Awaitable[None]], float], ...] = (
    ("watched and left", lambda target: watch(target, politely=True), 4),
    ("watched and broke off", lambda target: watch(target, politely=False), 3),
    ("stalled", stall, 1),
    ("misbehaved", misbehave, 2),
    ("polled and broke off", poll, 2),
    ("guessed a token", guess, 0.2),
)
"""What clients do: the name in the report, the function, and the relative frequency."""


async def come_and_go(target: Target, stop: asyncio.Event, done: Counter[str]) -> None:
    """Act as one client after another."""
    weights = [weight for *_, weight in KINDS]
    while not stop.is_set():
        ((name, behave, _),) = random.choices(KINDS, weights)
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT):
                await behave(target)
            done[name] += 1
        except (OSError, EOFError, TimeoutError, aiohttp.ClientError):
            done["sent away"] += 1  # which the server may do to a client that misbehaves


async def publish(target: Target, stop: asyncio.Event, done: Counter[str], rate: float) -> None:
    """Publish fixes of random vehicles, some of them invalid.

    :param rate: fixes a second.
    """
    headers = {"Authorization": f"Bearer {token()}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        while not stop.is_set():
            updates = [
                {
                    "vehicleId": f"v{random.randrange(ENTITIES)}",
                    "latitude": random.uniform(-95, 95),
                    "longitude": random.uniform(-180, 180),
                }
                for _ in range(int(rate / 10))
            ]
            async with http.post(
                f"{target.url}/api/tracking/batch", json={"updates": updates}
            ) as response:
                answer = await response.json()
                done["published"] += answer["accepted"]
                done["refused fixes"] += len(answer["rejected"])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await stop.wait()

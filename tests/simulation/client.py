"""What a client is connected with: lines, sockets on them, and HTTP requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jwt

from tests.simulation.loop import HARNESS, TICK
from tests.simulation.wiring import SECRET, Node

if TYPE_CHECKING:
    from tests.simulation.world import World

Scope = dict[str, Any]


def token(user: str, role: str, number: int, issued: float) -> str:
    """A token as the user's identity provider signs it."""
    claims = {"sub": user, "role": role, "jti": f"t{number}", "iat": int(issued)}
    return jwt.encode(claims, SECRET, "HS256")


class Line:
    """One connection of a client to a server: ordered, with a latency.

    :param lost: called when it has ended, whoever ended it.
    """

    def __init__(self, world: World, node: Node, name: str, lost: Callable[[], None]) -> None:
        chance = random.Random(f"{world.plan.seed} {name}")
        self.node = node
        self.is_open = True
        self._loop = world.loop
        self._latency = chance.choice([0.0005, 0.002, 0.02])
        self._there = self._back = 0.0
        self._lost = lost
        world.lines[self] = None

    def to_server(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call something in the server's process when it has arrived there."""
        self._there = max(self._there + TICK, self._loop.time() + self._latency)
        context = self.node.process.context.copy()
        self._loop.call_at(self._there, call, *arguments, context=context)

    def to_client(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call something here when it has come back; nothing comes from a cut line."""
        self._back = max(self._back + TICK, self._loop.time() + self._latency)
        self._loop.call_at(self._back, self._arrived, call, *arguments, context=HARNESS)

    def _arrived(self, call: Callable[..., object], *arguments: Any) -> None:
        if self.is_open:
            call(*arguments)

    def cut(self) -> None:
        """End it, as the death of the server does."""
        if self.is_open:
            self.is_open = False
            self._lost()


class Socket:
    """A Socket.IO connection.

    :param received: called with each event and its argument.
    """

    def __init__(
        self,
        world: World,
        node: Node,
        name: str,
        bearer: str,
        *,
        connected: Callable[[], None],
        received: Callable[[str, Any], None],
        lost: Callable[[], None],
    ) -> None:
        self.name = name
        self.line = Line(world, node, name, lost)
        self._world = world
        self._bearer = bearer
        self._connected = connected
        self._received = received
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._asked: dict[int, Callable[[Any], None]] = {}
        self._count = 0
        self._inbox.put_nowait({"type": "websocket.connect"})
        self.line.to_server(self._serve)

    def emit(self, event: str, argument: Any, answered: Callable[[Any], None]) -> None:
        """Send an event and await its acknowledgement."""
        self._count += 1
        self._asked[self._count] = answered
        told = json.dumps([event, argument], separators=(",", ":"))
        self._send(f"42{self._count}{told}")

    def read(self, *, at_all: bool) -> None:
        """Take what comes, or nothing for now."""
        if at_all:
            self._writable.set()
        else:
            self._writable.clear()

    def close(self) -> None:
        """Leave."""
        self.line.to_server(self._inbox.put_nowait, {"type": "websocket.disconnect", "code": 1005})
        self._writable.set()
        self.line.is_open = False

    # -- the server's side

    def _serve(self) -> None:
        self._world.loop.create_task(self._served())

    async def _served(self) -> None:
        scope: Scope = {
            "type": "websocket",
            "path": "/socket.io/",
            "query_string": b"EIO=4&transport=websocket",
            "headers": [(b"host", b"sim")],
            "client": (f"10.0.0.{len(self.name)}", 4321),
            "scheme": "ws",
            "root_path": "",
            "extensions": {},
        }
        with contextlib.suppress(OSError):  # which the ASGI server would have caught
            await self.line.node.app(scope, self._inbox.get, self._sent)
        self.line.to_client(self.line.cut)

    async def _sent(self, message: Any) -> None:
        await self._writable.wait()
        if not self.line.is_open:
            raise OSError("the client is gone")
        self.line.to_client(self._take, message)

    # -- the client's side

    def _send(self, text: str) -> None:
        message = {"type": "websocket.receive", "text": text}
        self.line.to_server(self._inbox.put_nowait, message)

    def _take(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.line.cut()
        text = message.get("text")
        if text is None:
            return
        match text[:2]:
            case "2":
                self._send("3")
            case "40":
                self._connected()
            case "42":
                event, *arguments = json.loads(text[2:])
                self._received(event, arguments[0] if arguments else None)
            case "43":
                number, _, rest = text[2:].partition("[")
                self._asked.pop(int(number))(*json.loads("[" + rest))
            case "41" | "44":
                self.close()
                self.line._lost()
            case _ if text.startswith("0"):
                self._send("40" + json.dumps({"token": self._bearer}))


def call(
    world: World,
    line: Line,
    method: str,
    path: str,
    bearer: str,
    body: Any,
    answered: Callable[[int, Any], None],
) -> None:
    """Make an HTTP request on a connection."""

    def serve() -> None:
        world.loop.create_task(served())

    async def served() -> None:
        content = b"" if body is None else json.dumps(body).encode()
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer " + bearer.encode())],
            "client": ("10.1.0.1", 4321),
            "scheme": "http",
            "root_path": "",
        }
        answer: list[Any] = [0, b""]

        async def receive() -> Any:
            return {"type": "http.request", "body": content}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer[0] = message["status"]
            else:
                answer[1] += message.get("body", b"")

        await line.node.app(scope, receive, send)
        line.to_client(answered, answer[0], json.loads(answer[1] or b"null"))

    line.to_server(serve)

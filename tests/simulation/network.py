"""The way to Redis: connections with a latency, and all that can go wrong with them.

They carry RESP, so that everything from the pipe to the cache and the fan-out is real code.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.simulation.loop import HARNESS, TICK, VirtualLoop, current_process
from tests.simulation.redis_model import NOTHING, Data, Reply, Server, encode

_END = b""
"""What arrives last on a connection that its process has closed."""


class Connection:
    """One connection of a server's process: what redis-py's connection and its transport are.

    Bytes that have not arrived when it is cut are lost, in both directions.
    """

    def __init__(self, network: Network, server: Server, number: int, latency: float) -> None:
        process = current_process()
        assert process is not None
        self.process = process
        self.number = number
        self.name = f"{process.name}:{number}"
        self.host, _, port = server.address.partition(":")
        self.port = int(port)
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.is_subscriber = False
        self.extra = 0.0
        """Seconds that what Redis sends takes longer than usual."""
        self.stalled = False
        """Whether it stays open and brings nothing, in either direction."""
        self._network = network
        self._loop = network.loop
        self._server = server
        self._latency = latency
        self._is_open = True
        self._is_cut = False
        self._commands = hiredis.Reader()
        self._unread: deque[bytes] = deque()
        self._undelivered: deque[bytes] = deque()
        self._there = self._back = 0.0
        self._protocol: Any = None
        self._replies = hiredis.Reader()
        self._answered = asyncio.Event()
        server.connections.append(self)

    @property
    def subscribed(self) -> int:
        return len(self.channels) + len(self.patterns)

    # -- what Stream and RedisPipe use of a connection

    @property
    def _writer(self) -> Connection:
        return self

    @property
    def transport(self) -> Connection:
        return self

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return not self._is_open

    @staticmethod
    def get_extra_info(_: str) -> None:
        """Tell that there is no socket."""

    def write(self, data: bytes) -> None:
        self._there = max(self._there + TICK, self._loop.time() + self._latency)
        self._loop.call_at(self._there, self._arrive, data, context=HARNESS)

    def abort(self) -> None:
        """Close it; what was sent is still executed."""
        self.close()

    async def disconnect(self, nowait: bool = False) -> None:
        self.close()

    @staticmethod
    def pack_commands(commands: list[tuple[Any, ...]]) -> list[bytes]:
        return [hiredis.pack_command(command) for command in commands]

    async def send_packed_command(self, packed: list[bytes]) -> None:
        self.write(b"".join(packed))

    async def read_response(self) -> Any:
        while True:
            reply = self._replies.gets()
            if isinstance(reply, Exception):
                raise reply
            if reply is not False:
                return reply
            if not self._is_open:
                raise RedisConnectionError("cut")
            self._answered.clear()
            await self._answered.wait()

    # -- Redis' side

    def _arrive(self, data: bytes) -> None:
        if not self._is_cut:
            self._unread.append(data)
            self.read()

    def read(self) -> None:
        """Execute what has arrived, unless Redis stands still."""
        while self._unread and not self._network.paused and not self.stalled:
            data = self._unread.popleft()
            if data == _END:
                self._server.connections.remove(self)
                return
            self._commands.feed(data)
            while (command := self._commands.gets()) is not False:
                reply = self._network.execute(self._server, self, command)
                if reply is not NOTHING:
                    self.push(reply)

    def push(self, reply: Reply) -> None:
        """Send something to the server's process."""
        late = self._network.late + self.extra
        self._back = max(self._back + TICK, self._loop.time() + self._latency + late)
        self._loop.call_at(self._back, self._deliver, encode(reply), context=HARNESS)

    def _deliver(self, data: bytes) -> None:
        self._undelivered.append(data)
        self.deliver()

    def deliver(self) -> None:
        """Hand over what has come, in the process that the connection belongs to."""
        if self._undelivered and self._is_open and not self.stalled and self.process.alive:
            data = b"".join(self._undelivered)
            self._undelivered.clear()
            self._loop.call_soon(self._take, data, context=self.process.context)

    def _take(self, data: bytes) -> None:
        if not self._is_open:
            return
        if self._protocol is not None:
            self._protocol.data_received(data)
        else:
            self._replies.feed(data)
            self._answered.set()

    def cut(self) -> None:
        """End it as the network does, or Redis."""
        if self._is_cut:
            return
        self._is_cut = True
        self._unread.clear()
        self._undelivered.clear()
        if self in self._server.connections:
            self._server.connections.remove(self)
        if self._is_open:
            self._is_open = False
            self._loop.call_soon(self._closed, context=self.process.context)

    def close(self) -> None:
        """End it from the process's side, as its death does too."""
        if self._is_open:
            self.write(_END)
            self._is_open = False
            if self.process.alive:
                self._loop.call_soon(self._closed, context=self.process.context)

    def _closed(self) -> None:
        self._answered.set()
        if self._protocol is not None:
            self._protocol.connection_lost(None)


class Network:
    """The primary, and what is wrong on the way to it.

    :param observe: called with each command that a primary executes, and its reply.
    """

    def __init__(
        self, loop: VirtualLoop, seed: str, observe: Callable[[Server, list[bytes], Reply], None]
    ) -> None:
        self.loop = loop
        self.primary: Server | None = Server("redis:7000", Data(loop.time))
        self.paused = False
        """Whether Redis stands still; connections stay, and what comes is executed later."""
        self.late = 0.0
        """Seconds that every answer takes longer."""
        self.failure: Exception | None = None
        """What went wrong in the model itself."""
        self._seed = seed
        self._observe = observe
        self._connections: dict[str, int] = {}
        self._numbers = 0
        self._servers = [self.primary]

    @property
    def connections(self) -> list[Connection]:
        return [each for server in self._servers for each in server.connections]

    async def connect(self) -> Connection:
        """Open a connection for the process that asks.

        :raises redis.exceptions.ConnectionError: while there is no primary, or it is busy.
        """
        process = current_process()
        assert process is not None
        count = self._connections[process.name] = self._connections.get(process.name, 0) + 1
        chance = random.Random(f"{self._seed} {process.name} {count}")
        latency = chance.choice([0.0002, 0.0005, 0.001, 0.005])
        await asyncio.sleep(latency)
        if self.primary is None:
            raise RedisConnectionError("Connection refused")
        if self.primary.is_busy:  # CLIENT SETNAME is refused
            raise RedisConnectionError("Redis is busy running a script")
        self._numbers += 1
        return Connection(self, self.primary, self._numbers, latency)

    def execute(self, server: Server, connection: Connection, command: list[bytes]) -> Reply:
        try:
            reply = server.execute(connection, command)
        except Exception as error:
            self.failure = self.failure or error
            return hiredis.ReplyError("ERR the model has failed")
        if not isinstance(reply, Exception):
            self._observe(server, command, reply)
        return reply

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        for connection in self.connections:
            connection.read()

    def cut(self, *, subscribers: bool, commands: bool, process: str = "") -> None:
        """Cut connections: those that subscribe, those that send commands, or both."""
        for connection in self.connections:
            wanted = subscribers if connection.is_subscriber else commands
            if wanted and process in ("", connection.process.name):
                connection.cut()

    def restart(self, server: Server) -> None:
        """Start a server again, with its data."""
        self.cut(subscribers=True, commands=True)
        server.scripts.clear()

    def lose_primary(self) -> None:
        """The primary is gone with all connections to it."""
        if self.primary is not None:
            self.cut(subscribers=True, commands=True)
        self.primary = None

    def promote(self, data: Data, *, demote: bool = False) -> None:
        """Another server is the primary now.

        :param demote: whether the old one goes on, as a replica that takes no writes.
        """
        previous = self.primary if demote else None
        replicas = [*previous.replicas, previous] if previous is not None else []
        if previous is None:
            self.lose_primary()
        self.primary = Server(f"redis:{7000 + len(self._servers)}", data)
        self.primary.replicas = replicas
        for replica in replicas:
            replica.is_replica, replica.data = True, data
        self._servers.append(self.primary)

    def heal(self) -> None:
        """Nothing is wrong any more."""
        self.late = 0.0
        for connection in self.connections:
            connection.extra = 0.0
            if connection.stalled:
                connection.stalled = False
                connection.cut()  # a network that comes back has forgotten it
        for server in self._servers:
            server.accept()
        if self.paused:
            self.resume()

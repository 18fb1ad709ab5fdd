"""A model of Redis: its commands, scripts by their effect, pub/sub, and the way there.

It speaks RESP, so that everything from the pipe to the cache and the fan-out is real code.
Each connection has a latency of its own in each direction and keeps its order.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
import orjson
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.simulation.loop import HARNESS, TICK, VirtualLoop, current_process

Reply = bytes | int | None | list[Any] | Exception


class Data:
    """What one server stores.

    :param now: the time in seconds that keys expire by.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.values: dict[bytes, Any] = {}
        self._expiries: dict[bytes, float] = {}

    def copy(self) -> Data:
        """Another server's copy."""
        made = Data(self.now)
        made.values = copy.deepcopy(self.values)
        made._expiries = dict(self._expiries)
        return made

    def get(self, key: bytes) -> Any:
        if self.ttl(key) == -2:
            self.values.pop(key, None)
            self._expiries.pop(key, None)
        return self.values.get(key)

    def set(self, key: bytes, value: Any, seconds: float | None) -> None:
        self.values[key] = value
        self._expiries.pop(key, None)
        if seconds is not None:
            self.expire(key, seconds)

    def sorted_set(self, key: bytes) -> dict[bytes, float]:
        found: dict[bytes, float] | None = self.get(key)
        if found is None:
            found = self.values[key] = {}
        return found

    def expire(self, key: bytes, seconds: float) -> None:
        self._expiries[key] = self.now() + seconds

    def ttl(self, key: bytes) -> float:
        """Seconds left; -1: forever, -2: there is no such key."""
        if key not in self.values or self.values[key] == {}:
            return -2
        until = self._expiries.get(key)
        if until is None:
            return -1
        left = until - self.now()
        return left if left > 0 else -2

    def by_score(self, key: bytes, least: float, most: float) -> list[tuple[float, bytes]]:
        members = self.get(key) or {}
        return sorted((score, name) for name, score in members.items() if least <= score <= most)


# -- scripts, by their effect ----------------------------------------------------------------


def _put_and_index(data: Data, keys: list[bytes], arguments: list[bytes]) -> Reply:
    location, seconds, timestamp, entity_id, expires, now = arguments
    held = data.get(keys[0])
    if held is not None and _timestamp(held) > timestamp:
        return 1
    data.set(keys[0], location, float(seconds))
    index = data.sorted_set(keys[1])
    for _, gone in data.by_score(keys[1], float("-inf"), float(now))[:16]:
        del index[gone]
    index[entity_id] = max(index.get(entity_id, 0.0), float(expires))
    if data.ttl(keys[1]) < float(seconds):
        data.expire(keys[1], float(seconds))
    return 1


def _timestamp(location: bytes) -> bytes:
    found: str = orjson.loads(location)["timestamp"]
    return found.encode()


def _add_revocations(data: Data, keys: list[bytes], arguments: list[bytes]) -> Reply:
    now, most, seconds, version, *pairs = arguments
    members = data.sorted_set(keys[0])
    for score, member in zip(pairs[::2], pairs[1::2], strict=True):
        members[member] = float(score)
    for _, gone in data.by_score(keys[0], float("-inf"), float(now)):
        del members[gone]
    for _, gone in data.by_score(keys[0], float("-inf"), float("inf"))[: -int(most)]:
        del members[gone]
    if data.ttl(keys[0]) < float(seconds):
        data.expire(keys[0], float(seconds))
    data.set(keys[1], version, max(data.ttl(keys[0]), 1))
    return 1


Effect = Callable[[Data, list[bytes], list[bytes]], Reply]

EFFECTS: dict[str, Effect] = {
    "28690ccb9604d968fa99ada29d7abeedd7cc88f1": _put_and_index,
    "fb4b22ed5725ad50813ce4f93ab684d2d6ae6793": _add_revocations,
}
"""What the scripts do, by the SHA-1 of their text: a script that changes must be modelled anew."""


class UnknownScript(Exception):
    """A script that the model has no effect for: add it to :data:`EFFECTS`."""


# -- one server ------------------------------------------------------------------------------


class Server:
    """One Redis server: executes commands one at a time, in the order they arrive."""

    def __init__(self, address: str, data: Data) -> None:
        self.address = address
        self.data = data
        self.connections: list[Connection] = []
        self.scripts: dict[bytes, Effect] = {}
        self.refuses_writes = b""
        """The error that writes are answered with; empty: they succeed."""
        self.is_replica = False
        self.replica: Server | None = None
        """Has the same data, and is told of what is published."""

    def execute(self, connection: Connection, command: list[bytes]) -> Reply | None:
        name = command[0].upper().decode()
        method = getattr(self, f"_{name.lower()}", None)
        if method is None:
            return hiredis.ReplyError(f"ERR unknown command '{name}'")
        reply: Reply = method(connection, command[1:])
        return reply

    def _writable(self) -> hiredis.ReplyError | None:
        if self.is_replica:
            return hiredis.ReplyError("READONLY You can't write against a read only replica.")
        return hiredis.ReplyError(self.refuses_writes.decode()) if self.refuses_writes else None

    def _ping(self, connection: Connection, _: list[bytes]) -> Reply:
        return [b"pong", b""] if connection.subscribed else _Status(b"PONG")

    def _client(self, connection: Connection, arguments: list[bytes]) -> Reply:
        if arguments[0] == b"INFO":
            return b"id=%d addr=%b" % (connection.number, connection.name.encode())
        number = int(arguments[arguments.index(b"ID") + 1])
        for other in [each for each in self.connections if each.number == number]:
            other.cut()
            return 1
        return 0

    def _get(self, _: Connection, arguments: list[bytes]) -> Reply:
        found: Reply = self.data.get(arguments[0])
        return found

    def _exists(self, _: Connection, arguments: list[bytes]) -> Reply:
        return int(self.data.get(arguments[0]) is not None)

    def _set(self, _: Connection, arguments: list[bytes]) -> Reply:
        key, value, *options = arguments
        refused = self._writable()
        if refused is None:
            self.data.set(key, value, float(options[1]) if options else None)
        return refused or _Status(b"OK")

    def _del(self, _: Connection, arguments: list[bytes]) -> Reply:
        return self._writable() or int(self.data.values.pop(arguments[0], None) is not None)

    def _zrem(self, _: Connection, arguments: list[bytes]) -> Reply:
        members = self.data.sorted_set(arguments[0])
        return self._writable() or int(members.pop(arguments[1], None) is not None)

    def _zcount(self, _: Connection, arguments: list[bytes]) -> Reply:
        key, least, most = arguments
        start = float(least.removeprefix(b"("))
        found = self.data.by_score(key, start, float(most))
        return len([each for each in found if not least.startswith(b"(") or each[0] > start])

    def _zrange(self, _: Connection, arguments: list[bytes]) -> Reply:
        key, least, most, *options = arguments
        found = self.data.by_score(key, float(least), float(most))
        offset, size = (int(each) for each in options[2:4])
        found = found[offset : offset + size]
        if b"WITHSCORES" not in options:
            return [name for _, name in found]
        return [part for score, name in found for part in (name, b"%d" % score)]

    def _eval(self, _: Connection, arguments: list[bytes]) -> Reply:
        digest = hashlib.sha1(arguments[0]).hexdigest()
        if digest not in EFFECTS:
            raise UnknownScript(f"{digest}: {arguments[0].decode()}")
        self.scripts[digest.encode()] = EFFECTS[digest]
        return self._run(EFFECTS[digest], arguments[1:])

    def _evalsha(self, _: Connection, arguments: list[bytes]) -> Reply:
        effect = self.scripts.get(arguments[0])
        if effect is None:
            return hiredis.ReplyError("NOSCRIPT No matching script.")
        return self._run(effect, arguments[1:])

    def _run(self, effect: Effect, arguments: list[bytes]) -> Reply:
        count = int(arguments[0])
        keys, rest = arguments[1 : 1 + count], arguments[1 + count :]
        return self._writable() or effect(self.data, keys, rest)

    def _publish(self, _: Connection, arguments: list[bytes]) -> Reply:
        channel, message = arguments
        if self.is_replica:
            return self._writable()
        heard = self._spread(channel, message)
        if self.replica is not None:
            self.replica._spread(channel, message)
        return heard

    def _spread(self, channel: bytes, message: bytes) -> int:
        heard = 0
        for connection in list(self.connections):
            if channel in connection.channels:
                connection.push([b"message", channel, message])
                heard += 1
            for pattern in connection.patterns:
                if channel.startswith(pattern[:-1].replace(b"\\", b"")):
                    connection.push([b"pmessage", pattern, channel, message])
                    heard += 1
        return heard

    def _subscribe(self, connection: Connection, names: list[bytes]) -> Reply:
        return self._change(connection, connection.channels, b"subscribe", names, add=True)

    def _unsubscribe(self, connection: Connection, names: list[bytes]) -> Reply:
        return self._change(connection, connection.channels, b"unsubscribe", names, add=False)

    def _psubscribe(self, connection: Connection, names: list[bytes]) -> Reply:
        return self._change(connection, connection.patterns, b"psubscribe", names, add=True)

    def _punsubscribe(self, connection: Connection, names: list[bytes]) -> Reply:
        return self._change(connection, connection.patterns, b"punsubscribe", names, add=False)

    def _change(
        self,
        connection: Connection,
        which: dict[bytes, None],
        verb: bytes,
        names: list[bytes],
        *,
        add: bool,
    ) -> Reply:
        for name in names:
            if add:
                which[name] = None
            else:
                which.pop(name, None)
            connection.push([verb, name, connection.subscribed])
        return _NOTHING


class _Status(bytes):
    """A simple string."""


_NOTHING: Any = object()

_END = b""
"""What arrives last on a connection that its process has closed."""


def encode(reply: Reply) -> bytes:
    """A reply as RESP2 has it."""
    match reply:
        case None:
            return b"$-1\r\n"
        case _Status():
            return b"+%b\r\n" % reply
        case Exception():
            return b"-%b\r\n" % str(reply).encode()
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list():
            return b"*%d\r\n%b" % (len(reply), b"".join(map(encode, reply)))


# -- the way there ---------------------------------------------------------------------------


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
        return [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]

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
                if reply is not _NOTHING:
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

    :param observe: called with each command that a primary executes.
    """

    def __init__(
        self, loop: VirtualLoop, seed: str, observe: Callable[[Server, list[bytes]], None]
    ) -> None:
        self.loop = loop
        self.primary: Server | None = Server("redis:7000", Data(lambda: loop.time()))
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

        :raises redis.exceptions.ConnectionError: while there is no primary.
        """
        process = current_process()
        assert process is not None
        count = self._connections[process.name] = self._connections.get(process.name, 0) + 1
        chance = random.Random(f"{self._seed} {process.name} {count}")
        latency = chance.choice([0.0002, 0.0005, 0.001, 0.005])
        await asyncio.sleep(latency)
        if self.primary is None:
            raise RedisConnectionError("Connection refused")
        self._numbers += 1
        return Connection(self, self.primary, self._numbers, latency)

    def execute(self, server: Server, connection: Connection, command: list[bytes]) -> Reply:
        try:
            reply = server.execute(connection, command)
        except Exception as error:
            self.failure = self.failure or error
            return hiredis.ReplyError("ERR the model has failed")
        if not isinstance(reply, Exception):
            self._observe(server, command)
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
        if previous is None:
            self.lose_primary()
        self.primary = Server(f"redis:{7000 + len(self._servers)}", data)
        if previous is not None:
            previous.is_replica, previous.data = True, data
            self.primary.replica = previous
        self._servers.append(self.primary)

    def heal(self) -> None:
        """Nothing is wrong any more."""
        self.late = 0.0
        for connection in self.connections:
            connection.extra = 0.0
            if connection.stalled:
                connection.stalled = False
                connection.cut()  # a network that comes back has forgotten it
        if self.primary is not None:
            self.primary.refuses_writes = b""
        if self.paused:
            self.resume()

"""A model of Redis: its commands, scripts by their effect, and pub/sub."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import hiredis
import orjson

from atriz_realtime.defaults.revocations.stored import MAX_LOGGED

if TYPE_CHECKING:
    from tests.simulation.network import Connection

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
        until = self._expiries.get(key)
        if until is not None and until <= self.now():
            self.delete(key)
        return self.values.get(key) or None  # an empty sorted set is none

    def set(self, key: bytes, value: Any, seconds: float | None) -> None:
        self.values[key] = value
        self._expiries.pop(key, None)
        if seconds is not None:
            self.expire(key, seconds)

    def clear(self) -> None:
        self.values.clear()
        self._expiries.clear()

    def delete(self, key: bytes) -> bool:
        self._expiries.pop(key, None)
        return bool(self.values.pop(key, None))

    def sorted_set(self, key: bytes) -> dict[bytes, float]:
        if self.get(key) is None:
            self.set(key, {}, None)
        found: dict[bytes, float] = self.values[key]
        return found

    def expire(self, key: bytes, seconds: float) -> None:
        self._expiries[key] = self.now() + seconds

    def ttl(self, key: bytes) -> float:
        """Seconds left; -1: forever, -2: there is no such key."""
        if self.get(key) is None:
            return -2
        return self._expiries[key] - self.now() if key in self._expiries else -1

    def by_score(self, key: bytes, least: float, most: float) -> list[tuple[float, bytes]]:
        members = self.get(key) or {}
        return sorted((score, name) for name, score in members.items() if least <= score <= most)


# -- scripts, by their effect ----------------------------------------------------------------


def _put_and_index(server: Server, keys: list[bytes], arguments: list[bytes]) -> Reply:
    data = server.data
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


def _keep_all(server: Server, keys: list[bytes], arguments: list[bytes]) -> Reply:
    data, index, kept = server.data, keys[0], 0
    seconds, expires, now, *ids = arguments
    for current, last, entity_id in zip(keys[1::2], keys[2::2], ids, strict=True):
        location, held = data.get(current), data.get(last)
        if location is None or (held is not None and _timestamp(held) > _timestamp(location)):
            continue
        data.set(last, location, float(seconds))
        data.sorted_set(index)[entity_id] = float(expires)
        kept += 1
    if not kept:
        return 0
    members = data.sorted_set(index)
    for _, gone in data.by_score(index, float("-inf"), float(now))[: kept + 16]:
        del members[gone]
    if data.ttl(index) < float(seconds):
        data.expire(index, float(seconds))
    return kept


def _publish(server: Server, _: list[bytes], arguments: list[bytes]) -> Reply:
    event, channel = arguments
    server.publish(channel, event)
    return 1


def _publish_unless_newer(server: Server, keys: list[bytes], arguments: list[bytes]) -> Reply:
    event, channel, location, timestamp = arguments
    held = server.data.get(keys[0])
    if held is not None and held != location and _timestamp(held) >= timestamp:
        return 0
    server.publish(channel, event)
    return 1


def _timestamp(location: bytes) -> bytes:
    found: str = orjson.loads(location)["timestamp"]
    return found.encode()


def _add_revocations(server: Server, keys: list[bytes], arguments: list[bytes]) -> Reply:
    data = server.data
    now, most, seconds, version, *pairs = arguments
    members, log = data.sorted_set(keys[0]), data.sorted_set(keys[2])
    for _, gone in data.by_score(keys[0], float("-inf"), float(now)):
        del members[gone]
    newest = max(log, key=log.__getitem__, default=b"")
    if not newest.startswith(data.get(keys[1]) or b"none"):
        log.clear()
    number, stored, added = log.get(newest, 0.0), 0, False
    for score, member in zip(pairs[::2], pairs[1::2], strict=True):
        if member not in members:
            if len(members) >= int(most):
                break
            number, added = number + 1, True
            members[member] = float(score)
            log[version + member] = number
        stored += 1
    if added:
        life = max(data.ttl(keys[0]), float(seconds))
        for _, gone in data.by_score(keys[2], float("-inf"), float("inf"))[:-MAX_LOGGED]:
            del log[gone]
        data.set(keys[1], version, life)
        data.expire(keys[0], life)
        data.expire(keys[2], life)
    return stored


Effect = Callable[["Server", list[bytes], list[bytes]], Reply]

EFFECTS: dict[str, Effect] = {
    "f420cbe01d81494b13516942ba625f1667e98c87": _put_and_index,
    "d23d1f9493c2ac28aca05e8bfd8109f3b43d53e3": _keep_all,
    "08607932c72837c7df443375ae7578d6bdd1a696": _publish,
    "796b8ff3c157167c49e09f80dd54fe3f601c6e1e": _publish_unless_newer,
    "1c08721a2c8267903a68ee9b5cf3eb7d12eea818": _add_revocations,
}
"""What the scripts do, by the SHA-1 of their text: a script that changes must be modelled anew."""


_SUBSCRIBING = frozenset({"SUBSCRIBE", "PSUBSCRIBE"})

_WHILE_LOADING = frozenset({"CLIENT", "ROLE", "UNSUBSCRIBE", "PUNSUBSCRIBE"}) | _SUBSCRIBING
"""The commands that a server carries out while it loads its data."""


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
        self.is_loading = False
        """Whether it was started again and is not ready."""
        self.is_busy = False
        """Whether a script runs that does not end."""
        self.forbids_subscriptions = False
        self.is_replica = False
        self.replicas: list[Server] = []
        """Have the same data, and are told of what is published."""

    def execute(self, connection: Connection, command: list[bytes]) -> Reply | None:
        name = command[0].upper().decode()
        if refusal := self._refusal(name):
            return hiredis.ReplyError(refusal)
        method = getattr(self, f"_{name.lower()}", None)
        if method is None:
            return hiredis.ReplyError(f"ERR unknown command '{name}'")
        reply: Reply = method(connection, command[1:])
        return reply

    def _refusal(self, name: str) -> str:
        """The error that a command is answered with whatever it says; empty: it is carried out."""
        if self.is_loading and name not in _WHILE_LOADING:
            return "LOADING Redis is loading the dataset in memory"
        if self.is_busy:
            return "BUSY Redis is busy running a script."
        if self.forbids_subscriptions and name in _SUBSCRIBING:
            return f"NOPERM User default has no permissions to run the '{name}' command"
        return ""

    def accept(self) -> None:
        """Refuse nothing any more."""
        self.is_loading = self.is_busy = self.forbids_subscriptions = False
        self.refuses_writes = b""

    def _writable(self) -> hiredis.ReplyError | None:
        if self.is_replica:
            return hiredis.ReplyError("READONLY You can't write against a read only replica.")
        return hiredis.ReplyError(self.refuses_writes.decode()) if self.refuses_writes else None

    def _ping(self, connection: Connection, _: list[bytes]) -> Reply:
        return [b"pong", b""] if connection.subscribed else Status(b"PONG")

    def _client(self, connection: Connection, arguments: list[bytes]) -> Reply:
        if arguments[0] == b"INFO":
            return b"id=%d addr=%b" % (connection.number, connection.name.encode())
        number = int(arguments[arguments.index(b"ID") + 1])
        for other in [each for each in self.connections if each.number == number]:
            other.cut()
            return 1
        return 0

    def _role(self, _: Connection, __: list[bytes]) -> Reply:
        return [b"slave" if self.is_replica else b"master"]

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
        return refused or Status(b"OK")

    def _del(self, _: Connection, arguments: list[bytes]) -> Reply:
        return self._writable() or int(self.data.delete(arguments[0]))

    def _zrem(self, _: Connection, arguments: list[bytes]) -> Reply:
        members = self.data.sorted_set(arguments[0])
        gone = [name for name in arguments[1:] if name in members]
        refused = self._writable()
        if refused is None:
            for name in gone:
                del members[name]
        return refused or len(gone)

    def _zcount(self, _: Connection, arguments: list[bytes]) -> Reply:
        key, least, most = arguments
        start = float(least.removeprefix(b"("))
        found = self.data.by_score(key, start, float(most))
        return len([each for each in found if not least.startswith(b"(") or each[0] > start])

    def _zrange(self, _: Connection, arguments: list[bytes]) -> Reply:
        key, least, most, *options = arguments
        if b"BYSCORE" in options:
            found = self.data.by_score(key, float(least), float(most))
            offset, size = (int(each) for each in options[2:4])
            found = found[offset : offset + size]
        else:  # the last one
            assert (least, most) == (b"-1", b"-1")
            found = self.data.by_score(key, float("-inf"), float("inf"))[-1:]
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
        publishes = effect in (_publish, _publish_unless_newer)
        refused = self._writable() if self.is_replica or not publishes else None
        return refused or effect(self, keys, rest)

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send a message to all subscribers; returns how many this server and its replicas have."""
        return sum(each._spread(channel, message) for each in (self, *self.replicas))

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
        nothing: Reply = NOTHING
        return nothing


class Status(bytes):
    """A simple string."""


NOTHING: Any = object()
"""The reply of a command that has sent its own."""


def encode(reply: Reply) -> bytes:
    """A reply as RESP2 has it."""
    match reply:
        case None:
            return b"$-1\r\n"
        case Status():
            return b"+%b\r\n" % reply
        case Exception():
            return b"-%b\r\n" % str(reply).encode()
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list():
            return b"*%d\r\n%b" % (len(reply), b"".join(map(encode, reply)))

"""Revocations in Redis: their form, how they are added, and how a server reads what is new."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import attrs

from atriz_realtime.api import InvalidRequest, RedisLink
from atriz_realtime.defaults.shared.redis_rights import Trial, scripts, sorted_set, unused_name

KEY = "{realtime:revocations}"
"""The sorted set of revocations, scored by expiry; the other keys are in the same slot."""

VERSION_KEY = "{realtime:revocations}:version"
"""The key whose value changes with every new revocation."""

LOG_KEY = "{realtime:revocations}:log"
"""The newest revocations in the order they were added, each after the version it made."""

MAX_REVOCATIONS = 100_000
"""Revocations in force; further ones are refused until some expire."""

MAX_LOGGED = 10_000
"""New revocations that Redis lists in order; a server that missed more reads them all again."""

MAX_VALUE_LENGTH = 256
"""Characters of a revoked token's, user's or session's id."""

PAGE = 500
"""Revocations in one read or write, and in one turn of the event loop."""

PAGE_PAUSE = 0.005
"""Seconds between two pages of revocations that are read."""

Kind = Literal["token", "user", "session"]
Key = tuple[str, str]
"""The kind and the value of a revocation."""

# Adds ARGV[5…] in pairs of expiry and member to KEYS[1], as long as there are fewer members
# than ARGV[2]; returns how many pairs are in it then.  Removes those that expired before ARGV[1].
# Each new member is logged in KEYS[3] behind ARGV[4], which becomes the version KEYS[2].  A
# version that the log does not end with was written by a server that keeps no log: it
# starts anew.  The keys live for ARGV[3] seconds more.
ADD = f"""
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
local room = tonumber(ARGV[2]) - redis.call('ZCOUNT', KEYS[1], '-inf', '+inf')
local newest = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')
local number, stored, added = tonumber(newest[2] or 0), 0, false
if number > 0 and string.sub(newest[1], 1, #ARGV[4]) ~= redis.call('GET', KEYS[2]) then
  redis.call('DEL', KEYS[3])
  number = 0
end
for at = 5, #ARGV, 2 do
  if not redis.call('ZSCORE', KEYS[1], ARGV[at + 1]) then
    if room < 1 then break end
    room, number, added = room - 1, number + 1, true
    redis.call('ZADD', KEYS[1], ARGV[at], ARGV[at + 1])
    redis.call('ZADD', KEYS[3], number, ARGV[4] .. ARGV[at + 1])
  end
  stored = stored + 1
end
if added then
  local life = math.max(redis.call('TTL', KEYS[1]), tonumber(ARGV[3]))
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - {MAX_LOGGED})
  redis.call('SET', KEYS[2], ARGV[4], 'EX', life)
  redis.call('EXPIRE', KEYS[1], life)
  redis.call('EXPIRE', KEYS[3], life)
end
return stored
"""

_VERSION_BYTES = 8
_VERSION_LENGTH = 2 * _VERSION_BYTES


@attrs.frozen
class Revocation:
    """A token, a user or a session that is refused."""

    kind: Kind
    """``token``: the token with this ``jti``.  ``user``: the tokens of this user that were issued
    up to ``at``.  ``session``: the socket with this id, and tokens with this ``sid``."""
    value: str
    """The ``jti``, user id or session id."""
    at: int
    """The time of a user's revocation, in seconds since the epoch.  0 for the other kinds, so that
    revoking twice makes one member; servers of earlier versions write the time."""
    expires: int
    """The time when every token it applies to has expired, in seconds since the epoch."""

    @classmethod
    def make(cls, kind: Kind, value: str, expires: int) -> Revocation:
        """Revoke now.

        :raises InvalidRequest: when the value is empty or too long.
        """
        return cls.read([kind, value, int(time.time()) if kind == "user" else 0, expires])

    @property
    def key(self) -> Key:
        """What is revoked."""
        return self.kind, self.value

    def covers(self, other: Revocation) -> bool:
        """Whether another revocation of the same key adds nothing."""
        return self.at >= other.at and self.expires >= other.expires

    def encode(self) -> str:
        """The member of the sorted set."""
        return json.dumps([self.kind, self.value, self.at, self.expires])

    @classmethod
    def read(cls, data: Any) -> Revocation:
        """Read the data of a signal, or a member of the sorted set.

        :raises InvalidRequest: when the data is not a revocation.
        """
        match data:
            case ["token" | "user" | "session" as kind, str(value), int(at), int(expires)]:
                if 0 < len(value) <= MAX_VALUE_LENGTH:
                    return cls(kind, value, at, expires)
        raise InvalidRequest("not a revocation")


def keys(prefix: str) -> tuple[str, str, str]:
    """The keys of the script, behind a prefix."""
    return prefix + KEY, prefix + VERSION_KEY, prefix + LOG_KEY


def arguments(made: Sequence[Revocation]) -> tuple[str | bytes | float, ...]:
    """The arguments of the script, one revocation or more."""
    now = int(time.time())
    life = max(each.expires for each in made) - now
    pairs = [part for each in made for part in (each.expires, each.encode())]
    return (now, MAX_REVOCATIONS, max(life, 1), secrets.token_hex(_VERSION_BYTES), *pairs)


def trials(prefix: str) -> Iterator[Trial]:
    """What a server does with these keys, on one that no server uses."""
    place, key = f"~{prefix}{KEY}*", f"{prefix}{KEY}:{unused_name()}"
    yield from scripts(key, place)
    yield from sorted_set(key, place)
    yield ("ZREMRANGEBYSCORE", key, "-inf", 1), place
    yield ("ZREMRANGEBYRANK", key, 0, -1), place
    yield ("DEL", key), place
    yield ("SET", key, "1", "EX", 10), place
    yield ("GET", key), place
    yield ("DEL", key), place


class StoredRevocations:
    """The revocations in Redis, as one server reads and writes them."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._keys = keys(prefix)
        self._version: bytes | None = None
        """The version up to which everything has been read; ``None``: Redis had none."""
        self._logged: bytes | None = None
        """The entry of the log up to which everything has been read, and its number."""
        self._number = 0

    async def add(self, made: Sequence[Revocation]) -> int:
        """Add revocations; returns how many, from the first on, are stored."""
        stored: int = await self._link.evaluate(ADD, self._keys, arguments(made))
        if stored:
            self._version = b""  # by the next read, a Redis that has lost these has no new version
        return stored

    async def remove(self, members: Iterable[str]) -> None:
        """Remove members that others have replaced."""
        await self._link.execute("ZREM", self._keys[0], *members)

    async def read_new(self, take: Callable[[Revocation], None]) -> bool:
        """Read what was added since the last read; returns whether the log could tell."""
        while await self._link.execute("GET", self._keys[1]) != self._version:
            found = await self._link.execute(
                *("ZRANGE", self._keys[2], self._number, "+inf"),
                *("BYSCORE", "LIMIT", 0, PAGE + 1, "WITHSCORES"),
            )
            entries: list[bytes] = found[::2]
            if len(entries) < 2 or entries[0] != self._logged:
                return False
            for entry in entries[1:]:
                _take(entry[_VERSION_LENGTH:], take)
            self._logged, self._number = entries[-1], int(found[-1])
            self._version = entries[-1][:_VERSION_LENGTH]
            await asyncio.sleep(PAGE_PAUSE)
        return True

    async def read_all(self, take: Callable[[Revocation], None]) -> None:
        """Read all revocations in force.

        What is added meanwhile is read by the next :meth:`read_new`.
        """
        newest = await self._link.execute("ZRANGE", self._keys[2], -1, -1, "WITHSCORES")
        version = await self._link.execute("GET", self._keys[1])
        start: float | bytes = int(time.time())
        size = PAGE
        while True:
            found = await self._link.execute(
                *("ZRANGE", self._keys[0], start, "+inf"),
                *("BYSCORE", "LIMIT", 0, size, "WITHSCORES"),
            )
            members: list[bytes] = found[::2]
            for first in range(0, len(members), PAGE):
                for member in members[first : first + PAGE]:
                    _take(member, take)
                await asyncio.sleep(PAGE_PAUSE)
            if len(members) < size:
                break
            # the next page starts with the same expiry, which more may have than fit
            size = 2 * size if found[-1] == start else PAGE
            start = found[-1]
        self._logged, self._number = (newest[0], int(newest[1])) if newest else (None, 0)
        self._version = version


def _take(member: bytes, take: Callable[[Revocation], None]) -> None:
    with contextlib.suppress(InvalidRequest, ValueError):
        take(Revocation.read(json.loads(member)))

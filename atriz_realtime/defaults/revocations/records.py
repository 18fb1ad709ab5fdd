"""A revocation, and its form in Redis."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, Literal

import attrs

from atriz_realtime.api import InvalidRequest

SIGNAL = "atriz:revoked"
"""The signal that carries a revocation."""

KEY = "{realtime:revocations}"
"""The sorted set of revocations, scored by expiry; its slot is that of the version's key."""

VERSION_KEY = "{realtime:revocations}:version"
"""The key whose value changes with every revocation."""

MAX_REVOCATIONS = 100_000
"""Revocations in force; beyond, those that expire first are dropped."""

EXPIRY_MARGIN = 600
"""Seconds that a revocation outlives the token; more than any leeway."""

MAX_VALUE_LENGTH = 256
"""Characters of a revoked token's, user's or session's id."""

Kind = Literal["token", "user", "session"]

# Adds ARGV[5…] in pairs of expiry and member to KEYS[1], removes members that expired
# before ARGV[1] or exceed the number ARGV[2], and sets the version KEYS[2] to ARGV[4].
# Both keys live for ARGV[3] seconds more.
ADD = """
redis.call('ZADD', KEYS[1], unpack(ARGV, 5))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[3], 'GT')
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
redis.call('SET', KEYS[2], ARGV[4], 'EX', redis.call('TTL', KEYS[1]))
return 1
"""


@attrs.frozen
class Revocation:
    """A token, a user or a session that is refused."""

    kind: Kind
    """``token``: the token with this ``jti``.  ``user``: the tokens of this user that were issued
    up to ``at``.  ``session``: the socket with this id, and tokens with this ``sid``."""
    value: str
    """The ``jti``, user id or session id."""
    at: int
    """The time of the revocation, in seconds since the epoch."""
    expires: int
    """The time when every token it applies to has expired, in seconds since the epoch."""

    def encode(self) -> str:
        """The member of the sorted set."""
        return json.dumps([self.kind, self.value, self.at, self.expires])

    @classmethod
    def read(cls, data: Any) -> Revocation:
        """Read the data of a signal, or a member of the sorted set.

        :raises InvalidRequest: when it is no revocation.
        """
        match data:
            case ["token" | "user" | "session" as kind, str(value), int(at), int(expires)]:
                if 0 < len(value) <= MAX_VALUE_LENGTH:
                    return cls(kind, value, at, expires)
        raise InvalidRequest("not a revocation")


def revocation(kind: Kind, value: str, expires: float | None, max_life: int) -> Revocation:
    """Make a revocation that is in force from now on.

    :param expires: the time when the token expires, in seconds since the epoch; ``None``: in
        ``max_life`` seconds.
    :raises InvalidRequest: when the value is empty or too long.
    """
    now = int(time.time())
    until = now + max_life if expires is None else int(expires) + EXPIRY_MARGIN
    return Revocation.read([kind, value, now, until])


def arguments(made: list[Revocation]) -> tuple[str | bytes | float, ...]:
    """The arguments of the script that writes revocations."""
    now = int(time.time())
    life = max(each.expires for each in made) - now
    pairs = [part for each in made for part in (each.expires, each.encode())]
    return (now, MAX_REVOCATIONS, max(life, 1), secrets.token_hex(8), *pairs)

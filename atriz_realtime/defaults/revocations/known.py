"""Revocations: their form in Redis, and those in force, as one server knows them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Literal

import attrs
from redis.exceptions import RedisError

from atriz_realtime.api import Identity, InvalidRequest, Resources, ServerHandle, Unavailable

SIGNAL = "atriz:revoked"
"""The signal that carries a revocation."""

KEY = "{realtime:revocations}"
"""The sorted set of revocations, scored by expiry; its slot is that of the version's key."""

VERSION_KEY = "{realtime:revocations}:version"
"""The key whose value changes with every revocation."""

MAX_REVOCATIONS = 100_000
"""The most revocations in force; beyond it, the first to expire are dropped."""

EXPIRY_MARGIN = 600
"""Seconds that a revocation outlives the token; more than any leeway."""

MAX_VALUE_LENGTH = 256
"""Characters of a revoked token's, user's or session's id."""

POLL_SECONDS = 0.5
"""Seconds between two reads of the version in Redis."""

_BATCH = 1_000
"""Revocations in one write."""


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

        :raises InvalidRequest: when the data is not a revocation.
        """
        match data:
            case ["token" | "user" | "session" as kind, str(value), int(at), int(expires)]:
                if 0 < len(value) <= MAX_VALUE_LENGTH:
                    return cls(kind, value, at, expires)
        raise InvalidRequest("not a revocation")


def arguments(made: list[Revocation]) -> tuple[str | bytes | float, ...]:
    """The arguments of the script that writes revocations."""
    now = int(time.time())
    life = max(each.expires for each in made) - now
    pairs = [part for each in made for part in (each.expires, each.encode())]
    return (now, MAX_REVOCATIONS, max(life, 1), secrets.token_hex(8), *pairs)


@attrs.frozen(kw_only=True)
class RevocationSettings:
    """The table ``[realtime.plugins.revocations]``."""

    max_life: int = attrs.field(
        default=2_592_000, validator=[attrs.validators.ge(60), attrs.validators.le(315_360_000)]
    )
    """Seconds that a revocation stays in force when the token's expiry is not given; at least the
    longest life of a token."""


class Revocations:
    """The revocations in force on one server."""

    def __init__(
        self, server: ServerHandle, resources: Resources, settings: RevocationSettings
    ) -> None:
        prefix = resources.settings["redis_prefix"]
        self._server = server
        self._link = resources.redis
        self._report = resources.report
        self._keys = (prefix + KEY, prefix + VERSION_KEY)
        self._max_life = settings.max_life
        self._known: dict[tuple[str, str], Revocation] = {}
        self._unsaved: dict[tuple[str, str], Revocation] = {}
        self._version: bytes | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the revocations in force, and start watching for new ones."""
        self._server.permissions.guard(self.accepts)
        self._server.signals.listen(SIGNAL, self._signalled)
        await self._refresh()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="revocations")

    async def aclose(self) -> None:
        """Stop watching for new revocations."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def accepts(self, identity: Identity) -> bool:
        """Whether no revocation applies to an identity."""
        known = self._known
        if not known:
            return True
        claims = identity.claims
        for kind, claim in (("token", claims.get("jti")), ("session", claims.get("sid"))):
            if claim is not None and (kind, str(claim)) in known:
                return False
        for user in (identity.user_id, identity.granted_by):
            revoked = None if user is None else known.get(("user", user))
            if revoked is not None and _issued(claims) <= revoked.at:
                return False
        return True

    def _signalled(self, data: Any) -> None:
        sent = Revocation.read(data)
        made = sent if sent.expires else attrs.evolve(sent, expires=sent.at + self._max_life)
        if self._add(made):
            if self._link is not None:
                self._unsaved[made.kind, made.value] = made
            self._server.permissions.enforce()

    def _add(self, made: Revocation) -> bool:
        key = (made.kind, made.value)
        held = self._known.get(key)
        if made.expires <= time.time() or (
            held is not None and held.at >= made.at and held.expires >= made.expires
        ):
            return False
        if held is not None:
            made = attrs.evolve(
                made, at=max(held.at, made.at), expires=max(held.expires, made.expires)
            )
        self._known[key] = made
        if len(self._known) > MAX_REVOCATIONS:
            del self._known[min(self._known, key=lambda each: self._known[each].expires)]
        if made.kind == "session":
            self._server.membership.disconnect(made.value)
        return True

    def _expire(self) -> None:
        now = time.time()
        for key in [key for key, each in self._known.items() if each.expires <= now]:
            del self._known[key]
            self._unsaved.pop(key, None)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._expire()
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            await self._synchronise()
        except Unavailable:
            pass  # the connection counts and logs it
        except RedisError as error:
            self._report("revocations unread", str(error))

    async def _synchronise(self) -> None:
        """Write the revocations that Redis lacks, and read those that are new there."""
        if self._link is None:
            return
        await self._save()
        version = await self._link.execute("GET", self._keys[1])
        if version == self._version:
            return
        members = await self._link.execute(
            *("ZRANGE", self._keys[0], int(time.time()), "+inf"),
            *("BYSCORE", "LIMIT", 0, MAX_REVOCATIONS),
        )
        found: set[tuple[str, str]] = set()
        changed = False
        for member in members:
            with contextlib.suppress(InvalidRequest, ValueError):
                made = Revocation.read(json.loads(member))
                found.add((made.kind, made.value))
                changed |= self._add(made)
        self._version = version
        if len(members) < MAX_REVOCATIONS:  # otherwise some were dropped to stay within the limit
            self._unsaved |= {key: each for key, each in self._known.items() if key not in found}
        if changed:
            self._server.permissions.enforce()

    async def _save(self) -> None:
        link = self._link
        while self._unsaved and link is not None:
            batch = dict(list(self._unsaved.items())[:_BATCH])
            await link.evaluate(ADD, self._keys, arguments(list(batch.values())))
            for key, each in batch.items():
                if self._unsaved.get(key) is each:
                    del self._unsaved[key]


def _issued(claims: Mapping[str, Any]) -> float:
    """The time when a token was issued; minus infinity when it does not say."""
    issued = claims.get("iat")
    if isinstance(issued, int | float) and not isinstance(issued, bool):
        return float(issued)
    return float("-inf")

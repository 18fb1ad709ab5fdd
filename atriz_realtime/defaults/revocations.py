"""Revocation: tokens, users and sessions that are no longer good, on every server.

A revocation reaches the other servers as a signal, and stands in Redis until it expires.
Each server looks twice a second whether there is anything new, so one that missed
the signal, that starts later, or that the command line did not know of, has it too; and
what Redis has lost, the servers write again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Literal
from weakref import WeakKeyDictionary

import attrs
import click
from redis.exceptions import RedisError

from atriz_realtime.api import (
    ConfigurationError,
    Identity,
    InvalidRequest,
    PluginConfig,
    RedisLink,
    Resources,
    ServerHandle,
    Signals,
    Unavailable,
    hookimpl,
)

SIGNAL = "atriz:revoked"
"""The signal that carries a revocation."""

KEY = "{realtime:revocations}"
"""The sorted set of revocations, scored by expiry; its slot is that of the next one."""

VERSION_KEY = "{realtime:revocations}:version"
"""Changes with every revocation."""

POLL_SECONDS = 0.5
"""Time between two looks at the version."""

MAX_REVOCATIONS = 100_000
"""Revocations in force; beyond, those that expire first are forgotten."""

EXPIRY_MARGIN = 600
"""Seconds that a revocation outlives the token's expiry: more than any leeway."""

MAX_VALUE_LENGTH = 256
"""Characters of what is revoked."""

Kind = Literal["token", "user", "session"]

# Adds ARGV[5…] in pairs of expiry and member to KEYS[1], drops what expired before
# ARGV[1] and what is beyond ARGV[2], and sets the version KEYS[2] to ARGV[4].  Both
# keys live for ARGV[3] seconds more.
_ADD = """
redis.call('ZADD', KEYS[1], unpack(ARGV, 5))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[3], 'GT')
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
redis.call('SET', KEYS[2], ARGV[4], 'EX', redis.call('TTL', KEYS[1]))
return 1
"""

_BATCH = 1_000
"""Revocations that are written at once."""


@attrs.frozen(kw_only=True)
class RevocationSettings:
    """The table ``[realtime.plugins.revocations]``."""

    max_life: int = attrs.field(
        default=2_592_000,
        validator=[attrs.validators.ge(60), attrs.validators.le(315_360_000)],
    )
    """Seconds that a revocation stays in force when nobody says when the token expires; not
    less than the longest life of a token."""


@attrs.frozen
class Revocation:
    """What is no longer good."""

    kind: Kind
    """``token``: the one with this ``jti``.  ``user``: all tokens of this user that were
    issued until ``at``.  ``session``: the socket of this id, and tokens with this ``sid``."""
    value: str
    """The ``jti``, user id or session id."""
    at: int
    """Seconds since the epoch when it was revoked."""
    expires: int
    """Seconds since the epoch when the last token that it concerns has expired."""

    def encode(self) -> str:
        """As it stands in Redis."""
        return json.dumps([self.kind, self.value, self.at, self.expires])

    @classmethod
    def read(cls, data: Any) -> Revocation:
        """Read what came in a signal, or from Redis.

        :raises InvalidRequest: when it is no revocation.
        """
        match data:
            case ["token" | "user" | "session" as kind, str(value), int(at), int(expires)]:
                if 0 < len(value) <= MAX_VALUE_LENGTH:
                    return cls(kind, value, at, expires)
        raise InvalidRequest("not a revocation")


def revocation(kind: Kind, value: str, expires: float | None, max_life: int) -> Revocation:
    """Make a revocation that begins now.

    :param expires: when the token expires, in seconds since the epoch; ``None``: after
        ``max_life`` seconds.
    :raises InvalidRequest: when the value is empty or too long.
    """
    now = int(time.time())
    until = now + max_life if expires is None else int(expires) + EXPIRY_MARGIN
    return Revocation.read([kind, value, now, until])


async def revoke(signals: Signals, kind: Kind, value: str, *, expires: float | None = None) -> None:
    """Revoke a token, a user or a session on every server of the cluster.

    This server refuses it when this returns, or raises :class:`Unavailable`; the others
    within a second, or when Redis is back.

    :param signals: the ``signals`` of a server, or of a plugin's ``ServerHandle``.
    :param kind: ``token`` (the claim ``jti``), ``user``, or ``session`` (a Socket.IO
        session id, or the claim ``sid``).
    :param expires: when the token expires, in seconds since the epoch, if that is known.
    :raises InvalidRequest: when the value is empty or longer than 256 characters.
    :raises Unavailable: when only this server knows so far.
    """
    until = 0 if expires is None else int(expires) + EXPIRY_MARGIN
    made = Revocation.read([kind, value, int(time.time()), until])
    await signals.send(SIGNAL, list(attrs.astuple(made)))


class Revocations:
    """What is revoked, as one server knows it."""

    def __init__(
        self,
        server: ServerHandle,
        resources: Resources,
        settings: RevocationSettings,
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
        """Read what is in force, and begin to look for more."""
        self._server.permissions.guard(self.holds)
        self._server.signals.listen(SIGNAL, self._signalled)
        await self._look()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="revocations")

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def holds(self, identity: Identity) -> bool:
        """Whether nothing that is revoked concerns an identity."""
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
            await self._look()

    async def _look(self) -> None:
        try:
            await self._synchronise()
        except Unavailable:
            pass  # the connection counts and logs that itself
        except RedisError as error:
            self._report("revocations unread", str(error))

    async def _synchronise(self) -> None:
        """Write what Redis lacks, and read what is new there."""
        if self._link is None:
            return
        await self._save()
        version = await self._link.execute("GET", self._keys[1])
        if version == self._version:
            return
        members = await self._link.execute(
            "ZRANGE",
            self._keys[0],
            int(time.time()),
            "+inf",
            "BYSCORE",
            "LIMIT",
            0,
            MAX_REVOCATIONS,
        )
        found: set[tuple[str, str]] = set()
        changed = False
        for member in members:
            with contextlib.suppress(InvalidRequest, ValueError):
                made = Revocation.read(json.loads(member))
                found.add((made.kind, made.value))
                changed |= self._add(made)
        self._version = version
        if len(members) < MAX_REVOCATIONS:  # else Redis has dropped some on purpose
            self._unsaved |= {key: each for key, each in self._known.items() if key not in found}
        if changed:
            self._server.permissions.enforce()

    async def _save(self) -> None:
        link = self._link
        while self._unsaved and link is not None:
            batch = dict(list(self._unsaved.items())[:_BATCH])
            await link.evaluate(_ADD, self._keys, arguments(list(batch.values())))
            for key, each in batch.items():
                if self._unsaved.get(key) is each:
                    del self._unsaved[key]


def arguments(made: list[Revocation]) -> tuple[str | bytes | float, ...]:
    """The arguments of the script that writes revocations."""
    now = int(time.time())
    life = max(each.expires for each in made) - now
    pairs = [part for each in made for part in (each.expires, each.encode())]
    return (now, MAX_REVOCATIONS, max(life, 1), secrets.token_hex(8), *pairs)


def _issued(claims: Mapping[str, Any]) -> float:
    """When a token was issued; one that does not say was issued before everything."""
    issued = claims.get("iat")
    if isinstance(issued, int | float) and not isinstance(issued, bool):
        return float(issued)
    return float("-inf")


_RUNNING: WeakKeyDictionary[ServerHandle, Revocations] = WeakKeyDictionary()
"""What each server of this process started."""


@hookimpl
def register_settings() -> type[RevocationSettings]:
    """The plugin's own table."""
    return RevocationSettings


@hookimpl
async def server_started(config: PluginConfig, server: ServerHandle, resources: Resources) -> None:
    """Begin to refuse what is revoked."""
    settings = config.load(RevocationSettings)
    running = Revocations(server, resources, settings)
    _RUNNING[server] = running
    await running.start()


@hookimpl
async def server_stopping(server: ServerHandle) -> None:
    """Stop looking for more."""
    running = _RUNNING.pop(server, None)
    if running is not None:
        await running.aclose()


@hookimpl
def register_commands(config: PluginConfig, resources: Resources) -> click.Command:
    """Offer ``atriz-realtime revoke``."""
    settings = config.load(RevocationSettings)

    @click.command("revoke", short_help="Revoke a token, a user or a session.")
    @click.argument("kind", type=click.Choice(["token", "user", "session"]))
    @click.argument("value")
    @click.option(
        "--expires", type=int, metavar="SECONDS", help="When the token expires, since the epoch."
    )
    def command(kind: Kind, value: str, expires: int | None) -> None:
        """Revoke a token (its jti), a user, or a session (its Socket.IO id or claim sid).

        Every server on the same Redis refuses it, and closes its sockets, within a second.
        """
        if resources.redis is None:
            raise ConfigurationError("revoke needs a redis_url (REDIS_URL)", field="redis_url")
        made = revocation(kind, value, expires, settings.max_life)
        prefix = config.settings["redis_prefix"]
        asyncio.run(write(resources.redis, prefix, made))
        click.echo(f"revoked {kind} {value}")

    return command


async def write(link: RedisLink, prefix: str, made: Revocation) -> None:
    """Write a revocation where no server runs; the servers read it within a second.

    :raises Unavailable: when Redis does not take it.
    """
    client: Any = link.client
    try:
        await client.eval(_ADD, 2, prefix + KEY, prefix + VERSION_KEY, *arguments([made]))
    except RedisError as error:
        raise Unavailable(f"Redis: {error}") from error
    finally:
        await client.aclose()

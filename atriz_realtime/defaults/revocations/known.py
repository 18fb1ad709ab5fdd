"""The revocations in force, as one server knows them."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import defaultdict
from collections.abc import Mapping
from itertools import islice
from typing import Any

import attrs
from redis.exceptions import RedisError

from atriz_realtime.api import Identity, Resources, RevocationLimit, ServerHandle, Unavailable
from atriz_realtime.defaults.revocations.stored import (
    MAX_REVOCATIONS,
    PAGE,
    Key,
    Revocation,
    StoredRevocations,
)

SIGNAL = "atriz:revoked"
"""The signal that carries a revocation."""

EXPIRY_MARGIN = 600
"""Seconds that a revocation outlives the token; more than any leeway."""

POLL_SECONDS = 0.5
"""Seconds between two reads of what is new in Redis."""


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
        link, prefix = resources.redis, resources.settings["redis_prefix"]
        self._server = server
        self._stored = None if link is None else StoredRevocations(link, prefix)
        self._report = resources.report
        self.max_life = settings.max_life
        self._known: dict[Key, Revocation] = {}
        self._expiries: list[tuple[int, Key]] = []
        """A heap by expiry; a revocation that was prolonged since is looked at too early."""
        self._unsaved: set[Key] = set()
        self._replaced: defaultdict[Key, set[str]] = defaultdict(set)
        """Members of the set in Redis that the revocations in force have replaced."""

    async def start(self) -> None:
        """Read the revocations in force, and start watching for new ones."""
        self._server.permissions.guard(self.accepts)
        self._server.signals.listen(SIGNAL, self._signalled)
        await self._refresh()
        self._server.create_task(self._run(), name="revocations")

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

    async def revoke(self, made: Revocation) -> None:
        """Put a revocation in force here, then on every server, and store it.

        :raises RevocationLimit: when there are too many; it is not in force then.
        :raises Unavailable: when it is in force here, and not stored yet.
        """
        key = made.key
        held = self._known.get(key)
        if held is None and len(self._known) >= MAX_REVOCATIONS:
            self._report_full()
            raise RevocationLimit
        if held is None or not held.covers(made):
            await self._server.signals.send(SIGNAL, list(attrs.astuple(made)))
        if self._stored is None or key not in self._known:
            return
        try:
            if not await self._save_some(self._stored, [key]):
                raise Unavailable("the revocation is in force, but there is no room to store it")
        except RedisError as error:
            raise Unavailable(f"Redis: {error}") from error

    def _signalled(self, data: Any) -> None:
        sent = Revocation.read(data)
        # servers of earlier versions leave the expiry to each receiver
        self._add(sent if sent.expires else attrs.evolve(sent, expires=sent.at + self.max_life))

    def _add(self, made: Revocation) -> None:
        key = made.key
        held = self._known.get(key)
        if made.expires <= time.time() or (held is not None and held.covers(made)):
            return
        if held is None:
            heapq.heappush(self._expiries, (made.expires, key))
        else:
            made = attrs.evolve(
                made, at=max(held.at, made.at), expires=max(held.expires, made.expires)
            )
        self._known[key] = made
        if self._stored is not None:
            self._unsaved.add(key)
            if held is not None:
                self._replaced[key].add(held.encode())
        if held is None or made.at > held.at:
            self._server.permissions.enforce()
        if made.kind == "session":
            self._server.membership.disconnect(made.value)

    def _found(self, made: Revocation) -> None:
        """Take over what Redis holds; a member that is replaced is removed with the next write."""
        self._add(made)
        key = made.key
        held = self._known.get(key)
        if held == made and key not in self._replaced:
            self._unsaved.discard(key)
        elif held is not None and held != made:
            self._replaced[key].add(made.encode())
            self._unsaved.add(key)

    async def _expire(self) -> None:
        now = time.time()
        handled = 0
        while self._expiries and self._expiries[0][0] <= now:
            key = self._expiries[0][1]
            expires = self._known[key].expires
            if expires > now:
                heapq.heapreplace(self._expiries, (expires, key))
            else:
                heapq.heappop(self._expiries)
                del self._known[key]
                self._unsaved.discard(key)
                self._replaced.pop(key, None)
            handled += 1
            if handled % PAGE == 0:
                await asyncio.sleep(0)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._expire()
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            await self._synchronise()
        except Unavailable:
            pass  # the connection counts and logs it
        except RedisError as error:
            self._report("revocations unread", str(error))

    async def _synchronise(self) -> None:
        """Read the revocations that are new in Redis, and write those that it lacks."""
        stored = self._stored
        if stored is None:
            return
        if not await stored.read_new(self._found):
            lacking = self._known.copy()

            def found(made: Revocation) -> None:
                self._found(made)
                lacking.pop(made.key, None)

            await stored.read_all(found)
            self._unsaved |= lacking.keys()
        while self._unsaved:
            keys = list(islice(self._unsaved, PAGE))
            if await self._save_some(stored, keys) < len(keys):
                return  # there is no room: at the next poll again

    async def _save_some(self, stored: StoredRevocations, keys: list[Key]) -> int:
        """Write revocations; returns how many of them, from the first on, Redis holds."""
        made = [self._known[key] for key in keys]
        count = await stored.add(made)
        if count < len(made):
            self._report_full()
        replaced: list[str] = []
        for each in made[:count]:
            if self._known.get(each.key) is each:  # nothing has replaced it meanwhile
                self._unsaved.discard(each.key)
                replaced += self._replaced.pop(each.key, ())
        if replaced:
            await stored.remove(replaced)
        return count

    def _report_full(self) -> None:
        self._report("revocations full", f"{MAX_REVOCATIONS} are in force")


def valid_until(expires: float | None, max_life: int) -> int:
    """When a revocation expires: with a margin after the token's expiry, if that is known."""
    return int(time.time()) + max_life if expires is None else int(expires) + EXPIRY_MARGIN


def _issued(claims: Mapping[str, Any]) -> float:
    """The time when a token was issued; minus infinity when it does not say."""
    issued = claims.get("iat")
    if isinstance(issued, int | float) and not isinstance(issued, bool):
        return float(issued)
    return float("-inf")

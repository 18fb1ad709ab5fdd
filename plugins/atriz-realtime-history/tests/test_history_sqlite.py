"""The contract of history backends, and what only the files of SQLite promise."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from atriz_realtime.api import EntityRef, HistoryQuery, HistoryScope, HistoryStatus
from atriz_realtime.testing import HistoryContract, past_fix
from atriz_realtime.testing.history import DAY, ORIGIN, all_of
from atriz_realtime_history.sqlite import SqliteHistory


@pytest_asyncio.fixture
async def opened(tmp_path: Path) -> AsyncIterator[SqliteHistory]:
    history = SqliteHistory(tmp_path / "history")
    yield history
    await history.aclose()


class TestSqlite(HistoryContract):
    @pytest.fixture
    def history(self, opened: SqliteHistory) -> SqliteHistory:
        return opened


async def test_each_type_has_a_file_a_day(opened: SqliteHistory, tmp_path: Path) -> None:
    await opened.append([past_fix("v1", 0), past_fix("v1", DAY), past_fix("d", kind="delivery")])
    await opened.aclose()
    files = sorted(str(path.relative_to(tmp_path / "history")) for path in files_of(tmp_path))
    assert files == [
        "delivery/2026-01-31.sqlite",
        "vehicle/2026-01-31.sqlite",
        "vehicle/2026-02-01.sqlite",
    ]


async def test_what_is_forgotten_is_in_no_file(opened: SqliteHistory, tmp_path: Path) -> None:
    secret = "Corrib-Street-7"
    gone = [
        past_fix("v-" + secret, number, user_id=secret, publisher=secret, metadata={"at": secret})
        for number in range(500)
    ]
    await opened.append([*gone, past_fix("v2", 1)])
    found = [path for path in files_of(tmp_path) if secret.encode() in path.read_bytes()]
    assert found, "the test looks where it is"
    assert await opened.forget(HistoryScope(entity=EntityRef("vehicle", "v-" + secret))) == 500
    for path in files_of(tmp_path):
        assert secret.encode() not in path.read_bytes(), path.name
    assert len((await opened.read(all_of("v2"))).fixes) == 1


async def test_the_file_of_a_day_goes_with_its_last_fix(
    opened: SqliteHistory, tmp_path: Path
) -> None:
    await opened.append([past_fix("v1")])
    assert await opened.forget(HistoryScope(user="u1")) == 1
    assert files_of(tmp_path) == []
    await opened.append([past_fix("v1")])
    assert len((await opened.read(all_of())).fixes) == 1


async def test_two_processes_share_a_folder(opened: SqliteHistory, tmp_path: Path) -> None:
    other = SqliteHistory(tmp_path / "history")
    try:
        await opened.append([past_fix("v1", 1)])
        await other.append([past_fix("v1", 1), past_fix("v1", 2)])
        entity = EntityRef("vehicle", "v1")
        assert await other.forget(HistoryScope(entity=entity)) == 2
        await opened.append([past_fix("v1", 3)])  # whose file, and whose key, are gone
        assert [fix.timestamp for fix in (await other.read(all_of())).fixes] == [
            past_fix("v1", 3).timestamp
        ]
    finally:
        await other.aclose()


async def test_a_stopped_writer_leaves_whole_files(opened: SqliteHistory, tmp_path: Path) -> None:
    await opened.append([past_fix("v1", number) for number in range(10)])
    (path,) = [each for each in files_of(tmp_path) if each.suffix == ".sqlite"]
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM fix").fetchone() == (10,)
    connection.close()


async def test_the_numbers(opened: SqliteHistory) -> None:
    broken = past_fix("v1", 2)
    object.__setattr__(broken, "location", b"{}")
    await opened.append([past_fix("v1", 1), past_fix("v1", 1), broken])
    assert opened.statistics() == {"stored": 1, "known": 1, "unreadable": 1}


async def test_a_day_is_read_in_pages_and_removed(opened: SqliteHistory) -> None:
    await opened.append([past_fix("v1", number, latitude=52) for number in range(10)])
    entity = EntityRef("vehicle", "v1")
    query = HistoryQuery(
        entity=entity, start=ORIGIN, end=ORIGIN + 9_000, received_from=ORIGIN + 2_000, limit=4
    )
    first = await opened.read(query)
    rest = HistoryQuery(
        entity=entity, start=ORIGIN, end=ORIGIN + 9_000, cursor=first.next_cursor, simplify=5
    )
    assert [len(first.fixes), len((await opened.read(rest)).fixes)] == [4, 2]
    scope = HistoryScope(entity_type="vehicle", before=ORIGIN + round(2_000 * DAY))
    assert await opened.forget(scope) == 10
    assert await opened.status() == HistoryStatus(
        bytes=0, oldest=None, newest=None, entity_types=[]
    )


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())

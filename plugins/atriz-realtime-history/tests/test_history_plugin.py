"""What is recorded, what is not, and what is removed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio
from history_plugin import PLUGINS, history_settings

from atriz_realtime import RealtimeConfig, create_app
from atriz_realtime.api import ConfigurationError, EntityRef, HistoryQuery, Resources
from atriz_realtime.testing import FakeClock, config, past_fix, serving, until
from atriz_realtime.testing.history import DAY, ORIGIN, all_of
from atriz_realtime_history.history import Recording
from atriz_realtime_history.settings import HistorySettings, TypeSettings
from atriz_realtime_history.sqlite import SqliteHistory

pytestmark = pytest.mark.asyncio


@attrs.define
class Reports:
    kinds: list[str] = attrs.field(factory=list)

    def __call__(self, kind: str, message: str, *, labels: Mapping[str, str] | None = None) -> None:
        self.kinds.append(kind)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteHistory]:
    store = SqliteHistory(tmp_path)
    yield store
    await store.aclose()


def recording(store: SqliteHistory, reports: Reports, **settings: Any) -> Recording:
    resources = Resources(clock=FakeClock(), redis=None, settings={}, report=reports)
    return Recording(store, HistorySettings(**settings), resources)


async def test_what_is_too_old_is_not_recorded(store: SqliteHistory) -> None:
    entities = {"delivery": TypeSettings(keep="12h"), "drone": TypeSettings()}
    made = recording(store, Reports(), keep="2d", entities=entities)
    fixes = [past_fix(kind=kind, seconds=-DAY) for kind in ("vehicle", "delivery", "drone")]
    fixes += [past_fix(kind=kind, seconds=-3 * DAY) for kind in ("vehicle", "delivery", "drone")]
    await made.record(fixes)
    found = {
        kind: len((await store.read(all_of(kind=kind))).fixes)
        for kind in ("vehicle", "delivery", "drone")
    }
    assert found == {"vehicle": 1, "delivery": 0, "drone": 2}
    assert made.statistics()["expired"] == 3


async def test_a_device_with_a_wrong_clock_makes_no_files(store: SqliteHistory) -> None:
    reports = Reports()
    made = recording(store, reports)
    ahead = attrs.evolve(past_fix(seconds=2 * DAY), received=ORIGIN)
    ancient = past_fix(seconds=-30 * 366 * DAY)
    await made.record([ahead, ancient])
    assert (await store.status()).oldest is None
    assert made.statistics()["misdated"] == 2
    assert reports.kinds == ["fix of no possible time"]


async def test_retention(tmp_path: Path) -> None:
    store = SqliteHistory(tmp_path)
    await store.append([past_fix("v1", -30 * DAY), past_fix("v1", kind="delivery", seconds=-DAY)])
    before = await store.status()
    await store.aclose()
    settings = history_settings(
        f"sqlite:{tmp_path}", keep="7d", entities={"delivery": {"keep": "36500d"}}
    )
    async with serving(**settings) as live:
        numbers = live.server.reports.own
        removed = await until(lambda: numbers().statistics["recorder history"]["removed"])
        assert removed >= 1
    store = SqliteHistory(tmp_path)
    after = await store.status()
    await store.aclose()
    assert before.entity_types == ["delivery", "vehicle"]
    assert after.entity_types == ["delivery"]
    assert after.bytes < before.bytes
    assert after.newest == "2026-01-30"


async def test_what_was_accepted_before_the_stop_is_there(tmp_path: Path) -> None:
    async with serving(**history_settings(f"sqlite:{tmp_path}")) as live:
        for number in range(20):
            await live.publish("v1", speed=number)
    store = SqliteHistory(tmp_path)
    query = HistoryQuery(entity=EntityRef("vehicle", "v1"), start=0, end=2**42, limit=100)
    page = await store.read(query)
    await store.aclose()
    assert sorted(fix.decoded().speed or 0 for fix in page.fixes) == list(range(20))
    assert {(fix.publisher, fix.throttled) for fix in page.fixes} == {("u1", False)}


async def test_without_a_url_nothing_is_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(extra_plugins=PLUGINS) as live:
        await live.publish("v1")
        assert (await live.get("/api/tracking/vehicle/v1"))[0] == 200
        assert (await live.get("/api/tracking/vehicle/v1/history"))[0] == 404
    assert "no history is recorded" in caplog.text


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"url": "sqlite:"}, "url must be"),
        ({"url": "mysql://u:hidden@h/d"}, "url must be"),
        ({"url": "postgresql://u:hidden@["}, "url must be"),
        ({"keep": "long"}, "keep"),
        ({"keep": "0d"}, "keep"),
        ({"entities": {"vehicle": {"keep": "x"}}}, "keep"),
    ],
)
async def test_settings_that_are_refused(table: dict[str, Any], words: str) -> None:
    settings: RealtimeConfig = config(extra_plugins=PLUGINS, plugins={"history": table})
    with pytest.raises(ConfigurationError, match=words) as refused:
        create_app(settings)
    assert "hidden" not in str(refused.value)


async def test_the_check_finds_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    assert await HistorySettings(url=f"sqlite:{tmp_path}/deep/er").problems() == []
    (tmp_path / "file").touch()
    (problem,) = await HistorySettings(url=f"sqlite:{tmp_path}/file").problems()
    assert problem.startswith("history cannot write to")

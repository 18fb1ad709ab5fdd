"""Erasing over HTTP, and the commands."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from history_plugin import history_settings

from atriz_realtime.api import HistoryScope
from atriz_realtime.testing import past_fix, serving, token, until
from atriz_realtime.testing.history import ORIGIN
from atriz_realtime_history.commands import commands
from atriz_realtime_history.rows import utc
from atriz_realtime_history.settings import HistorySettings
from atriz_realtime_history.sqlite import SqliteHistory

PATH = "/api/tracking/vehicle/v1/history"


def files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.sqlite"))


def headers(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(**claims)}"}


@pytest.mark.asyncio
async def test_an_eraser_erases_all_of_an_entity(tmp_path: Path) -> None:
    erasers = {"claim": "role", "values": ["dpo"]}
    async with serving(**history_settings(f"sqlite:{tmp_path}", erasers=erasers)) as live:
        await live.publish("v1", speed=1)
        own = live.server.reports.own
        await until(lambda: own().statistics["recorder history"]["written"] == 1)
        await live.publish("v1", speed=2)
        for refused in (headers(), headers(role="driver"), {}):
            status, _ = await live.request("DELETE", PATH, headers=refused)
            assert status in (401, 403)
        status, answer = await live.request("DELETE", PATH, headers=headers(role=["dpo"]))
        assert (status, answer["success"], answer["fixes"]) == (200, True, 1)
        assert (await live.get(PATH))[1]["locations"] == []
        assert (await live.get("/api/tracking/vehicle/v1"))[0] == 404
        status, answer = await live.request("DELETE", PATH, headers=headers(role="dpo"))
        assert (status, answer["fixes"], answer["waiting"]) == (200, 0, 0)
    assert files(tmp_path) == []


@pytest.mark.asyncio
async def test_nobody_erases_unless_the_configuration_says_who(tmp_path: Path) -> None:
    async with serving(**history_settings(f"sqlite:{tmp_path}")) as live:
        status, _ = await live.request("DELETE", PATH, headers=headers(role="dpo"))
        assert status == 403


@pytest.fixture
def settings(tmp_path: Path) -> HistorySettings:
    """Of a store with three fixes of one entity and one of another."""

    async def fill() -> None:
        store = SqliteHistory(tmp_path / "history")
        await store.append([past_fix("v1", number, latitude=52 + number) for number in range(3)])
        await store.append([past_fix("v2", publisher="gone", user_id="gone")])
        await store.aclose()

    asyncio.run(fill())
    return HistorySettings(url=f"sqlite:{tmp_path / 'history'}")


def run(settings: HistorySettings, *arguments: str) -> tuple[int, str]:
    name, *rest = arguments
    (command,) = (each for each in commands(settings) if each.name == name)
    result = CliRunner().invoke(command, rest)
    return result.exit_code, result.output


def test_the_command_prints_the_past(settings: HistorySettings) -> None:
    between = ("--from", utc(ORIGIN), "--to", utc(ORIGIN + 2_000))
    code, output = run(settings, "history", "vehicle", "v1", *between)
    assert code == 0
    assert [each["latitude"] for each in json.loads(output)["locations"]] == [52, 53]
    code, output = run(settings, "history", "vehicle", "v1", *between, "--format", "csv")
    assert len(output.split()) == 3
    code, output = run(settings, "history", "vehicle", "v1", "--simplify", "9e9", *between)
    assert len(json.loads(output)["locations"]) == 2


def test_the_command_refuses_what_it_cannot_mean(settings: HistorySettings) -> None:
    assert run(settings, "history", "vehicle", "v1", "--from", "2026-01-01")[0] == 2
    assert run(settings, "history", "vehicle", "v1", "--from", "2999-01-01T00:00:00Z")[0] == 2
    assert run(settings, "forget", "vehicle")[0] == 2
    assert run(settings, "forget", "vehicle", "v1", "--user", "u1")[0] == 2
    code, output = run(HistorySettings(), "history", "vehicle", "v1")
    assert (code, "no url is configured" in output) == (1, True)


def test_the_command_forgets(settings: HistorySettings) -> None:
    assert run(settings, "forget", "vehicle", "v1") == (0, "erased 3 fixes\n")
    assert run(settings, "forget", "vehicle", "v1") == (0, "erased 0 fixes\n")
    assert run(settings, "forget", "--user", "gone") == (0, "erased 1 fixes\n")


def test_a_scope_says_what_it_is_about() -> None:
    with pytest.raises(ValueError, match="a scope needs"):
        HistoryScope(before=1)

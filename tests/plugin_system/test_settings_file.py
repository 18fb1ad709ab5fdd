"""Which configuration file a server has read, and the warning when there is none."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from starlette.applications import Starlette

from atriz_realtime import RealtimeConfig, RealtimeExtension, RealtimeServer, create_app
from atriz_realtime.api.errors import ConfigurationError
from tests.support.servers.serving import SECRET

CLAIMS = '[realtime.plugins.claims]\ntrack = "watch"\n'


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [name for name in os.environ if name.startswith("ATRIZ_REALTIME_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "atriz_realtime")
    return caplog


async def start(config: RealtimeConfig | None = None) -> RealtimeServer:
    server: RealtimeServer = create_app(config).state.realtime
    await server.start()
    await server.close()
    return server


def said(logged: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [
        (record.levelno, record.getMessage())
        for record in logged.records
        if record.name == "atriz_realtime"
    ]


async def test_a_service_without_its_file_warns(
    folder: Path, logged: pytest.LogCaptureFixture
) -> None:
    server = RealtimeExtension().install(Starlette())
    await server.start()
    await server.close()
    ((level, message),) = said(logged)
    assert level == logging.WARNING
    assert message == (
        f"no atriz.toml in {folder}: every user may track and publish everything; "
        "set ATRIZ_REALTIME_CONFIG to the path of the file, or to none if that is meant"
    )


async def test_the_start_names_the_file(folder: Path, logged: pytest.LogCaptureFixture) -> None:
    (folder / "atriz.toml").write_text(CLAIMS)
    await start()
    assert said(logged) == [(logging.INFO, f"settings: {folder / 'atriz.toml'}")]


async def test_the_environment_names_the_file(
    folder: Path, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "atriz.toml").write_text("not this one")
    (folder / "other.toml").write_text(CLAIMS)
    monkeypatch.setenv("ATRIZ_REALTIME_CONFIG", str(folder / "other.toml"))
    server = await start()
    assert server.config.plugins == {"claims": {"track": "watch"}}
    assert said(logged) == [(logging.INFO, f"settings: {folder / 'other.toml'}")]


def test_a_file_that_the_environment_names_must_exist(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_CONFIG", "away.toml")
    with pytest.raises(ConfigurationError, match=r"away\.toml: No such file"):
        create_app()


async def test_none_means_that_no_file_is_read(
    folder: Path, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "atriz.toml").write_text(CLAIMS)
    monkeypatch.setenv("ATRIZ_REALTIME_CONFIG", "none")
    assert not (await start()).config.plugins
    assert said(logged) == [(logging.INFO, "settings: ATRIZ_REALTIME_CONFIG=none")]


async def test_who_configures_plugins_in_the_environment_is_not_warned(
    folder: Path, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_PLUGINS__CLAIMS__TRACK", "watch")
    await start()
    assert said(logged) == [(logging.INFO, f"settings: no atriz.toml in {folder}")]


async def test_who_configures_in_code_is_not_warned(logged: pytest.LogCaptureFixture) -> None:
    await start(RealtimeConfig(jwt_secret=SECRET))
    assert said(logged) == []

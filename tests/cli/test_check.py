"""``check`` and ``plugins``."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime.cli.main import run
from atriz_realtime.plugin_system.discovery import DEFAULT_PLUGINS
from tests.cli.processes import environment, finished, only_line
from tests.support.servers.serving import SECRET

pytestmark = pytest.mark.usefixtures("plain")

CONFIGURATION = """
[realtime]
redis_url = "redis://user:hunter2@redis.example:6379/1"
disabled_plugins = ["delivery"]
disabled_hooks = ["health:register_routes"]
throttle_interval = 250

[realtime.entities.vehicle]
cache_ttl = 60

[realtime.plugins.jwt_auth]
audience = "a-secret-audience"
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "server.toml"
    path.write_text(CONFIGURATION)
    return str(path)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "hunter2" not in captured.out
    assert SECRET not in captured.out
    assert "a-secret-audience" not in captured.out
    return captured.out


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_check_shows_every_setting_and_where_it_comes_from(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_THROTTLE_INTERVAL", "100")
    settings = json.loads(shown(capsys, "check", "--json", "--config", file))["settings"]
    assert settings["redis_url"] == {
        "value": "redis://user:***@redis.example:6379/1",
        "source": file,
    }
    assert settings["jwt_secret"] == {"value": "***", "source": "environment variable JWT_SECRET"}
    assert settings["throttle_interval"] == {
        "value": 100,
        "source": "environment variable ATRIZ_REALTIME_THROTTLE_INTERVAL",
    }
    assert settings["port"] == {"value": 3001, "source": "default"}
    assert settings["plugins"] == {"value": {"jwt_auth": "***"}, "source": file}


def test_check_shows_what_is_registered_and_chosen(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    registered = json.loads(shown(capsys, "check", "--json", "--config", file))["registered"]
    assert registered["entity_types"] == [
        {
            "name": "vehicle",
            "plugin": "vehicle",
            "throttle": "interval",
            "throttle_options": {"interval": 250},
            "cache_ttl": 60,
        }
    ]
    assert registered["authenticators"] == [{"name": "jwt", "plugin": "jwt_auth"}]
    assert registered["caches"] == [
        {"name": "memory", "plugin": "memory"},
        {"name": "redis", "plugin": "redis", "chosen": True},
    ]
    assert [entry["name"] for entry in registered["fanouts"] if "chosen" in entry] == ["redis"]


def test_check_shows_what_each_plugin_contributes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "contributing_plugin.py").write_text(
        "from atriz_realtime.api import FanoutLayer, Observer, SocketEvent, hookimpl\n"
        "@hookimpl\n"
        "def register_socket_events(): return SocketEvent('shift:over', print)\n"
        "@hookimpl\n"
        "def register_fanout_layers(): return FanoutLayer('mirror', print)\n"
        "@hookimpl\n"
        "def register_observers(): return Observer('history', print)\n"
        "@hookimpl\n"
        "def register_commands(): return []\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ATRIZ_REALTIME_EXTRA_PLUGINS", "contributing_plugin")
    monkeypatch.setenv("ATRIZ_REALTIME_DISABLED_PLUGINS", "http_api")
    registered = json.loads(shown(capsys, "check", "--json"))["registered"]
    mine = {
        kind: [entry["name"] for entry in entries if entry["plugin"] == "contributing_plugin"]
        for kind, entries in registered.items()
    }
    assert {kind: names for kind, names in mine.items() if names} == {
        "socket_events": ["shift:over"],
        "fanout_layers": ["mirror"],
        "observers": ["register_observers"],
        "commands": ["register_commands"],
    }
    assert registered["routes"] == [{"name": "/health/realtime", "plugin": "health"}]


def test_check_prints_tables(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = rows(shown(capsys, "check", "--config", file))
    assert ["throttle_interval", "250", file] in lines
    assert ["cors_origin", "-", "default"] in lines
    assert ["max_lag", "60", "default"] in lines
    (vehicle,) = [line for line in lines if line[:2] == ["entity", "type"]]
    assert vehicle[2:4] == ["vehicle", "vehicle"]
    assert " ".join(vehicle[4:]) == "throttle interval interval=250, cached for 60 s"
    assert ["cache", "redis", "redis", "chosen"] in lines


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[realtime]\nport = 'x'", "port: must be a whole number"),
        ("[realtime]\nprot = 1", "did you mean 'port'?"),
        ("[realtime]\ncache = 'radis'", "did you mean 'redis'?"),
        ("[realtime.entities.vehicle]\nthrottle_options = {intervall = 5}", "intervall"),
        ("[realtime.entities.vehicel]", "vehicel"),
        ("[realtime.plugins.jwt_auth]\nalgorithms = ['HS1']", "HS1"),
        ("[realtime]\ndisabled_plugins = ['jwt']", "'jwt'"),
        ("[realtime]\nextra_plugins = ['nothing.there']", "nothing"),
        ("[realtime]\nhost = '0.0.0.0'\njwt_secret = 'short'", "5 bytes"),
        ("[realtime]\nhost = 'no-such-host.invalid'", "no such host"),
        ("[realtime", "not TOML"),
    ],
)
async def test_check_says_in_one_line_why_a_server_would_not_start(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    reason: str,
) -> None:
    (tmp_path / "atriz.toml").write_text(text)
    monkeypatch.delenv("JWT_SECRET")
    status = run(["check"])
    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    line = err.splitlines()[-1]
    assert line.startswith("error: ")
    assert reason in line
    assert "Traceback" not in err
    served = await finished("serve", cwd=tmp_path, env=plain_environment())
    assert served.status == 1
    assert served.err.splitlines()[-1] == line


def plain_environment() -> dict[str, str]:
    return environment(JWT_SECRET=None, ATRIZ_REALTIME_THROTTLE_INTERVAL=None)


def test_plugins_lists_every_plugin_with_its_hooks(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listed: list[dict[str, Any]] = json.loads(shown(capsys, "plugins", "--json", "--config", file))
    by_name = {info["name"]: info for info in listed}
    assert DEFAULT_PLUGINS.keys() <= by_name.keys()
    assert by_name["vehicle"] == {
        "name": "vehicle",
        "version": version("atriz-realtime"),
        "origin": "default",
        "state": "active",
        "hooks": ["register_entity_types"],
        "blocked_hooks": [],
        "failure": "",
    }
    assert by_name["delivery"]["state"] == "disabled"
    assert by_name["health"]["hooks"] == []
    assert by_name["health"]["blocked_hooks"] == ["register_routes"]


def test_plugins_prints_a_table(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = rows(shown(capsys, "plugins", "--config", file))
    own = version("atriz-realtime")
    assert ["vehicle", own, "default", "active", "register_entity_types"] in lines
    assert ["health", own, "default", "active", "[register_routes]"] in lines
    assert ["delivery", own, "default", "disabled"] in lines


async def test_a_plugin_that_failed_is_listed_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('out of order')")
    (tmp_path / "atriz.toml").write_text(
        "[realtime]\nextra_plugins = ['broken_plugin']\noptional_plugins = ['broken_plugin']\n"
    )
    env = {**plain_environment(), "PYTHONPATH": str(tmp_path)}
    done = await finished("plugins", cwd=tmp_path, env=env)
    assert done.status == 0
    (line,) = [line for line in done.out.splitlines() if "broken_plugin" in line]
    assert "failed: " in line
    assert "RuntimeError: out of order" in line
    (tmp_path / "atriz.toml").write_text("[realtime]\nextra_plugins = ['broken_plugin']\n")
    done = await finished("plugins", cwd=tmp_path, env=env)
    assert (done.status, done.out) == (1, "")
    assert "RuntimeError: out of order" in only_line(done.err)

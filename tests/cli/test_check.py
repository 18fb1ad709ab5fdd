"""``check`` and ``plugins``."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from atriz_realtime import create_app
from atriz_realtime.cli.main import run
from atriz_realtime.cli.verdict import Verdict
from atriz_realtime.plugin_system.discovery import DEFAULT_PLUGINS
from atriz_realtime.testing import free_port
from tests.cli.processes import environment, finished, only_line, started
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
audience = "tracking"
keys = { old = "a-secret-key-of-more-than-thirty-two-bytes" }
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "server.toml"
    path.write_text(CONFIGURATION)
    return str(path)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run([*arguments, *(["--offline"] if arguments[0] == "check" else [])]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "hunter2" not in captured.out
    assert SECRET not in captured.out
    assert "a-secret-key" not in captured.out
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
    assert settings["plugins.jwt_auth.audience"] == {"value": "tracking", "source": file}


PLUGIN_SETTINGS = {
    "JWT_AUTH__ISSUER": "https://user:hunter2@id.example",
    "JWT_AUTH__REQUIRED_CLAIMS": "exp,iat",
    "JWT_AUTH__LEEWAY": "2.5",
    "JWT_AUTH__KEYS__NEW": "file:new.pem",
    "ADMIN_UI__PASSWORD": "hunter2-hunter2-hunter2",
    "METRICS__TOKEN": "hunter2-hunter2-hunter2",
    "SECRETIVE__PIN": "hunter2",
    "SECRETIVE__CODE": "12345678",
    "SECRETIVE__NESTED": "{ api_key = 'hunter2', name = 'n' }",
    "SECRETIVE__NAME": "shown",
}


def test_check_shows_each_setting_of_a_plugin_but_no_secret(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secretive.py").write_text(
        "import attrs\n"
        "from atriz_realtime.api import hookimpl\n"
        "@attrs.frozen\n"
        "class Settings:\n"
        "    pin: str = attrs.field(repr=False)\n"
        "    code: int = attrs.field(repr=False)\n"
        "    nested: dict[str, str]\n"
        "    name: str\n"
        "@hookimpl\n"
        "def register_settings(): return Settings\n"
    )
    public = rsa.generate_private_key(65537, 2048).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "new.pem").write_bytes(pem)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ATRIZ_REALTIME_EXTRA_PLUGINS", "secretive")
    for name, value in PLUGIN_SETTINGS.items():
        monkeypatch.setenv(f"ATRIZ_REALTIME_PLUGINS__{name}", value)
    settings = json.loads(shown(capsys, "check", "--json", "--config", file))["settings"]
    found = {
        name.removeprefix("plugins."): each["value"]
        for name, each in settings.items()
        if name.startswith("plugins.")
    }
    assert found == {
        "jwt_auth.audience": "tracking",
        "jwt_auth.keys": {"old": "***", "new": "file:new.pem"},
        "jwt_auth.issuer": "https://user:***@id.example",
        "jwt_auth.required_claims": "exp,iat",
        "jwt_auth.leeway": 2.5,
        "admin_ui.password": "***",
        "metrics.token": "***",
        "secretive.pin": "***",
        "secretive.code": "***",
        "secretive.nested": {"api_key": "***", "name": "n"},
        "secretive.name": "shown",
    }
    variable = "environment variable ATRIZ_REALTIME_PLUGINS__"
    assert settings["plugins.jwt_auth.leeway"]["source"] == f"{variable}JWT_AUTH__LEEWAY"
    assert settings["plugins.jwt_auth.audience"]["source"] == file
    lines = rows(shown(capsys, "check", "--config", file))
    assert ["plugins.jwt_auth.audience", "tracking", file] in lines
    assert not [line for line in lines if line[:1] == ["plugins"]]


def test_a_server_without_an_authenticator_refuses_everybody(
    good: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_DISABLED_PLUGINS", "jwt_auth,sharing")
    status, found = verdict(capsys, "--offline")
    (warning,) = found["warnings"]
    assert (status, found["problems"]) == (0, [])
    assert warning.startswith("no authenticator is active")


async def test_whitespace_around_the_secret_is_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes' ``--from-file`` keeps the line break of a file; the server does not."""
    monkeypatch.setenv("JWT_SECRET", f"{GOOD}\n")
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setenv("ATRIZ_REALTIME_CONFIG", "none")
    warning = "whitespace around JWT_SECRET is ignored; whatever issues tokens must ignore it too"
    status, found = await asyncio.to_thread(verdict, capsys, "--offline")
    assert (status, found["warnings"], found["problems"]) == (0, [warning], [])
    env = plain_environment() | {"JWT_SECRET": f"{GOOD}\n"}
    async with started("serve", "--port", "0", cwd=tmp_path, env=env) as served:
        await served.until_said(warning)


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
        "import click\n"
        "from atriz_realtime.api import FanoutLayer, Observer, SocketEvent, View, hookimpl\n"
        "@hookimpl\n"
        "def register_socket_events(): return SocketEvent('shift:over', print)\n"
        "@hookimpl\n"
        "def register_fanout_layers(): return FanoutLayer('mirror', print)\n"
        "@hookimpl\n"
        "def register_observers(): return Observer('history', print)\n"
        "@hookimpl\n"
        "def register_views(): return View('blurred', print, print)\n"
        "@hookimpl\n"
        "def register_commands(): return click.Command('shift')\n"
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
        "observers": ["history"],
        "views": ["blurred"],
        "commands": ["shift"],
    }
    assert registered["routes"] == [{"name": "/health/realtime", "plugin": "health"}]
    listed = json.loads(shown(capsys, "plugins", "--json"))
    (own,) = [plugin["records"] for plugin in listed if plugin["name"] == "contributing_plugin"]
    assert own == {kind: names for kind, names in mine.items() if names}
    lines = rows(shown(capsys, "plugins"))
    assert ["contributing_plugin", "observer", "history"] in lines
    assert ["contributing_plugin", "socket", "event", "shift:over"] in lines
    assert ["throttling", "throttle", "interval,", "latest,", "none"] in lines


def test_two_observers_of_one_name_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first_plugin", "second_plugin"):
        (tmp_path / f"{name}.py").write_text(
            "from atriz_realtime.api import Observer, hookimpl\n"
            "@hookimpl\n"
            "def register_observers(): return Observer('history', print)\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ATRIZ_REALTIME_EXTRA_PLUGINS", "first_plugin,second_plugin")
    assert run(["check", "--offline"]) == 1
    problem = "both register the observer 'history'"
    assert problem in only_line(capsys.readouterr().err)
    assert run(["plugins", "--json"]) == 0
    out, err = capsys.readouterr()
    assert only_line(err).startswith("warning: what they register is not known")
    assert problem in err
    assert json.loads(out)[-1]["records"] == {}


@pytest.mark.parametrize(
    ("hook", "record", "problem"),
    [
        ("observers", "Observer('history', lambda: None)", "observer 'history': observe must take"),
        ("socket_events", "SocketEvent('x', 'x')", "socket event 'x': handle must be a function"),
        ("throttles", "Throttle('interval2', lambda *_: None)", "'vehicle': NoneType is no Thrott"),
    ],
)
def test_a_function_that_takes_something_else_is_found(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    hook: str,
    record: str,
    problem: str,
) -> None:
    name = f"mistaken_{hook}"
    (tmp_path / f"{name}.py").write_text(
        "from atriz_realtime.api import Observer, SocketEvent, Throttle, hookimpl\n"
        f"@hookimpl\ndef register_{hook}(): return {record}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ATRIZ_REALTIME_EXTRA_PLUGINS", name)
    if hook == "throttles":
        monkeypatch.setenv("ATRIZ_REALTIME_THROTTLE", "interval2")
    assert run(["check", "--offline"]) == 1
    line = only_line(capsys.readouterr().err)
    assert line.startswith(f"error: plugin {name!r}: ")
    assert problem in line


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


def verdict(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Any]:
    """The exit status of ``check --json``, and what it says."""
    status = run(["check", "--json", *options])
    captured = capsys.readouterr()
    assert captured.err == ""
    return status, json.loads(captured.out)["verdict"]


GOOD = "k" * 40
"""A secret that no page prints."""


@pytest.fixture
def good(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wrong."""
    monkeypatch.setenv("JWT_SECRET", GOOD)
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setenv("ATRIZ_REALTIME_CONFIG", "none")


@pytest.mark.usefixtures("good")
def test_a_missing_file_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATRIZ_REALTIME_CONFIG")
    assert run(["check", "--strict", "--offline"]) == 1
    first, *_, warning, _ = capsys.readouterr().out.splitlines()
    assert first == f"settings: no atriz.toml in {tmp_path}"
    assert warning.startswith(f"warning: no atriz.toml in {tmp_path}, so every user may track and")
    (tmp_path / "atriz.toml").write_text("")
    assert run(["check", "--strict", "--offline"]) == 0
    assert capsys.readouterr().out.startswith(f"settings: {tmp_path / 'atriz.toml'}\n")


@pytest.mark.usefixtures("good")
def test_check_ends_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--strict"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok"
    assert verdict(capsys, "--strict") == (0, {"ok": True, "problems": [], "warnings": []})


@pytest.mark.usefixtures("good")
def test_a_low_limit_on_open_files_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (45, 45))
    status, found = verdict(capsys, "--strict")
    assert (status, found["problems"]) == (1, [])
    assert found["warnings"][0].startswith("the limit on open files is 45, and each connection")


@pytest.mark.usefixtures("good")
def test_no_secret_is_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JWT_SECRET")
    problem = "no JWT secret is configured (JWT_SECRET): every token is refused"
    assert verdict(capsys) == (1, {"ok": False, "problems": [problem], "warnings": []})
    assert run(["check"]) == 1
    out, err = capsys.readouterr()
    assert (out.splitlines()[-1], err) == (f"problem: {problem}", "")


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize(
    ("secret", "warning"), [("short", "has 5 bytes"), (SECRET, "printed in the documentation")]
)
def test_a_weak_secret_is_a_warning_on_loopback(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    secret: str,
    warning: str,
) -> None:
    monkeypatch.setenv("JWT_SECRET", secret)
    status, found = verdict(capsys)
    assert (status, found["ok"], found["problems"]) == (0, True, [])
    assert warning in found["warnings"][0]
    assert verdict(capsys, "--strict")[0] == 1
    assert run(["check"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok, with warnings"


@pytest.mark.usefixtures("good")
def test_redis_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert verdict(capsys, "--strict")[0] == 0


@pytest.mark.usefixtures("good")
async def test_a_user_of_redis_who_lacks_rights_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, redis_client: redis.asyncio.Redis
) -> None:
    """``tests/operate/test_redis.py`` tries each right."""
    url = redis_url.replace("://", "://least:least@")
    await redis_client.acl_setuser(
        "least", enabled=True, passwords=["+least"], keys=["*"], channels=["*"],
        commands=["+@all", "-time", "-subscribe", "-evalsha"],
    )  # fmt: skip
    try:
        monkeypatch.setenv("REDIS_URL", url)
        found = Verdict()
        await found.ask_redis(url)
        (warning,) = found.warnings
        assert "its user needs +time" in warning
        await found.ask_plugins(create_app().state.realtime, ())
        lacking = "the user of redis_url lacks rights that the plugin"
        assert found.problems == [
            f"{lacking} revocations needs: +evalsha",
            f"{lacking} redis needs: +evalsha +subscribe",
        ]
        assert await redis_client.keys() == []
        found = Verdict()
        await found.ask_redis(redis_url.replace("://", "://least:wrong@"))
        (problem,) = found.problems
        assert problem.startswith("Redis does not answer: ")
    finally:
        await redis_client.acl_deluser("least")


@pytest.mark.usefixtures("good")
async def test_a_redis_that_accepts_no_writes_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, redis_client: redis.asyncio.Redis
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    found = Verdict()
    await redis_client.config_set("min-replicas-to-write", 1)
    try:
        await found.ask_plugins(create_app().state.realtime, ())
    finally:
        await redis_client.config_set("min-replicas-to-write", 0)
    (problem,) = found.problems
    assert problem.startswith("Redis refuses what a server does there: Redis: NOREPLICAS")


@pytest.mark.usefixtures("good")
def test_a_redis_that_is_not_there_is_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:hunter2@127.0.0.1:{free_port()}")
    status, found = verdict(capsys)
    assert status == 1
    (problem,) = found["problems"]
    assert problem.startswith("Redis does not answer: ")
    assert "hunter2" not in problem
    assert verdict(capsys, "--offline")[0] == 0


@pytest.mark.usefixtures("good")
def test_a_redis_that_does_not_answer_is_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atriz_realtime.cli.verdict.ANSWER_LIMIT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{silent.getsockname()[1]}")
        status, found = verdict(capsys)
    assert (status, found["problems"]) == (1, ["Redis does not answer within 0.05 s"])


@pytest.mark.usefixtures("good")
def test_a_clock_that_is_not_that_of_redis_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    ahead = time.time
    monkeypatch.setattr("atriz_realtime.cli.verdict.time.time", lambda: ahead() + 100)
    status, found = verdict(capsys)
    assert (status, found["problems"]) == (0, [])
    assert "the clock of Redis differs by -100." in found["warnings"][0]


@pytest.mark.usefixtures("good")
def test_a_port_that_is_in_use_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("PORT", str(other.getsockname()[1]))
        status, found = verdict(capsys)
        assert verdict(capsys, "--strict")[0] == 1
        found_by_others = {"ok": True, "problems": [], "warnings": []}
        assert verdict(capsys, "--strict", "--running") == (0, found_by_others)
    assert (status, found["problems"]) == (0, [])
    assert "the port is in use" in found["warnings"][0]
    assert "`check --running`" in found["warnings"][0]


@pytest.mark.usefixtures("good")
def test_workers_of_uvicorn_without_redis_are_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    status, found = verdict(capsys)
    assert status == 1
    assert "set REDIS_URL" in found["problems"][0]
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert verdict(capsys)[0] == 0


@pytest.mark.usefixtures("good")
def test_an_interval_for_a_policy_that_has_none_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_ENTITIES__VEHICLE__THROTTLE_INTERVAL", "100")
    assert verdict(capsys)[1]["warnings"] == []
    monkeypatch.setenv("ATRIZ_REALTIME_ENTITIES__VEHICLE__THROTTLE", "none")
    status, found = verdict(capsys)
    warning = (
        "[realtime.entities.vehicle]: throttle_interval has no effect, because the policy 'none' "
        "has no option `interval`"
    )
    assert (status, found["warnings"]) == (0, [warning])


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
        "file": "",
        "records": {"entity_types": ["vehicle"]},
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


async def test_a_command_with_the_name_of_a_built_in_one_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import click\nfrom atriz_realtime.api import hookimpl\n\n"
        "@hookimpl\ndef register_commands():\n    return click.Command('serve')\n"
    )
    (tmp_path / "atriz.toml").write_text("[realtime]\nextra_plugins = ['shop']\n")
    env = {**plain_environment(), "PYTHONPATH": str(tmp_path)}
    done = await finished("check", "--offline", cwd=tmp_path, env=env)
    assert (done.status, done.out) == (1, "")
    assert only_line(done.err) == (
        "error: plugins 'atriz-realtime' and 'shop' both register the command 'serve'"
    )


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


def test_quiet_prints_only_the_verdict(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("check", "--quiet", "--running", "--config", file)
    lines = shown(capsys, *arguments).splitlines()
    assert lines[-1].startswith("ok")
    assert all(line.startswith("warning: ") for line in lines[:-1])
    assert json.loads(shown(capsys, *arguments, "--json")).keys() == {"verdict"}

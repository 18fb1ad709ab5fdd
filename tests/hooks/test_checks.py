"""Checks of plugins: ``atriz-realtime check`` runs them, and no server does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from atriz_realtime import create_app
from atriz_realtime.api import PluginError
from atriz_realtime.cli.main import run
from atriz_realtime.testing import config, free_port, serving
from tests.cli.conftest import logs, plain
from tests.support.plugins.files import Plugins, registry_of

__all__ = ["logs", "plain"]

WHERE = "plugin 'shop': register_checks: check 'stock'"


@pytest.fixture(autouse=True)
def good(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration with which nothing is wrong, and the plugin ``shop``."""
    monkeypatch.setenv("JWT_SECRET", "k" * 40)
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setenv("ATRIZ_REALTIME_EXTRA_PLUGINS", "shop")


def checking(plugins: Plugins, body: str, options: str = "") -> None:
    """Write the plugin ``shop`` with a check."""
    plugins.module(
        "shop",
        f"""
        import asyncio

        @hookimpl
        def register_checks(resources):
            async def find_problems():
                {body}

            return Check("stock", find_problems{options})
        """,
    )


def found(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[str]]:
    """The exit status of ``check``, and the problems that it names."""
    status = run(["check", "--json", *options])
    out, err = capsys.readouterr()
    assert err == ""
    problems: list[str] = json.loads(out)["verdict"]["problems"]
    return status, problems


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (
            "return ['no vans', 'no drivers']",
            ["plugin 'shop': no vans", "plugin 'shop': no drivers"],
        ),
        ("return ['no vans', 'no vans']", ["plugin 'shop': no vans"]),
        ("return 'no vans'", ["plugin 'shop': no vans"]),
        ("return 'plugin shop has no vans'", ["plugin shop has no vans"]),
        ("return (each for each in ['no\\n  vans'])", ["plugin 'shop': no vans"]),
        (
            "return ['postgresql://shop:hunter2@db refuses']",
            ["plugin 'shop': postgresql://shop:***@db refuses"],
        ),
        ("return 5", [f"{WHERE}: TypeError: 'int' object is not iterable"]),
        ("raise LookupError('no van')", [f"{WHERE}: LookupError: no van"]),
        ("raise ConfigurationError('no van')", [f"{WHERE}: no van"]),
        ("raise SystemExit(3)", [f"{WHERE}: SystemExit: 3"]),
        ("raise TimeoutError", [f"{WHERE}: TimeoutError()"]),
    ],
)
def test_what_a_check_returns_or_raises_is_a_problem(
    plugins: Plugins, capsys: pytest.CaptureFixture[str], body: str, problems: list[str]
) -> None:
    checking(plugins, body)
    assert found(capsys) == (1, problems)


@pytest.mark.parametrize("body", ["return []", "return None", "pass"])
def test_a_check_that_finds_nothing_is_content(
    plugins: Plugins,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    body: str,
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_CONFIG", "none")
    checking(plugins, body)
    assert found(capsys, "--strict") == (0, [])


def test_a_check_that_takes_too_long_is_cancelled(
    plugins: Plugins, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins.module(
        "shop",
        """
        import asyncio

        @hookimpl
        def register_checks():
            return Check("stock", asyncio.Event().wait, timeout=0.05)
        """,
    )
    assert found(capsys) == (1, [f"{WHERE}: no result within 0.05 s"])


def test_all_checks_run_at_the_same_time(
    plugins: Plugins, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins.module(
        "shop",
        """
        import asyncio

        @hookimpl
        def register_checks():
            both = asyncio.Barrier(2)

            async def meet():
                await both.wait()
                return ["they have met"]

            return [Check("one", meet), Check("two", meet)]
        """,
    )
    assert found(capsys) == (1, ["plugin 'shop': they have met"])


@pytest.mark.parametrize(
    ("needs", "options", "redis", "runs"),
    [
        ("None", [], None, True),
        ("None", ["--offline"], "there", True),
        ("'network'", [], None, True),
        ("'network'", [], "away", True),
        ("'network'", ["--offline"], None, False),
        ("'redis'", [], None, False),
        ("'redis'", [], "there", True),
        ("'redis'", [], "away", False),
        ("'redis'", ["--offline"], "there", False),
    ],
)
def test_a_check_runs_when_what_it_needs_is_there(
    plugins: Plugins,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    redis_url: str,
    needs: str,
    options: list[str],
    redis: str | None,
    runs: bool,
) -> None:
    urls = {"there": redis_url, "away": f"redis://127.0.0.1:{free_port()}"}
    if redis is not None:
        monkeypatch.setenv("REDIS_URL", urls[redis])
    checking(plugins, "return 'it has run'", f", needs={needs}")
    _, problems = found(capsys, *options)
    assert ("plugin 'shop': it has run" in problems) is runs
    if redis == "away":
        assert problems[0].startswith("Redis does not answer: ")
        assert len(problems) == 1 + runs


def test_redis_is_connected_while_a_check_runs(
    plugins: Plugins,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    redis_url: str,
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    plugins.module(
        "shop",
        """
        @hookimpl
        def register_checks(resources):
            async def ping():
                return repr(await resources.redis.execute("PING"))

            return Check("stock", ping, needs="redis")
        """,
    )
    assert found(capsys) == (1, ["plugin 'shop': b'PONG'"])


def test_a_check_is_listed_and_can_be_turned_off(
    plugins: Plugins, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checking(plugins, "return 'no vans'")
    assert run(["plugins", "--json"]) == 0
    (shop,) = [each for each in json.loads(capsys.readouterr().out) if each["name"] == "shop"]
    assert (shop["hooks"], shop["records"]) == (["register_checks"], {"checks": ["stock"]})
    assert run(["check"]) == 1
    assert ["check", "stock", "shop"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]
    monkeypatch.setenv("ATRIZ_REALTIME_DISABLED_HOOKS", "shop:register_checks")
    assert found(capsys) == (0, [])


async def test_no_server_calls_the_hook(plugins: Plugins) -> None:
    plugins.module("shop", "@hookimpl\ndef register_checks():\n    raise LookupError('no van')")
    async with serving(create_app(config(extra_plugins=["shop"]))) as live:
        await live.publish("v1")
    registry = live.server.registry
    with pytest.raises(PluginError, match="plugin 'shop' failed in register_checks: LookupError"):
        registry.checks  # noqa: B018


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("Check('stock', lambda server: None)", f"{WHERE}: run must take (), not (server)"),
        ("Check('stock', 5)", f"{WHERE}: run must be a function that takes (), not int"),
        ("Observer('stock', print)", "register_checks must return Check records, not Observer"),
        ("[Check('a', dict), Check('a', dict)]", "plugin 'shop' registers the check 'a' twice"),
        ("Check('a', dict, needs='disk')", "'needs' must be in ('redis', 'network', None)"),
        ("Check('a', dict, timeout=0)", "Check 'a': timeout must be a number of seconds above 0"),
    ],
)
def test_a_record_that_cannot_work_is_refused(plugins: Plugins, record: str, problem: str) -> None:
    registry: Any = registry_of(plugins.returning("shop", "register_checks", record))
    with pytest.raises(PluginError) as refusal:
        registry.checks  # noqa: B018
    assert problem in refusal.value.message

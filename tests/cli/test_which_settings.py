"""The commands of plugins: the file and the Redis that they use, and whether a server is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import pytest

from atriz_realtime.api import hookimpl
from atriz_realtime.cli.main import run
from tests.cli.processes import only_line
from tests.support.servers.serving import serving, token

pytestmark = pytest.mark.usefixtures("plain")

URL = "https://live.example.com"
UNHEARD = "no server on this Redis and prefix was listening"
SHARE = "A" * 32


@pytest.fixture
def file(redis_url: str, tmp_path: Path) -> Path:
    """The file of a service, which is not in the working directory."""
    folder = tmp_path / "service"
    folder.mkdir()
    found = folder / "atriz.toml"
    found.write_text(
        f'[realtime]\nredis_url = "{redis_url}"\nredis_prefix = "live:"\n'
        f'[realtime.plugins.sharing]\nurl = "{URL}"\n'
    )
    return found


async def called(*arguments: str) -> int:
    return await asyncio.to_thread(run, arguments)


async def test_revoke_reaches_the_servers_of_the_file_that_it_is_given(
    file: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bearer = token("u1", jti="t1")
    async with serving(redis_url=redis_url, redis_prefix="live:") as live:
        await live.publish("v1")
        assert await called("revoke", "token", "t1", "--config", str(file)) == 0
        printed = capsys.readouterr()
        assert printed.out == "revoked token t1\n"
        assert only_line(printed.err) == (
            f"settings: {file}; redis_url: {redis_url}; redis_prefix: 'live:'"
        )
        status, _ = await live.get(
            "/api/tracking/vehicle/v1", headers={"Authorization": f"Bearer {bearer}"}
        )
        assert status == 401  # at once: it was told, and need not look


@pytest.mark.parametrize("arguments", [("revoke", "user", "u1"), ("unshare", SHARE)])
async def test_it_warns_when_no_server_is_there(
    arguments: tuple[str, ...],
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    async with serving(redis_url=redis_url, redis_prefix="live:"):
        assert await called(*arguments) == 0  # a server that starts later reads it
    settings, warning = capsys.readouterr().err.splitlines()
    assert settings == (
        f"settings: no atriz.toml in {Path.cwd()}; redis_url: {redis_url}; redis_prefix: none"
    )
    assert warning.startswith(f"warning: {UNHEARD}: ")


async def test_with_another_fanout_redis_cannot_tell_who_listens(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("ATRIZ_REALTIME_FANOUT", "another")
    assert await called("revoke", "user", "u1") == 0
    assert only_line(capsys.readouterr().err).startswith("settings: ")


async def test_share_and_unshare_use_the_file_that_they_are_given(
    file: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = f"--config={file}"
    assert await called("share", "vehicle", "v1", config) == 0
    printed = capsys.readouterr()
    link = printed.out.splitlines()[0]
    assert link.startswith(f"{URL}/track/#")
    assert only_line(printed.err).startswith(f"settings: {file}; ")
    plugins = {"sharing": {"url": URL}}
    async with serving(redis_url=redis_url, redis_prefix="live:", plugins=plugins) as live:
        await live.publish("v1")
        bearer = {"Authorization": f"Bearer {link.partition('#')[2]}"}
        assert (await live.get("/api/tracking/vehicle/v1", headers=bearer))[0] == 200
        assert await called("unshare", link, config) == 0
        assert only_line(capsys.readouterr().err).startswith(f"settings: {file}; ")
        assert (await live.get("/api/tracking/vehicle/v1", headers=bearer))[0] == 401


def test_a_command_of_a_plugin_that_only_the_file_names_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.toml"
    file.write_text(f'[realtime]\nextra_plugins = ["{__name__}:Greeting"]\n')
    assert run(["greet"]) == 2
    capsys.readouterr()
    for arguments in (["--config", str(file), "hello"], ["hello", "--config", str(file)]):
        assert run(["greet", *arguments]) == 0
        assert capsys.readouterr() == ("hello\n", "")
    assert run(["greet", "hello", "--config", str(file), "--help"]) == 0
    assert "--config FILE" in capsys.readouterr().out


def test_a_command_has_no_config_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.toml"
    file.write_text(f'[realtime]\nextra_plugins = ["{__name__}:Misled"]\n')
    assert run(["misled", "--config", str(file)]) == 1
    assert "'misled' has an option --config" in only_line(capsys.readouterr().err)


class Greeting:
    """A plugin with a group of commands."""

    @hookimpl
    def register_commands(self) -> click.Command:
        group = click.Group("greet")
        group.command("hello")(lambda: click.echo("hello"))
        return group


class Misled:
    """A plugin whose command has an option that belongs to the command line."""

    @hookimpl
    def register_commands(self) -> click.Command:
        return click.Command("misled", params=[click.Option(["--config"])])

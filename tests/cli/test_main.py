"""The built-in commands, the commands of plugins, and failures in one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from atriz_realtime.api import ConfigurationError
from atriz_realtime.cli.main import COMMANDS, program, run
from tests.cli.processes import environment, finished, only_line

pytestmark = pytest.mark.usefixtures("plain")

GREETING = """
import click
from atriz_realtime.api import hookimpl

@click.command()
@click.option("--name", default="you")
def greet(name):
    "Greet somebody."
    click.echo(f"hello {name}")

@hookimpl
def register_commands():
    return greet
"""


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The name of a configured plugin, with the source of the test's parameter or ``GREETING``."""
    name = f"plugin_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(getattr(request, "param", GREETING))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ATRIZ_REALTIME_EXTRA_PLUGINS", name)
    return name


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: atriz-realtime {name} ")
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert command.short_help
    undescribed = [
        option.opts
        for option in command.params
        if isinstance(option, click.Option) and not (option.help or option.default)
    ]
    assert undescribed == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert version("atriz-realtime") in only_line(capsys.readouterr().out)


def test_without_a_command_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Usage: atriz-realtime" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["wathc"], ["No such command 'wathc'", "(see atriz-realtime --help)"]),
        (["publish"], ["Missing option '--id'", "(see atriz-realtime publish --help)"]),
        (["serve", "--port", "high"], ["'--port'", "'high'"]),
        (["serve", "--port", "65536"], ["'--port'", "65536"]),
        (["watch", "--url", "localhost:3001"], ["--url", "http://"]),
        (["watch", "--url", "http://[::1"], ["--url", "http://"]),
        (["watch", "--url", "http://localhost:99999"], ["--url", "http://"]),
        (["watch", "--url", "http://localhost/?x"], ["--url", "http://"]),
        (["watch", "--token", "a\nb"], ["--token", "line break"]),
        (["publish", "--id=v", "--lat=1", "--lon=1", "--metadata=[]"], ["'--metadata'", "object"]),
        (["publish", "--id=v", "--lat=1", "--lon=1", "--metadata={"], ["'--metadata'", "JSON"]),
        (["replay", "x.gpx", "--speed", "0"], ["'--speed'", "over 0"]),
        (["replay", "x.gpx", "--speed", "nan"], ["'--speed'", "over 0"]),
        (["demo", "--entities", "0"], ["'--entities'"]),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    arguments: list[str], says: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = only_line(captured.err)
    assert line.startswith("error: ")
    assert [text for text in says if text not in line] == []


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (ConfigurationError("two\nlines"), "error: two lines"),
        (click.ClickException("no"), "error: no"),
        (FileNotFoundError(2, "No such file", "x"), "error: x: No such file"),
        (OSError(5, "no"), "error: no"),
        (OSError("no"), "error: no"),
        (
            ZeroDivisionError("why"),
            "error: unexpected ZeroDivisionError: why (atriz-realtime --traceback",
        ),
    ],
)
def test_a_failure_is_one_line_and_status_1(
    raised: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def fail() -> None:
        raise raised

    assert run([], fail) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert only_line(captured.err).startswith(line)


@pytest.mark.parametrize("hook", ["server_started(server)", "register_settings()"])
async def test_the_failure_of_a_plugin_tells_how_to_find_the_place(
    tmp_path: Path, hook: str
) -> None:
    source = f"from atriz_realtime.api import hookimpl\n\n@hookimpl\ndef {hook}:\n    [].pop()\n"
    (tmp_path / "deep.py").write_text(source)
    env = environment(ATRIZ_REALTIME_EXTRA_PLUGINS="deep", HOST="127.0.0.1", PORT="0")
    failed = await finished("serve", env=env, cwd=tmp_path)
    assert failed.status == 1
    assert failed.err.splitlines()[-1] == (
        f"error: plugin 'deep' failed in {hook.partition('(')[0]}: IndexError: pop from empty list "
        "(atriz-realtime --traceback COMMAND shows where)"
    )
    shown = await finished("--traceback", "serve", env=env, cwd=tmp_path)
    assert "deep.py" in shown.err


def test_an_interrupted_command_ends_as_shells_expect(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert run([], interrupted) == 130
    assert capsys.readouterr().err.strip() == ""


def test_a_traceback_comes_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_NO_SUCH_THING", "1")
    assert run(["check"]) == 1
    assert "ATRIZ_REALTIME_NO_SUCH_THING" in only_line(capsys.readouterr().err)
    assert run(["--traceback", "check"]) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("error: ")


def test_a_plugin_adds_a_command(plugin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert re.search(r"greet +Greet somebody\.", capsys.readouterr().out)
    assert run(["greet", "--name", "Ann"]) == 0
    assert capsys.readouterr().out == "hello Ann\n"


BROKEN = "raise RuntimeError('out of order')"
CONFLICT = GREETING.replace("def greet", "def serve").replace("return greet", "return serve")
NO_COMMAND = GREETING.replace("return greet", "return [greet, 5]")


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (BROKEN, "RuntimeError: out of order"),
        (CONFLICT, "both register the command 'serve'"),
        (NO_COMMAND, "must return click commands, not int"),
    ],
    indirect=["plugin"],
)
def test_a_broken_plugin_harms_no_built_in_command(
    plugin: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--help"]) == 0
    captured = capsys.readouterr()
    assert all(f"\n  {name} " in captured.out for name in COMMANDS)
    warning = only_line(captured.err)
    assert warning.startswith("warning: ")
    assert reason in warning
    assert plugin in warning

    assert run(["serve", "--help"]) == 0
    assert capsys.readouterr().err == ""

    assert run(["greet"]) == 1
    error = only_line(capsys.readouterr().err)
    assert error.startswith("error: 'greet' is no built-in command")
    assert reason in error


async def test_it_runs_as_a_module_and_by_its_name() -> None:
    module = await finished("--version")
    assert (module.status, module.err) == (0, "")
    script = Path(sys.executable).with_name("atriz-realtime")
    assert script.exists()


@pytest.mark.parametrize(("safe_path", "found"), [(None, "here"), ("1", "installed")])
@pytest.mark.parametrize("program", [("-m", "atriz_realtime.cli"), ("atriz-realtime",)])
def test_the_working_directory_comes_before_what_is_installed(
    tmp_path: Path, safe_path: str | None, found: str, program: tuple[str, ...]
) -> None:
    """As for uvicorn, unless Python was told otherwise."""
    for directory in ("here", "installed"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "rules.py").write_text(GREETING)
    script = Path(sys.executable).with_name("atriz-realtime")
    listed = subprocess.run(
        [sys.executable, *([script] if len(program) == 1 else program), "plugins", "--json"],
        cwd=tmp_path / "here",
        env=environment(
            PYTHONPATH=str(tmp_path / "installed"),
            PYTHONSAFEPATH=safe_path,
            ATRIZ_REALTIME_EXTRA_PLUGINS="rules",
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    files = [plugin["file"] for plugin in json.loads(listed.stdout)]
    assert files[-1] == str(tmp_path / found / "rules.py")
    assert set(files[:-1]) == {""}


def test_plugins_in_the_working_directory_are_found(tmp_path: Path) -> None:
    """As by uvicorn; a script's own ``sys.path`` begins with the script's directory."""
    script = Path(sys.executable).with_name("atriz-realtime")
    (tmp_path / "rules.py").write_text(GREETING)
    (tmp_path / "atriz.toml").write_text('[realtime]\nextra_plugins = ["rules"]\n')
    for arguments in (["check", "--offline"], ["greet"], ["plugins"]):
        result = subprocess.run(
            [script, *arguments],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert ("hello you" if arguments == ["greet"] else "rules") in result.stdout
        is_shown = f"configuration ({tmp_path / 'rules.py'})" in result.stdout
        assert is_shown == (arguments == ["plugins"])

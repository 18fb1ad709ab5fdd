"""``plugins new`` writes skeletons that work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from atriz_realtime.cli.scaffold import KINDS, write_skeleton


@pytest.mark.parametrize("kind", KINDS)
def test_a_skeleton_passes_its_own_tests(kind: str, tmp_path: Path) -> None:
    folder = write_skeleton(f"my-{kind}", kind, tmp_path)
    check(folder, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")


def check(folder: Path, *command: str, **environment: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_skeletons_are_typed_and_clean(tmp_path: Path) -> None:
    folders = [write_skeleton(f"my-{kind}", kind, tmp_path) for kind in KINDS]
    for folder in folders:
        check(folder, "ruff", "check", "--isolated", "--select", "E4,E7,E9,F,I,B,UP", ".")
    sources = [str(folder / "src") for folder in folders]
    check(tmp_path, "mypy", "--strict", *sources, MYPYPATH=os.pathsep.join(sources))


@pytest.mark.parametrize("name", ["", "1st", "Scooter", "sc oo", "../scooter", "class"])
def test_an_invalid_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="cannot name a plugin"):
        write_skeleton(name, "entity", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["vehicle", "jwt-auth"])
def test_the_name_of_another_plugin_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="there is a plugin"):
        write_skeleton(name, "entity", tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_skeleton("scooter", "entity", tmp_path)
    with pytest.raises(click.ClickException, match="exists already"):
        write_skeleton("scooter", "cache", tmp_path)


def test_the_command_writes_a_skeleton(tmp_path: Path) -> None:
    check(
        tmp_path,
        *("atriz_realtime.cli", "plugins", "new", "scooter", "--kind", "throttle"),
    )
    assert (tmp_path / "atriz-realtime-scooter/src/atriz_realtime_scooter/scooter.py").is_file()

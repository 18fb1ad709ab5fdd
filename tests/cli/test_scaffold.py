"""``plugins new`` writes skeletons that work."""

from __future__ import annotations

import json
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


def check(folder: Path, *command: str, **environment: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


RECORDS = {
    "entity": {"entity_types": ["my_entity"]},
    "observer": {"observers": ["my_observer"]},
    "recorder": {"recorders": ["my_recorder"]},
    "route": {"routes": ["/api/my_route/{type}/{id}"]},
    "event": {"socket_events": ["my_event:locate"]},
    "authorizer": {"authorizers": ["my_authorizer"]},
    "authenticator": {"authenticators": ["my_authenticator"]},
    "throttle": {"throttles": ["my_throttle"]},
    "cache": {"caches": ["my_cache"]},
}
"""What each kind registers."""


def test_skeletons_are_installed_and_found(tmp_path: Path) -> None:
    """The tests of an installed one pass, too: its class is found by its entry point."""
    folders = {kind: write_skeleton(f"my-{kind}", kind, tmp_path) for kind in KINDS}
    pip = "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"
    recorder = folders["recorder"]
    check(tmp_path, *pip, "--target", "alone", str(recorder))
    check(recorder, "pytest", "-q", "-p", "no:cacheprovider", PYTHONPATH=str(tmp_path / "alone"))
    check(tmp_path, *pip, "--target", "installed", *map(str, folders.values()))
    path = str(tmp_path / "installed")
    listed = json.loads(check(tmp_path, "atriz_realtime.cli", "plugins", "--json", PYTHONPATH=path))
    found = {plugin["name"]: plugin for plugin in listed}
    for kind, records in RECORDS.items():
        plugin = found[f"my_{kind}"]
        assert (plugin["state"], plugin["version"]) == ("active", "0.1.0")
        assert plugin["origin"] == f"atriz-realtime-my-{kind}"
        assert plugin["records"] == records


def test_skeletons_are_typed_and_clean(tmp_path: Path) -> None:
    folders = [write_skeleton(f"my-{kind}", kind, tmp_path) for kind in KINDS]
    folders.append(write_skeleton("zebra", "throttle", tmp_path))  # after "Options"
    for folder in folders:
        check(folder, "ruff", "check", "--isolated", "--select", "E4,E7,E9,F,I,B,UP", ".")
    sources = [str(folder / "src") for folder in folders]
    tests = [str(path) for folder in folders for path in folder.glob("tests/test_*.py")]
    check(tmp_path, "mypy", "--strict", *sources, *tests, MYPYPATH=os.pathsep.join(sources))


def test_skeletons_are_formatted(tmp_path: Path) -> None:
    """With a name that leaves every line on its line."""
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        write_skeleton("fleet", kind, tmp_path / kind)
    check(tmp_path, "ruff", "format", "--isolated", "--line-length=100", "--check", ".")


def test_the_lines_of_a_skeleton_with_a_long_name_are_no_longer(tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        folder = write_skeleton("harbour_pilotage", kind, tmp_path / kind)
        for path in folder.rglob("*.py"):
            assert [line for line in path.read_text().splitlines() if len(line) > 100] == []


@pytest.mark.parametrize("name", ["", "1st", "Scooter", "sc oo", "../scooter", "class", "s" * 33])
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

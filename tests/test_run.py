"""The test command: what it installs, and which Node it uses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import run
from tests.support import nodejs


def program(folder: Path, name: str, prints: str = "") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {prints}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_programs_that_are_there_are_not_installed(path: Path) -> None:
    for name in run.DEBIAN:
        program(path, name)
    assert list(run.debian()) == []


def test_only_what_is_missing_is_installed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*run.DEBIAN, "apt-get"):
        program(path, name)
    monkeypatch.setitem(run.DEBIAN, "no-such-program", ["its-package", "its-fonts"])
    update, install = run.debian()
    assert update[-2:] == ["apt-get", "update"]
    assert install[-3:] == ["--no-install-recommends", "its-package", "its-fonts"]


def test_without_apt_get_what_is_missing_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in run.DEBIAN:
        program(path, name)
    monkeypatch.setitem(run.DEBIAN, "no-such-program", ["its-package"])
    with pytest.raises(SystemExit, match="install these first: no-such-program"):
        list(run.debian())


def test_it_ends_with_the_status_of_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def failing() -> Iterator[run.Command]:
        yield ["sh", "-c", "exit 3"]
        done.append("went on")

    monkeypatch.setattr(run, "debian", failing)
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert (ended.value.code, done) == (3, [])


@pytest.mark.parametrize(
    ("version", "used"), [("v20.1.0", True), ("v24.0.0", True), ("v18.19.0", False)]
)
def test_the_machine_s_node_is_used_unless_it_is_too_old(
    path: Path, version: str, used: bool
) -> None:
    program(path, "npm")
    program(path, "node", version)
    nodejs.put_on_path()
    scripts = [] if used else [str(nodejs.SCRIPTS)]
    assert os.environ["PATH"].split(os.pathsep) == [*scripts, str(path)]


@pytest.mark.parametrize("name", ["node", "npm"])
def test_a_machine_without_node_or_npm_uses_those_from_pypi(path: Path, name: str) -> None:
    program(path, name, "v24.0.0")
    nodejs.put_on_path()
    assert os.environ["PATH"].split(os.pathsep) == [str(nodejs.SCRIPTS), str(path)]


@pytest.mark.parametrize(("name", "oldest"), [("node", nodejs.OLDEST), ("npm", 10)])
def test_both_come_from_pypi(name: str, oldest: int, tmp_path: Path) -> None:
    printed = subprocess.run(
        [nodejs.SCRIPTS / name, "--version"],
        env={"PATH": str(nodejs.SCRIPTS), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert int(printed.removeprefix("v").partition(".")[0]) >= oldest


def test_it_needs_no_package_to_start() -> None:
    subprocess.run([sys.executable, "-S", "-c", "import tests.run"], cwd=run.ROOT, check=True)

"""A front-end project that has installed the TypeScript client."""

from __future__ import annotations

import subprocess
from pathlib import Path

from click.testing import CliRunner

from atriz_realtime.cli.shipped_files import frontend
from tests.support.clients.node import JS, with_packages


def frontend_project(folder: Path) -> Path:
    """Give a folder the packages of ``tests/js`` and the client; returns the folder."""
    packages, available = folder / "node_modules", with_packages(JS) / "node_modules"
    write_client(packages / "@atriz" / "realtime-client")
    for path in available.iterdir():
        (packages / path.name).symlink_to(path)
    return folder


def write_client(*arguments: Path | str) -> str:
    """Run ``atriz-realtime frontend``; returns what it prints."""
    written = CliRunner().invoke(frontend, list(map(str, arguments)))
    assert written.exit_code == 0, written.output
    return written.output


def run(folder: Path, *command: Path | str, text: str = "") -> str:
    """Run a program in a project, which has to succeed; returns what it prints.

    :param command: the program, which may be of one of the project's packages, and its arguments.
    :param text: its input.
    """
    program = folder / "node_modules" / ".bin" / command[0]
    done = subprocess.run(
        [program if program.exists() else command[0], *command[1:]],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout

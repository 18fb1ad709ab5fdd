"""The documented systemd unit and container file start commands that exist."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "running.md"
PROGRAM = Path(sys.executable).with_name("atriz-realtime")


def block(language: str) -> str:
    """The only code block of the page in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found) == 1, language
    return str(found[0])


def accepted(*arguments: str) -> None:
    """Let the installed program parse a command line."""
    done = subprocess.run(
        [PROGRAM, *arguments, "--help"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_unit_starts_commands_that_exist() -> None:
    lines = re.findall(r"^ExecStart(?:Pre)?=(.+)$", block("ini"), re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        program, *arguments = shlex.split(line)
        assert Path(program).name == PROGRAM.name
        accepted(*arguments)


def test_the_container_starts_a_command_that_exists() -> None:
    words = dict(re.findall(r"^(ENTRYPOINT|CMD) (\[.+\])$", block("dockerfile"), re.MULTILINE))
    assert json.loads(words["ENTRYPOINT"]) == [PROGRAM.name]
    accepted(*json.loads(words["CMD"]))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "atriz-realtime.service"
    unit.write_text(block("ini").replace("/opt/atriz-realtime/bin", str(PROGRAM.parent)))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=30, check=False
    )
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, ours) == (0, []), done.stderr

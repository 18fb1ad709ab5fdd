"""A file of the user's that has the name of a library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "source",
    [
        "import no_such_library",
        "from os import no_such_name",
    ],
)
def test_a_file_in_a_library_s_place_is_named(tmp_path: Path, source: str) -> None:
    file = tmp_path / "uvicorn.py"
    file.write_text(source)
    program = "import sys; from atriz_realtime.cli.main import main; sys.exit(main(['serve']))"
    command = [sys.executable, "-c", program]  # looks for modules in the working directory first
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert "pip install" not in done.stderr

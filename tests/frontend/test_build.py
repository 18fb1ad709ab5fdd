"""The built client matches its sources."""

from __future__ import annotations

import json
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from atriz_realtime.cli.shipped_files import frontend
from tests.support.clients.node import with_packages

SOURCE = Path(str(files("atriz_realtime") / "frontend"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.timeout(180)
def test_the_built_files_are_up_to_date(tmp_path: Path) -> None:
    tsc = with_packages(SOURCE) / "node_modules" / ".bin" / "tsc"
    built = subprocess.run(
        [tsc, "--project", SOURCE, "--outDir", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout
    assert contents(tmp_path) == contents(SOURCE / "dist"), "npm run build --prefix " + str(SOURCE)


def test_the_package_replaces_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "vendor" / "realtime-client"
    (target / "dist").mkdir(parents=True)
    (target / "dist" / "old.js").write_text("gone")
    done = CliRunner().invoke(frontend, [str(target)])
    assert done.exit_code == 0
    assert f"npm install {target} socket.io-client" in done.output
    assert contents(target / "dist") == contents(SOURCE / "dist")
    exports = json.loads((target / "package.json").read_text())["exports"]
    for entry in exports.values():
        assert all((target / path).is_file() for path in entry.values())

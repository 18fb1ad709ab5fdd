"""The built client matches its sources."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from tests.support.clients.frontend_project import run
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
    (tmp_path / "node_modules").symlink_to(with_packages(SOURCE) / "node_modules")
    shutil.copytree(SOURCE / "src", tmp_path / "src")
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(SOURCE / name, tmp_path)
    run(tmp_path, "npm", "run", "build")
    assert contents(tmp_path / "dist") == contents(SOURCE / "dist"), f"npm run build in {SOURCE}"


def test_only_the_types_have_comments() -> None:
    assert "/** " in (SOURCE / "dist" / "model.d.ts").read_text()
    for path in (SOURCE / "dist").glob("*.js"):
        assert "/*" not in path.read_text()

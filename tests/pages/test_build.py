"""The built pages match their sources."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from atriz_realtime.defaults.shared.pages import DIST
from tests.frontend.test_build import contents
from tests.support.clients.node import with_packages

BUILT = Path(str(DIST))
SOURCE = BUILT.parent


def test_the_built_files_are_up_to_date(tmp_path: Path) -> None:
    folder = with_packages(SOURCE)
    checked = subprocess.run(
        [folder / "node_modules" / ".bin" / "tsc", "--project", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    built = subprocess.run(
        ["node", folder / "build.mjs", tmp_path / "dist"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert contents(tmp_path / "dist") == contents(BUILT), f"npm run build --prefix {SOURCE}"


def test_pages_load_nothing_from_other_hosts() -> None:
    for path in BUILT.glob("*.html"):
        assert not re.search(r"https?:|//|<script(?![^>]* src=)|\son\w+=|style=", path.read_text())
    for path in BUILT.glob("*.css"):
        assert not re.search(r"url\((?!\"?data:|#|\))|@import", path.read_text()), path


def test_text_of_entities_never_becomes_markup() -> None:
    """Only `map.ts` sets HTML: the attribution, which it escapes for Leaflet."""
    for path in (SOURCE / "src").rglob("*.ts"):
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", path.read_text()
        )
        assert found == (["innerHTML"] if path.name == "map.ts" else []), path

"""The documentation is a site: every page in it, all its links good, nothing from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.docs.reference import DOCS, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as docs/contributing.md says, where a page in no table of contents is a warning."""
    command = re.search(
        r"^sphinx-build (.+) build/site$", (DOCS / "contributing.md").read_text(), re.M
    )
    assert command is not None
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", *command[1].split(), out],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.stderr.splitlines(), done.returncode) == ([], 0)
    return out


def test_every_document_is_a_page(site: Path) -> None:
    documents = [path for path in DOCS.rglob("*.md") if not path.name.startswith("+")]
    documents += ROOT.glob("plugins/*/README.md")
    pages = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert {path.relative_to(ROOT).with_suffix("") for path in documents} - pages == set()


def test_what_only_tests_need_is_not_in_a_page(site: Path) -> None:
    shown = [path.name for path in site.rglob("*.html") if "invisible-code" in path.read_text()]
    assert shown == []


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = {
        url
        for path in site.rglob("*.html")
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", path.read_text())
        for url in re.findall(r'\b(?:src|href)="([^"]*)"', tag)
    }
    loaded |= {
        url
        for path in site.rglob("*.css")
        for url in re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", path.read_text())
    }
    assert [url for url in loaded if re.match(r"(https?:)?//", url)] == []

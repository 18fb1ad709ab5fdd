"""docs/plugins/tutorial.md works as written, in an empty folder, with the built wheel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atriz_realtime.testing import free_port
from tests.cli.test_scaffold import check
from tests.packaging.reader import above_the_last_import, follow, reading
from tests.packaging.test_wheels import OWN_VARIABLES, QUICK, ROOT, build

TUTORIAL = ROOT / "docs" / "plugins" / "tutorial.md"

SHOWN_PORT = "localhost:3001"

RUFF = ("--isolated", "--line-length=100")


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.timeout(600)  # packages are downloaded
async def test_the_tutorial_works_as_written(tmp_path: Path) -> None:
    port = str(free_port())
    inherited = {n: value for n, value in os.environ.items() if not n.startswith(OWN_VARIABLES)}
    environment = {
        **inherited,
        **QUICK,
        "ATRIZ_REALTIME": str(build(ROOT, tmp_path / "wheel")),
        "PORT": port,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    folder, notes = empty(tmp_path / "folder"), empty(tmp_path / "notes")
    async with reading(folder, notes, environment) as reader:
        await follow(reader, TUTORIAL, {SHOWN_PORT: f"localhost:{port}"})
        listed = await reader.run("atriz-realtime plugins")
        assert (listed, "scooter" in reader.output()) == (0, False)
    plugin = folder / "atriz-realtime-scooter"
    check(plugin, "ruff", "check", *RUFF, "--select", "E4,E7,E9,F,I,B,UP", ".")
    check(plugin, "ruff", "format", *RUFF, "--check", ".")
    check(plugin, "mypy", "--strict", "src", "tests", MYPYPATH="src")


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("```bash\nfalse\n```\n", "page.md:1: status 1"),
        ("```bash\necho 1\n```\n```text\n2\n```\n", "page.md:4: no line '2'"),
        ("```bash\ntrue\n```\n```text\nerror: …\n```\n", "page.md:1: status 0"),
        ("```python\nimport os\n```\n", "page.md:1: the first line names no file"),
    ],
)
async def test_a_tutorial_that_does_not_work_is_reported(
    document: str, complaint: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(document)
    folder, notes = empty(tmp_path / "folder"), empty(tmp_path / "notes")
    async with reading(folder, notes, os.environ, line_timeout=0.1) as reader:
        with pytest.raises(AssertionError, match=complaint):
            await follow(reader, page, {})


def test_lines_are_added_above_the_last_import() -> None:
    source = '"""A module."""\n\nimport os\nfrom sys import (\n    path,\n)\n\nX = 1\n'
    added = above_the_last_import(source, "import re\n")
    assert added == source.replace("from sys", "import re\nfrom sys")

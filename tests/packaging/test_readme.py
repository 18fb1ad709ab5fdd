"""README.md works as written: the service starts, curl publishes to it, and its extras exist."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from atriz_realtime import RealtimeConfig
from atriz_realtime.testing import free_port
from tests.packaging.reader import follow, reading
from tests.packaging.test_supply_chain import NAME, PROJECT, ROOT
from tests.packaging.test_wheels import OWN_VARIABLES
from tests.support.servers.serving import until

README = ROOT / "README.md"

PAGES = (README, ROOT / "docs" / "atriz-service.md")


def section(title: str) -> str:
    """A section, without what only other tests run."""
    _, _, rest = README.read_text().partition(f"\n## {title}\n")
    return re.sub(r"<!---.*?--->", "", rest.partition("\n## ")[0], flags=re.DOTALL)


async def test_using_it_works_as_written(tmp_path: Path) -> None:
    start, rest = section("Use it").split("\nA device publishes", maxsplit=1)
    publish, throttled = rest.split("\nRepeat the command within a second", maxsplit=1)
    (tmp_path / "start.md").write_text(start)
    (tmp_path / "publish.md").write_text(publish)
    folder, notes = tmp_path / "folder", tmp_path / "notes"
    folder.mkdir()
    notes.mkdir()

    port = str(free_port())
    inherited = {n: value for n, value in os.environ.items() if not n.startswith(OWN_VARIABLES)}
    environment = {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited["PATH"]]),
        "ATRIZ_REALTIME_THROTTLE_INTERVAL": "3600000",  # a second, however slow the machine is
    }
    replaced = {"source .venv/bin/activate": "true", "3001": port}
    async with reading(folder, notes, environment) as reader:
        await follow(reader, tmp_path / "start.md", replaced)
        await until(lambda: f"running on http://127.0.0.1:{port}" in reader.output())
        await follow(reader, tmp_path / "publish.md", replaced)
        with pytest.raises(AssertionError, match=r'"throttled":true'):
            await follow(reader, tmp_path / "publish.md", replaced)
    assert '`"throttled":true`: by default watchers get one fix a second' in throttled
    assert RealtimeConfig().throttle_interval == 1_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_requirements_that_are_shown_name_extras_that_exist(page: Path) -> None:
    shown = [
        Requirement(text)
        for text in re.findall(r'[`"](atriz-realtime\[[^`"]+)[`"]', page.read_text())
        if "==" in text or "@" in text
    ]
    assert len(shown) >= 2
    for requirement in shown:
        assert requirement.name == NAME
        assert requirement.extras <= PROJECT["optional-dependencies"].keys()

"""docs/tutorial.md works as written, in the terminals that it names, and in Chromium."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from atriz_realtime.testing import free_port
from tests.browser.chromium import Complaints, from_packages, leaving
from tests.packaging.reader import Reader, Step, reading, steps
from tests.packaging.test_wheels import OWN_VARIABLES
from tests.support.docs.documents import ROOT
from tests.support.servers.serving import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

TUTORIAL = ROOT / "docs" / "tutorial.md"

TERMINALS = ("first", "second", "third")

INSTALLS = "python3 -m venv .venv && .venv/bin/pip install '.[all]'\n"

LASTING = re.compile(
    r"^(?:atriz-realtime (?:serve|watch)|python3 (?:drive\.py|-m http\.server)).*$", re.MULTILINE
)
"""Commands that run until they are stopped."""

LOOPBACK = "0100007F"


def by_terminal() -> Iterator[tuple[str, Step]]:
    """Each step with the terminal that the text names, or named last."""
    lines = TUTORIAL.read_text().splitlines()
    terminal, read = TERMINALS[0], 0
    for step in steps(TUTORIAL):
        prose = " ".join(lines[read : step.line - 1])
        for found in re.finditer(r"\b(\w+)\s+terminal\b", prose):
            if found[1] in TERMINALS:
                terminal = found[1]
        read = step.line + len(step.text.splitlines()) + 1
        yield terminal, step


def listening(port: int) -> set[str]:
    """The addresses, in the kernel's notation, that somebody listens at on a port."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, _, state = line.split()[1:4]
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(address)
    return found


async def out_of_reach(route: Route) -> None:
    await route.abort()


async def test_the_tutorial_works_as_written(
    tmp_path: Path, page: Page, complaints: Complaints
) -> None:
    port, web = free_port(), free_port()
    replacements = {
        INSTALLS: "",
        "localhost:3001": f"localhost:{port}",
        "localhost:8000": f"localhost:{web}",
        "http.server 8000": f"http.server {web}",
    }
    inherited = {n: value for n, value in os.environ.items() if not n.startswith(OWN_VARIABLES)}
    environment = {**inherited, "PORT": str(port)}
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)

    complaints.expect("tile.openstreetmap.org")
    await page.route("https://unpkg.com/**", from_packages)
    await page.route("https://tile.openstreetmap.org/**", out_of_reach)
    async with AsyncExitStack() as opened, leaving(page):
        terminals: dict[str, Reader] = {}
        for name in TERMINALS:
            notes = tmp_path / name
            notes.mkdir()
            terminals[name] = await opened.enter_async_context(reading(folder, notes, environment))
        for name, step in by_terminal():
            text = step.text
            for shown, real in replacements.items():
                text = text.replace(shown, real)
            reader = terminals[name]
            if step.language != "bash":
                await reader.write(text)
                continue
            status = await reader.run(LASTING.sub(r"\g<0> &", text))
            assert status == 0, f"{TUTORIAL.name}:{step.line}: {reader.output()}"
            if "serve" in text:
                await until(lambda: listening(port))
            if "watch" in text:
                await until(lambda: "52.6638" in terminals["second"].output())
            if "curl" in text:
                assert '"latitude":52.6638' in reader.output()
        await until(lambda: listening(web))

        address = re.search(r"http://localhost:\d+/#\S+", terminals["third"].output())
        assert address is not None, terminals["third"].output()
        await page.goto(address[0])
        marker = page.locator(".leaflet-marker-icon")
        for _ in range(3):
            before = await marker.get_attribute("style")
            assert before is not None
            await expect(marker).not_to_have_attribute("style", before)
        assert await page.title() == "bus-7"

        assert listening(port) == listening(web) == {LOOPBACK}
        secret = folder / "jwt-secret.txt"
        assert secret.stat().st_mode & 0o077 == 0
        assert [path.name for path in (folder / "map").rglob("*")] == ["index.html"]
        for name in ("jwt-secret.txt", "map/index.html"):
            answer = await page.request.get(f"http://localhost:{web}/{name}")
            assert answer.status == 404

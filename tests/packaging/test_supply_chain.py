"""Dependencies are locked, listed, and checked for known vulnerabilities.

The documented commands run against an advisory service of the test.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / ".locks" / "dev.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = PROJECT["name"]


@attrs.frozen
class Pin:
    """An entry of the lock file."""

    requirement: Requirement
    hashes: int
    wanted_by: str

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        assert only.operator == "=="
        return only.version

    @property
    def applies(self) -> bool:
        """Whether the entry is for this platform and Python."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def pins() -> Iterator[Pin]:
    for entry in re.split(r"\n(?=\w)", LOCK.read_text().strip()):
        first, _, rest = entry.partition(" \\\n")
        yield Pin(Requirement(first), rest.count("--hash=sha256:"), rest)


def declared(*extras: str) -> Iterator[Requirement]:
    """The requirements in pyproject.toml, with those of some extras."""
    for text in PROJECT["dependencies"]:
        yield Requirement(text)
    for extra in extras:
        for text in PROJECT["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if requirement.name == NAME:
                yield from declared(*requirement.extras)
            else:
                yield requirement


def runtime() -> set[str]:
    """The names of all packages that a server with every extra needs on this platform."""
    found: set[str] = set()
    pending = [(NAME, "all")]
    while pending:
        name, extra = pending.pop()
        for text in requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                if needed.name != NAME:
                    found.add(canonicalize_name(needed.name))
                pending += [(needed.name, each) for each in ("", *needed.extras)]
    return found


def test_the_lock_matches_the_project() -> None:
    locked = {pin.name: pin for pin in pins()}
    wanted = {canonicalize_name(each.name): each for each in declared("dev")}
    for name, requirement in wanted.items():
        assert requirement.specifier.contains(locked[name].version), name
    direct = {name for name, pin in locked.items() if f"# via {NAME} (pyproject" in pin.wanted_by}
    direct |= {name for name, pin in locked.items() if f"#   {NAME} (pyproject" in pin.wanted_by}
    assert direct == set(wanted)
    assert runtime() <= set(locked)
    assert [pin.name for pin in locked.values() if not pin.hashes] == []


def test_the_documented_minimum_versions_are_those_of_the_project() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \| [^|]+ \|$", page, re.MULTILINE))
    bounds = {each.name: str(each.specifier).split(",") for each in declared("all")}
    assert rows
    assert [name for name, bound in rows.items() if f">={bound}" not in bounds[name]] == []


# -- the documented commands ---------------------------------------------------------------


def documented(program: str) -> list[str]:
    """The arguments of a program's only command in docs/security.md."""
    page = (ROOT / "docs" / "security.md").read_text()
    (line,) = re.findall(rf"^{program} .*$", page, re.MULTILINE)
    return shlex.split(line)[1:]


def advisory(name: str, version: str) -> dict[str, Any]:
    return {
        "id": "PYSEC-2026-1",
        "summary": "made up",
        "details": "Made up for a test.",
        "aliases": ["CVE-2026-1"],
        "published": "2026-01-31T12:00:00Z",
        "modified": "2026-01-31T12:00:00Z",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
                "versions": [version],
            }
        ],
    }


@attrs.define
class Advisories:
    """A service like OSV: https://google.github.io/osv.dev/post-v1-query/."""

    vulnerable: str
    url: str = ""
    queried: dict[str, str] = attrs.field(factory=dict)
    """The versions that were queried, by name."""

    async def answer(self, request: web.Request) -> web.Response:
        query = await request.json()
        assert query["package"]["ecosystem"] == "PyPI"
        name, version = query["package"]["name"], query["version"]
        self.queried[canonicalize_name(name)] = version
        found = [advisory(name, version)] if name == self.vulnerable else []
        return web.json_response({"vulns": found} if found else {})


@asynccontextmanager
async def advisories(vulnerable: str = "") -> AsyncIterator[Advisories]:
    service = Advisories(vulnerable)
    app = web.Application()
    app.router.add_post("/v1/query", service.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/query"
    try:
        yield service
    finally:
        await runner.cleanup()


@attrs.frozen
class Audited:
    status: int
    output: str
    bill: Any


async def audit(url: str, folder: Path) -> Audited:
    """Run the documented check with another service and another output file."""
    arguments = documented("pip-audit")
    place = arguments.index("-o") + 1
    bill, arguments[place] = folder / arguments[place], str(folder / arguments[place])
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "pip_audit", *arguments],
        *["-s", "osv", "--osv-url", url, "--cache-dir", str(folder), "--progress-spinner", "off"],
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    written = json.loads(bill.read_text()) if bill.exists() else None
    return Audited(process.returncode or 0, output.decode(), written)


def listed(bill: Mapping[str, Any]) -> dict[str, str]:
    return {canonicalize_name(each["name"]): each["version"] for each in bill["components"]}


async def test_every_locked_package_is_checked_and_listed(tmp_path: Path) -> None:
    async with advisories() as service:
        done = await audit(service.url, tmp_path)
    assert done.status == 0, done.output
    here = {pin.name: pin.version for pin in pins() if pin.applies}
    assert runtime() <= set(here)
    assert service.queried == here
    assert listed(done.bill) == here


async def test_one_known_vulnerability_fails_the_check(tmp_path: Path) -> None:
    async with advisories(vulnerable="h11") as service:
        done = await audit(service.url, tmp_path)
    assert done.status == 1
    assert "Found 1 known vulnerability in 1 package" in done.output
    (found,) = done.bill["vulnerabilities"]
    assert found["id"] in {"PYSEC-2026-1", "CVE-2026-1"}


async def test_an_unreachable_service_fails_the_check(tmp_path: Path, unused_tcp_port: int) -> None:
    done = await audit(f"http://127.0.0.1:{unused_tcp_port}/v1/query", tmp_path)
    assert done.status != 0
    assert "No known vulnerabilities" not in done.output
    assert done.bill is None

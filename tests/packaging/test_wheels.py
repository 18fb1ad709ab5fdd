"""The built wheels work in an environment of their own, away from the sources."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import attrs
import pytest

from atriz_realtime.api import install_hint
from tests.support.servers.serving import SECRET, TIMEOUT, Live, Watcher, token, until

pytestmark = pytest.mark.timeout(300)  # packages are downloaded

ROOT = Path(__file__).parents[2]

PLUGINS = {path.name.rpartition("-")[2]: path for path in sorted((ROOT / "plugins").iterdir())}
"""The project of each plugin, by the plugin's name."""

OWN_VARIABLES = (
    "ATRIZ_",
    "PYTHON",
    "VIRTUAL_ENV",
    "REDIS_URL",
    "JWT_SECRET",
    "CORS_ORIGIN",
    "HOST",
)
"""Prefixes of variables that would affect the environment under test."""

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")

QUICK = {"PIP_NO_COMPILE": "1"}
"""Keeps pip from compiling modules, which Python does on import."""

PYTEST_INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
timeout = 120
"""

CONFIGURATION = """
[realtime.plugins.drone.fleets]
"DR-" = "north"

[realtime.entities.drone]
throttle = "token-bucket"
throttle_options = { rate = 0.001, burst = 2 }
"""

CHOOSING = """
[realtime]
throttle = "token-bucket"
"""

NORTH = token("pilot", fleets=["north"])


@attrs.frozen
class Environment:
    """A virtual environment with the core installed, and the built wheels."""

    folder: Path
    core: Path
    plugins: Mapping[str, Path]
    """By the plugin's name."""

    @property
    def variables(self) -> dict[str, str]:
        """The variables of this process, without the server's own."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)
        }
        return inherited | {"JWT_SECRET": SECRET}

    def command(self, *command: str | Path) -> list[str]:
        """The command line of a program in this environment."""
        return [str(self.folder / "bin" / command[0]), *map(str, command[1:])]

    def run(
        self, *command: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment to its end, away from the sources."""
        return subprocess.run(
            self.command(*command),
            cwd=cwd or self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self, *command: str | Path, cwd: Path | None = None) -> str:
        """Run a program that has to succeed; returns its output."""
        ran = self.run(*command, cwd=cwd)
        assert ran.returncode == 0, f"{command}:\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def pip(self, *arguments: str | Path) -> None:
        """Change this environment with pip from outside; it has none."""
        ran = subprocess.run(
            [*PIP, "--python", str(self.folder / "bin" / "python"), *map(str, arguments)],
            cwd=self.folder,
            env=self.variables | QUICK,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{arguments}:\n{ran.stdout}\n{ran.stderr}"

    def origins(self, cwd: Path) -> dict[str, str]:
        """The origin of each active plugin, as the command line lists it."""
        listed = json.loads(self.done("atriz-realtime", "plugins", "--json", cwd=cwd))
        return {entry["name"]: entry["origin"] for entry in listed if entry["state"] == "active"}

    def fingerprint(self) -> dict[str, str]:
        """The digest of every file of the installed core."""
        (package,) = self.folder.glob("lib/python*/site-packages/atriz_realtime")
        return {
            str(path.relative_to(package)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files(package)
        }


def files(package: Path) -> list[Path]:
    """The files of a package, without those that Python and npm create."""
    return [
        path
        for path in sorted(package.rglob("*"))
        if path.is_file() and not {"__pycache__", "node_modules"} & set(path.parts)
    ]


def build(project: Path, outcome: Path) -> Path:
    """Build the wheel of a project."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    built = subprocess.run(
        [*command, str(outcome), str(project)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, f"{built.stdout}\n{built.stderr}"
    (wheel,) = outcome.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A fresh environment with the core's wheel and the extra ``serve``."""
    wheels = tmp_path_factory.mktemp("wheels")
    environment = Environment(
        tmp_path_factory.mktemp("environment"),
        build(ROOT, wheels / "core"),
        {name: build(project, wheels / name) for name, project in PLUGINS.items()},
    )
    venv.create(environment.folder)
    environment.pip("install", f"{environment.core}[serve]")
    return environment


@asynccontextmanager
async def served(environment: Environment, folder: Path) -> AsyncIterator[Live]:
    """Run ``serve`` in a folder with a configuration file."""
    process = await asyncio.create_subprocess_exec(
        *environment.command("atriz-realtime", "serve", "--port", "0"),
        cwd=folder,
        env=environment.variables,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    seen: list[bytes] = []
    try:
        async with asyncio.timeout(3 * TIMEOUT):
            async for line in process.stderr:
                seen.append(line)
                if b'"event":"serving"' in line.replace(b" ", b""):
                    break
            else:
                raise AssertionError(b"".join(seen).decode())
        rest = asyncio.create_task(process.stderr.read())
        yield Live(None, int(json.loads(seen[-1])["url"].rpartition(":")[2]))
        process.terminate()
        assert await process.wait() == 0, b"".join([*seen, await rest]).decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def pilot(live: Live) -> AsyncIterator[Watcher]:
    """A client with a token that permits drones, when the plugin is installed."""
    watcher = Watcher()
    await watcher.client.connect(live.url, auth={"token": NORTH}, transports=["websocket"])
    try:
        yield watcher
    finally:
        await watcher.client.disconnect()


async def publish(
    live: Live, kind: str, entity_id: str, token: str, battery: int = 64
) -> tuple[int, Any]:
    """Publish a position; returns the status, and the code of a refusal or the outcome."""
    body = {
        "type": kind,
        "entityId": entity_id,
        "latitude": 52.66,
        "longitude": -8.63,
        "altitude": 80,
        "metadata": {"battery": battery},
    }
    status, answer = await live.post(
        "/api/tracking/location", body, headers={"Authorization": f"Bearer {token}"}
    )
    return status, answer.get("code", "throttled" if answer.get("throttled") else "published")


async def check_without_plugins(environment: Environment, bare: Path) -> None:
    """Check that neither the plugins nor anything of theirs is available."""
    assert not environment.origins(bare).keys() & PLUGINS.keys()
    for configuration, complaint in (
        (CONFIGURATION, "[realtime.plugins.drone]: no such plugin"),
        (CHOOSING, "no throttle 'token-bucket'"),
    ):
        (bare / "more.toml").write_text(configuration)
        refused = environment.run(
            "atriz-realtime", "serve", "--port", "0", "--config", "more.toml", cwd=bare
        )
        assert refused.returncode == 1
        assert complaint in refused.stderr
    assert environment.run("atriz-realtime", "apikey", "list", cwd=bare).returncode == 2
    async with served(environment, bare) as live, pilot(live) as watcher:
        answer = await watcher.call("track:drone", "DR-0001")
        assert (answer["success"], answer["code"]) == (False, "unknown_type")
        assert await publish(live, "drone", "DR-0001", NORTH) == (422, "unknown_type")


def test_a_wheel_contains_the_package_and_nothing_else(environment: Environment) -> None:
    packages = {environment.core: ROOT / "atriz_realtime"}
    for name, wheel in environment.plugins.items():
        packages[wheel] = PLUGINS[name] / "src" / f"atriz_realtime_{name}"
    for wheel, package in packages.items():
        with ZipFile(wheel) as opened:
            contained = {name for name in opened.namelist() if ".dist-info/" not in name}
        assert contained == {str(path.relative_to(package.parent)) for path in files(package)}
        assert f"{package.name}/py.typed" in contained


def test_the_wheel_has_the_front_end_client(environment: Environment, tmp_path: Path) -> None:
    environment.done("atriz-realtime", "frontend", tmp_path)
    assert (tmp_path / "dist" / "tracker.js").is_file()
    assert (tmp_path / "dist" / "react.d.ts").is_file()


def test_the_wheel_has_the_deployment_files(environment: Environment, tmp_path: Path) -> None:
    environment.done("atriz-realtime", "deployment", tmp_path)
    shipped = ROOT / "atriz_realtime" / "deployment"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in shipped.iterdir()}


def test_tracing_names_the_extra_that_it_needs(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "atriz.toml").write_text("[realtime]\ntracing = true\n")
    done = environment.run("atriz-realtime", "check", cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'atriz-realtime[otel]'" in done.stdout + done.stderr


def test_a_client_needs_another_extra_than_a_server(
    environment: Environment, tmp_path: Path
) -> None:
    ran = environment.run("atriz-realtime", "watch", "v1", cwd=tmp_path)
    needs = f"watch needs aiohttp: {install_hint('cli')}"
    assert (ran.returncode, ran.stderr) == (1, f"error: {needs}\n")


async def test_plugins_are_active_while_their_wheels_are_installed(
    environment: Environment, tmp_path: Path
) -> None:
    bare, configured = tmp_path / "bare", tmp_path / "configured"
    bare.mkdir()
    configured.mkdir()
    core = environment.fingerprint()

    await check_without_plugins(environment, bare)

    environment.pip("install", *environment.plugins.values())
    try:
        origins = environment.origins(bare)
        for name in PLUGINS:
            assert origins[name] == f"atriz-realtime-{name}"
        issued = environment.run(
            *("atriz-realtime", "apikey", "issue", "--publish", "vehicle:bus-*", "--print-config"),
            cwd=bare,
        )
        key = issued.stdout.strip()
        (configured / "atriz.toml").write_text(CONFIGURATION + issued.stderr)
        async with served(environment, configured) as live, pilot(live) as watcher:
            assert await watcher.call("track:drone", "DR-0001") == {"success": True}
            for battery, outcome in ((3, "published"), (2, "published"), (1, "throttled")):
                answer = await publish(live, "drone", "DR-0001", NORTH, battery)
                assert answer == (200, outcome)
            await until(lambda: len(watcher.updates) == 2)
            assert {update["entityId"] for update in watcher.updates} == {"DR-0001"}
            assert await publish(live, "vehicle", "bus-1", key) == (200, "published")
            assert await publish(live, "vehicle", "van-1", key) == (403, "unauthorized")
        assert environment.fingerprint() == core
    finally:
        environment.pip("uninstall", "--yes", *(f"atriz-realtime-{name}" for name in PLUGINS))

    await check_without_plugins(environment, bare)
    assert environment.fingerprint() == core


def test_the_tests_of_a_plugin_pass_on_its_wheel(environment: Environment, tmp_path: Path) -> None:
    """What the test kit needs is in the wheel of the core, and in its extra ``testing``."""
    shutil.copytree(PLUGINS["drone"] / "tests", tmp_path / "tests")
    shutil.copy(PLUGINS["drone"] / "README.md", tmp_path)
    (tmp_path / "pytest.ini").write_text(PYTEST_INI)
    environment.pip("install", f"{environment.plugins['drone']}[test]")
    try:
        environment.done("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    finally:
        environment.pip("uninstall", "--yes", "atriz-realtime-drone")

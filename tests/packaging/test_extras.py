"""The core's wheel alone serves a FastAPI application; what needs an extra says what to install."""

from __future__ import annotations

import asyncio
import json
import shutil
import tomllib
import venv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from atriz_realtime.api import install_hint
from atriz_realtime.testing import free_port
from tests.packaging.reader import steps
from tests.packaging.test_wheels import ROOT, Environment, build
from tests.support.servers.serving import SECRET, TIMEOUT, Live, Watcher, until

pytestmark = pytest.mark.timeout(300)  # packages are downloaded

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

SERVICE = """
from fastapi import FastAPI

from atriz_realtime import RealtimeExtension

app = FastAPI()


@app.get("/hello")
async def hello() -> str:
    return "hello"


RealtimeExtension().install(app)
"""

TOKEN = """
import os

import jwt

print(jwt.encode({"userId": "u1"}, os.environ["JWT_SECRET"], "HS256"))
"""

START = """
import json
import sys

from atriz_realtime import RealtimeConfig, create_app
from atriz_realtime.api import ConfigurationError

try:
    create_app(RealtimeConfig(**json.loads(sys.argv[1])))
except ConfigurationError as error:
    print(error.message)
else:
    print("started")
"""


def environment_with(tmp_path_factory: pytest.TempPathFactory, core: Path, *what: str) -> Any:
    """A fresh environment with some packages."""
    environment = Environment(tmp_path_factory.mktemp("environment"), core, {})
    venv.create(environment.folder)
    environment.pip("install", *what)
    return environment


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the core."""
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory, core: Path) -> Environment:
    """The core without extras, beside FastAPI and Hypercorn."""
    made: Environment = environment_with(
        tmp_path_factory, core, str(core), "fastapi>=0.136", "hypercorn>=0.18"
    )
    return made


@pytest.fixture(scope="session")
def with_cli(tmp_path_factory: pytest.TempPathFactory, core: Path) -> Environment:
    """The core with the extra ``cli``."""
    made: Environment = environment_with(tmp_path_factory, core, f"{core}[cli]")
    return made


@asynccontextmanager
async def on_hypercorn(environment: Environment, folder: Path) -> AsyncIterator[Live]:
    """The service, served by Hypercorn in its environment."""
    (folder / "service.py").write_text(SERVICE)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *environment.command("hypercorn", "service:app", "--bind", f"127.0.0.1:{port}"),
        cwd=folder,
        env=environment.variables,
    )
    live = Live(None, port)
    try:
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    assert await live.get("/readyz") == (200, {"status": "ready"})
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield live
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_the_documented_project_installs_with_a_wheel_in_its_folder(
    core: Path, tmp_path: Path
) -> None:
    page = ROOT / "docs" / "atriz-service.md"
    (described,) = [
        step.text for step in steps(page) if step.language == "toml" and "[project]" in step.text
    ]
    project = tmp_path / "project"
    for folder in ("dispatch", "wheels"):
        (project / folder).mkdir(parents=True)
    (project / "pyproject.toml").write_text(described)
    (project / "dispatch" / "__init__.py").write_text("import atriz_realtime\n")
    shutil.copy(core, project / "wheels")
    environment = Environment(tmp_path / "environment", core, {})
    venv.create(environment.folder)
    environment.pip("install", "--find-links", project / "wheels", project)
    environment.done("python", "-c", "import dispatch")


def names(*extras: str) -> set[str]:
    """The names of what the core requires, or some of its extras."""
    texts = [text for extra in extras for text in PROJECT["optional-dependencies"][extra]]
    return {canonicalize_name(Requirement(text).name) for text in texts or PROJECT["dependencies"]}


def test_the_core_requires_twelve_libraries_at_most() -> None:
    assert len(PROJECT["dependencies"]) <= 12


def test_no_library_of_an_extra_is_installed_with_the_core(bare: Environment) -> None:
    listed = bare.done(
        "python",
        "-c",
        "from importlib.metadata import distributions\n"
        "for each in distributions(): print(each.metadata['Name'])",
    )
    installed = {canonicalize_name(name) for name in listed.split()}
    assert names() <= installed
    extras = names("cli", "crypto", "embedded", "jwks", "metrics", "serve", "typescript")
    assert installed & extras == {"h11"}  # Hypercorn requires it


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_the_core_serves_beside_fastapi_on_hypercorn(
    bare: Environment, tmp_path: Path, transport: str
) -> None:
    token = bare.done("python", "-c", TOKEN).strip()
    headers = {"Authorization": f"Bearer {token}"}
    fix = {"vehicleId": "v1", "latitude": 52.66, "longitude": -8.63}
    watcher = Watcher()
    async with on_hypercorn(bare, tmp_path) as live:
        assert await live.get("/hello") == (200, "hello")
        await watcher.client.connect(live.url, auth={"token": token}, transports=[transport])
        assert await watcher.call("track:vehicle", "v1") == {"success": True}
        status, answer = await live.post("/api/tracking/location", fix, headers=headers)
        assert (status, answer["success"]) == (200, True)
        await until(lambda: watcher.updates)
        await watcher.client.disconnect()
        status, location = await live.get("/api/tracking/vehicle/v1", headers=headers)
        assert (status, location["userId"]) == (200, "u1")
    assert [update["entityId"] for update in watcher.updates] == ["v1"]


@pytest.mark.parametrize(("command", "extra"), [("plugins", "cli"), ("serve", "serve")])
def test_the_console_script_needs_an_extra(bare: Environment, command: str, extra: str) -> None:
    ran = bare.run("atriz-realtime", command)
    assert (ran.returncode, ran.stdout) == (1, "")
    (line,) = ran.stderr.splitlines()
    assert line == f"error: atriz-realtime needs click: {install_hint(extra)}"


def table(plugin: str, **settings: Any) -> dict[str, Any]:
    return {"plugins": {plugin: settings}}


@pytest.mark.parametrize(
    ("settings", "needs", "extra"),
    [
        (table("jwt_auth", algorithms=["RS256"]), "RS256 needs cryptography", "crypto"),
        (table("jwt_auth", keys={"k": "file:k.pem"}), "a public key needs cryptography", "crypto"),
        (table("jwt_auth", jwks="jwks.json"), "jwks needs cryptography", "jwks"),
        (table("sharing", url="https://x.example"), "plugin sharing needs cryptography", "crypto"),
        (table("metrics", networks=["::1"]), "plugin metrics needs prometheus_client", "metrics"),
        (
            table("typescript", adapter="classic") | {"redis_url": "redis://localhost"},
            "plugin typescript needs msgpack",
            "typescript",
        ),
    ],
)
def test_a_setting_that_needs_an_extra_says_so_at_the_start(
    bare: Environment, settings: dict[str, Any], needs: str, extra: str
) -> None:
    (line,) = bare.done(
        "python", "-c", START, json.dumps({"jwt_secret": SECRET, **settings})
    ).splitlines()
    assert line.endswith(f"{needs}: {install_hint(extra)}")


def test_the_commands_without_a_server_need_cli_alone(
    with_cli: Environment, tmp_path: Path
) -> None:
    listed = json.loads(with_cli.done("atriz-realtime", "plugins", "--json", cwd=tmp_path))
    assert {plugin["state"] for plugin in listed} == {"active"}
    checked = json.loads(with_cli.done("atriz-realtime", "check", "--json", cwd=tmp_path))
    assert "vehicle" in [kind["name"] for kind in checked["registered"]["entity_types"]]
    assert with_cli.done("atriz-realtime", "token", "--user", "u1", cwd=tmp_path).count(".") == 2


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["demo"]])
def test_a_command_that_serves_needs_another_extra(
    with_cli: Environment, tmp_path: Path, command: list[str]
) -> None:
    ran = with_cli.run("atriz-realtime", *command, cwd=tmp_path)
    needs = f"{command[0]} needs uvicorn: {install_hint('serve')}"
    assert (ran.returncode, ran.stderr) == (1, f"error: {needs}\n")
    shown = " ".join(with_cli.done("atriz-realtime", "--help", cwd=tmp_path).split())
    assert f"{command[0]} Needs uvicorn: pip install 'atriz-realtime[serve]'" in shown

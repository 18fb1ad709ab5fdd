"""The npm package that ``atriz-realtime frontend`` writes, as a folder and as a tarball."""

from __future__ import annotations

import json
import tarfile
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from atriz_realtime.cli.shipped_files import LIBRARY, frontend
from tests.frontend.test_build import SOURCE, contents
from tests.packaging.test_wheels import ROOT
from tests.support.clients.frontend_project import run, write_client
from tests.support.clients.node import with_packages

PACKAGE = json.loads((SOURCE / "package.json").read_text())

TARBALL = f"atriz-realtime-client-{PACKAGE['version']}.tgz"

TYPED = """
import { createTracker, follow, type Location, type Tracker } from '@atriz/realtime-client';

const path: string | undefined = undefined;
const token = async () => 'token';
const tracker: Tracker = createTracker('https://live.example.com', { path, token });
const end: () => void = follow(tracker, 'vehicle', 'v1', ({ location, error }) => {
  const speed: number | undefined = location?.speed;
  console.log(speed, error?.code === 'unauthorized', error?.code === 'code_of_a_plugin');
});
// @ts-expect-error: there is no such field
const wrong = (location: Location) => location.lat;
end();
console.log(wrong);
"""

LOADED = """
const { createTracker, TrackingError } = await import('@atriz/realtime-client');
console.log(typeof createTracker, new TrackingError('closed', '').code);
const hooks = import('@atriz/realtime-client/react');
console.log(await hooks.catch(({ code, message }) => code + message));
"""

WITHOUT_TYPES = """
import { createTracker } from '@atriz/realtime-client';

const given = [[], ['http://localhost'], ['http://localhost', {}], [undefined, { token: '' }]];
for (const each of given) {
  try {
    createTracker(...each);
  } catch (error) {
    console.log(String(error));
  }
}
"""


def library() -> str:
    """How the import map of a page names the library."""
    ((name, url),) = LIBRARY.items()
    return f'"{name}": "{url}"'


def test_the_package_replaces_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "vendor" / "realtime-client"
    write_client(target)
    (target / "dist" / "old.js").write_text("gone")
    printed = write_client(target)
    assert f"npm install {target} socket.io-client" in printed
    page = (ROOT / "docs" / "frontend.md").read_text()
    for line in ('"@atriz/realtime-client": "./realtime-client/dist/index.js"', library()):
        assert f"  {line}\n" in printed
        assert line in page
    assert contents(target / "dist") == contents(SOURCE / "dist")
    written = json.loads((target / "package.json").read_text())
    for entry in written["exports"].values():
        assert all((target / path).is_file() for path in entry.values())
    assert PACKAGE.keys() - written.keys() == {"scripts", "devDependencies"}


@pytest.mark.parametrize("found", ['{ "name": "fleet" }', "{}", "[]", "", None])
def test_other_files_are_not_replaced(tmp_path: Path, found: str | None) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "fleet.js").write_text("kept")
    if found is not None:
        (tmp_path / "package.json").write_text(found)
    before = contents(tmp_path)
    refused = CliRunner().invoke(frontend, [str(tmp_path)])
    assert refused.exit_code == 2
    assert f"{tmp_path} has other files; name a new folder" in refused.output
    assert contents(tmp_path) == before


def test_an_argument_that_is_missing_is_named(project: Path) -> None:
    url, token = "url must be a string", "token must be a string or function"
    said = run(project, "node", "--input-type=module", text=WITHOUT_TYPES).splitlines()
    assert said == [f"TypeError: {problem}" for problem in (url, token, token, url)]


@pytest.mark.parametrize("name", ["client.tgz", "client.tar.gz"])
def test_a_tarball_is_written_into_a_folder_and_has_its_own_name(tmp_path: Path, name: str) -> None:
    refused = CliRunner().invoke(frontend, ["--tarball", str(tmp_path / name)])
    assert refused.exit_code == 2
    assert f"name the folder; the file will be {TARBALL}" in refused.output
    assert contents(tmp_path) == {}
    assert not (tmp_path / name).exists()


def test_the_version_is_the_server_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert PACKAGE["version"] == project["version"]
    assert f"./vendor/{TARBALL}" in (ROOT / "docs" / "frontend.md").read_text()


def test_a_tarball_has_the_same_bytes_whenever_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = write_client("--tarball", "first")
    assert f"  npm install ./first/{TARBALL} socket.io-client\n" in printed
    write_client("--tarball", "second/one")
    written = (tmp_path / "first" / TARBALL).read_bytes()
    assert written == (tmp_path / "second" / "one" / TARBALL).read_bytes()


def test_a_tarball_holds_what_npm_would_pack(tmp_path: Path) -> None:
    write_client(tmp_path / "folder")
    write_client("--tarball", tmp_path / "tarball")
    (packed,) = json.loads(run(tmp_path / "folder", "npm", "pack", "--json"))
    assert packed["filename"] == TARBALL
    for origin in ("folder", "tarball"):
        with tarfile.open(tmp_path / origin / TARBALL) as opened:
            opened.extractall(tmp_path / "from" / origin, filter="data")
    ours, theirs = (contents(tmp_path / "from" / each) for each in ("tarball", "folder"))
    assert ours == theirs
    with (
        tarfile.open(tmp_path / "folder" / TARBALL) as by_npm,
        tarfile.open(tmp_path / "tarball" / TARBALL) as by_us,
    ):
        facts = [
            {each.name: (each.mode & 0o111, each.mtime, each.uname) for each in archive}
            for archive in (by_npm, by_us)
        ]
    assert facts[0] == facts[1]


@pytest.mark.timeout(300)  # packages are downloaded
def test_npm_installs_the_tarball(tmp_path: Path) -> None:
    write_client("--tarball", tmp_path / "vendor")
    (tmp_path / "package.json").write_text('{ "type": "module" }')
    run(tmp_path, "npm", "install", f"./vendor/{TARBALL}", "socket.io-client", "--no-audit")
    installed = tmp_path / "node_modules" / "@atriz" / "realtime-client"
    assert not installed.is_symlink()
    assert contents(installed / "dist") == contents(SOURCE / "dist")
    assert not (tmp_path / "node_modules" / "react").exists()
    assert not (tmp_path / "node_modules" / "typescript").exists()

    loaded = run(tmp_path, "node", "--input-type=module", text=LOADED)
    assert loaded.startswith("function closed\nERR_MODULE_NOT_FOUND")
    assert "'react'" in loaded

    tsc = with_packages(SOURCE) / "node_modules" / ".bin" / "tsc"
    (tmp_path / "typed.ts").write_text(TYPED)
    options = (
        "--strict",
        "--exactOptionalPropertyTypes",
        "--noEmit",
        "--target",
        "es2022",
        "--types",
        "",
    )
    for module, resolution in (("esnext", "bundler"), ("nodenext", "nodenext")):
        modules = ("--module", module, "--moduleResolution", resolution)
        run(tmp_path, tsc, *options, *modules, "typed.ts")

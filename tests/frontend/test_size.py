"""How much of the client gets into the bundle of an application."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.frontend.test_build import SOURCE
from tests.support.clients.frontend_project import run

STATED: dict[str, dict[str, int]] = json.loads((SOURCE / "package.json").read_text())["bundleSize"]

MOST = {".": 4_000, "./react": 4_700}
"""Bytes of a module's bundle with gzip, without the libraries."""

MOST_SHIPPED = 27_500
"""Bytes of the files that a page without a bundler may load."""

LIBRARIES = ("--external:socket.io-client", "--external:react")


def bundled(project: Path, code: str, *options: str) -> str:
    """The minified bundle of a module."""
    return run(project, *("esbuild", "--bundle", "--format=esm", "--minify"), *options, text=code)


def inputs(project: Path, code: str) -> set[str]:
    """The files with code in the bundle of a module, libraries included."""
    report = project / "report.json"
    bundled(project, code, f"--metafile={report}", "--outfile=bundle.js")
    (output,) = json.loads(report.read_text())["outputs"].values()
    described: dict[str, Any] = output["inputs"]
    return {name for name, part in described.items() if part["bytesInOutput"]}


@pytest.mark.parametrize("module", STATED)
def test_a_module_is_as_large_as_stated_and_within_its_bound(project: Path, module: str) -> None:
    name = "@atriz/realtime-client" + module.removeprefix(".")
    bundle = bundled(project, f"export * from '{name}'", *LIBRARIES).encode()
    sizes = {"minified": len(bundle), "compressed": len(gzip.compress(bundle, 9))}
    stated = STATED[module]
    # libraries that compress differ by some bytes
    assert sizes == pytest.approx(stated, rel=0.01), f"bundleSize in {SOURCE}/package.json"
    assert sizes["compressed"] < MOST[module]


def test_the_shipped_files_are_within_their_bound() -> None:
    assert sum(path.stat().st_size for path in (SOURCE / "dist").glob("*.js")) < MOST_SHIPPED


def test_a_page_without_react_gets_none_of_it(project: Path) -> None:
    code = (
        "import { createTracker } from '@atriz/realtime-client'; createTracker('', { token: '' });"
    )
    parts = inputs(project, code)
    assert {part for part in parts if "realtime-client" in part} == {
        f"node_modules/@atriz/realtime-client/dist/{name}.js"
        for name in ("address", "diagnosis", "model", "subscriptions", "tracker")
    }
    assert any("socket.io-client" in part for part in parts)
    assert not any("node_modules/react" in part for part in parts)


def test_exports_that_are_not_used_are_dropped(project: Path) -> None:
    code = "import { TrackingError } from '@atriz/realtime-client'; console.log(TrackingError);"
    parts = inputs(project, code)
    assert {Path(part).name for part in parts} == {"<stdin>", "model.js"}
    code = (
        "import { useVehicleTracking } from '@atriz/realtime-client/react'; useVehicleTracking();"
    )
    bundle = bundled(project, code, *LIBRARIES)
    assert '"vehicle"' in bundle
    assert '"delivery"' not in bundle

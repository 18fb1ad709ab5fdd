"""A React application on a server, built as front-end developers do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.support.clients.frontend_project import frontend_project, run
from tests.support.clients.node import JS

DOCUMENTED = JS / "readme" / "useVehicleTracking.ts"
"""The hook in the README of the TypeScript package, verbatim."""

PACKAGE = "@atriz/realtime-client/react"
"""The hooks of this package."""

PAGE = '<!doctype html><meta charset="utf-8"><title>React</title><link rel="icon" href="data:,">\
<div id="root"></div><script src="/app.js"></script>'


def project(folder: Path) -> Path:
    """Make a front-end project with the page of the tests."""
    shutil.copy(JS / "react" / "app.jsx", frontend_project(folder))
    shutil.copy(DOCUMENTED, folder)
    return folder


def built(folder: Path, hooks: str | Path) -> str:
    """Bundle the application of a project with the hooks of a module."""
    return run(
        folder,
        *("esbuild", "app.jsx", "--bundle", "--jsx=automatic", f"--alias:hooks={hooks}"),
        # where the server is, as Create React App's builds are told
        "--define:process.env.REACT_APP_WS_URL=window.location.origin",
        '--define:process.env.NODE_ENV="development"',
    )


def serving_it(script: str) -> Starlette:
    """An application that serves it."""

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE)

    async def code(_: Request) -> Response:
        return Response(script, media_type="text/javascript")

    return Starlette(routes=[Route("/", page), Route("/app.js", code)])


def showing(*entities: Sequence[Any]) -> str:
    """The fragment that shows entities, each a hook and its arguments."""
    return "#" + quote(json.dumps([{"hook": hook, "args": args} for hook, *args in entities]))

"""What the tests do with each code block of a document, by its language.

``python``
    is executed; ``await`` may be used at the top level, and ``http://localhost:3001`` is
    replaced by the document's server.  A block whose first line is a comment with a file's
    name (``# service.py``) becomes that file and is imported.
``http``
    is a request, which is sent to the document's server with ``<token>`` replaced, or
    (when it begins with ``HTTP/``) the expected response; ``…`` matches any one value.
``json``
    must be strict JSON; a location or an event must be what the package would write.
``toml``, ``env``
    must be settings with which a server on Redis starts; ``# atriz.toml`` as the first line
    also writes that file.
``bash``
    must parse, and every ``atriz-realtime`` in it must be an existing command with existing
    options.
``ini``
    must be a systemd unit whose commands exist.
``dockerfile``
    must consist of known instructions, and start an existing command.
``javascript``, ``typescript``, ``tsx``, ``html``
    must parse; of HTML, its scripts.
``vue``, ``svelte``
    must name a file of the project that tests/browser/test_frameworks.py builds and runs.

Blocks of other languages, such as ``text``, are not checked.
"""

from __future__ import annotations

import ast
import configparser
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs
from sybil import Example

from atriz_realtime import Location, LocationEvent, RealtimeConfig, create_app
from atriz_realtime.api import decode_json
from tests.support.docs import commands
from tests.support.servers.serving import token

if TYPE_CHECKING:
    from tests.support.docs.documents import Document

ANY = "…"
"""Matches any one value in a response."""

DOCKER_INSTRUCTIONS = {
    *("FROM", "COPY", "RUN", "USER", "ENV"),
    *("EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
}

JS_TESTS = Path(__file__).parents[2] / "js"

_FILE = re.compile(r"(?:#|//) (?P<name>(?:(?<=# )\w+/)?[\w.-]+\.\w+)\n")
_COMPONENT = re.compile(r"<!-- src/\w+\.(?:vue|svelte) -->\n")


@attrs.frozen
class Answer:
    """The response to an ``http`` block."""

    status: int
    body: Any


def _document(example: Example) -> Document:
    document: Document = example.namespace["document"]
    return document


def _saved(example: Example) -> Path | None:
    """Write the block to the file that its first line names, if it names one."""
    match = _FILE.match(example.parsed)
    if match is None:
        return None
    document = _document(example)
    path = document.folder / match["name"]
    path.parent.mkdir(exist_ok=True)
    path.write_text(document.with_server_url(example.parsed))
    return path


def run_python(example: Example) -> None:
    """Execute a block, or import it as the file it stands for."""
    document = _document(example)
    names = example.namespace
    names.update(document.names())
    path = _saved(example)
    if path is not None:
        names.update(vars(_module(path)))
        return
    line = example.line + example.parsed.line_offset
    code = compile(
        "\n" * line + document.with_server_url(example.parsed),
        example.path,
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    result = eval(code, names)  # the project's own documentation
    if inspect.iscoroutine(result):
        document.run(result)


def _module(path: Path) -> ModuleType:
    """Import a file again, because a document may show a later state of it."""
    module = sys.modules[path.stem] = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(path.read_text(), path, "exec", dont_inherit=True), vars(module))
    return module


# -- http ------------------------------------------------------------------------------


def send_http(example: Example) -> str | None:
    """Send a request, or compare the last response with the one shown."""
    document = _document(example)
    head, _, body = str(example.parsed).partition("\n\n")
    first, *lines = head.splitlines()
    if first.startswith("HTTP/"):
        return _compare(document.answer, first, body)
    method, path = first.split()[:2]
    headers = dict(line.split(": ", 1) for line in lines)
    headers = {name: value.replace("<token>", token()) for name, value in headers.items()}
    status, answer = document.run(
        document.live.request(method, path, data=body.strip() or None, headers=headers)
    )
    document.answer = Answer(status, answer)
    return None


def _compare(answer: Answer | None, first: str, body: str) -> str | None:
    if answer is None:
        return "no request was sent before this answer"
    _, status, phrase = first.split(maxsplit=2)
    if answer.status != int(status):
        return f"the answer was {answer.status} {answer.body}"
    if phrase != HTTPStatus(answer.status).phrase:
        return f"{answer.status} is called {HTTPStatus(answer.status).phrase}"
    shown = decode_json(body)
    if not _matches(shown, answer.body):
        return f"the answer was\n{json.dumps(answer.body, indent=2)}"
    return None


def _matches(shown: Any, real: Any) -> bool:
    if shown == ANY:
        return True
    if isinstance(shown, dict) and isinstance(real, dict):
        return list(shown) == list(real) and all(_matches(shown[key], real[key]) for key in shown)
    if isinstance(shown, list) and isinstance(real, list):
        return len(shown) == len(real) and all(map(_matches, shown, real))
    return bool(shown == real)


# -- data ------------------------------------------------------------------------------


def read_json(example: Example) -> str | None:
    """Read strict JSON; a location or an event must be as the package writes it."""
    value = decode_json(str(example.parsed))
    if not isinstance(value, dict):
        return None
    written: Any = value
    if {"type", "entityId", "location"} <= value.keys():
        written = LocationEvent.from_wire(value).to_wire()
    elif {"deviceId", "latitude"} <= value.keys():
        written = Location.from_wire(value).to_wire()
    return None if written == value else f"is written as {json.dumps(written)}"


def read_toml(example: Example) -> None:
    """Build a server from settings, unless the block is about packaging."""
    document = tomllib.loads(str(example.parsed))
    path = _saved(example)
    if document.keys() <= {"project", "build-system"}:
        return
    if path is None:
        path = _document(example).folder / ("pyproject.toml" if "tool" in document else "some.toml")
        path.write_text(str(example.parsed))
    create_app(RealtimeConfig.load(path, {"REDIS_URL": os.environ["REDIS_URL"]}))
    if path.name != "atriz.toml":
        path.unlink()


def read_env(example: Example) -> None:
    """Build a server from settings in lines of ``NAME=value``."""
    lines = [line.partition("#")[0].strip() for line in str(example.parsed).splitlines()]
    environ = dict(line.split("=", 1) for line in lines if line)
    empty = _document(example).folder / "empty.toml"
    empty.write_text("")
    create_app(RealtimeConfig.load(empty, environ))


def check_bash(example: Example) -> str | None:
    """Let bash parse a block, and check the project's commands in it."""
    return commands.complaint(str(example.parsed))


def check_unit(example: Example) -> str | None:
    """Parse a systemd unit, and check the project's commands in it."""
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as its documentation says
    unit.read_string(str(example.parsed))
    lines = [unit["Service"][key] for key in ("ExecStartPre", "ExecStart")]
    names = [line.replace("/opt/atriz-realtime/bin/", "") for line in lines]
    return next(filter(None, map(commands.complaint, names)), None)


def check_dockerfile(example: Example) -> str | None:
    """Parse the instructions for a container image, and check its command."""
    lines = [line for line in str(example.parsed).splitlines() if not line.startswith("#")]
    steps = dict(line.split(maxsplit=1) for line in lines)
    unknown = steps.keys() - DOCKER_INSTRUCTIONS
    if unknown:
        return f"unknown instruction: {min(unknown)}"
    start = [*json.loads(steps["ENTRYPOINT"]), *json.loads(steps["CMD"])]
    return commands.complaint(shlex.join(start))


# -- other languages -------------------------------------------------------------------


def parse_javascript(example: Example) -> str | None:
    """Let Node parse a block."""
    return _parse_javascript(_document(example).folder / "block.mjs", str(example.parsed))


def parse_html(example: Example) -> str | None:
    """Let Node parse the scripts of a page, and check that its import map is strict JSON."""
    scripts = re.findall(
        r"<script(?: type=\"(\w+)\")?>(.*?)</script>", str(example.parsed), flags=re.DOTALL
    )
    complaints = []
    for kind, script in scripts:
        if kind == "importmap":
            decode_json(script)
        else:
            path = _document(example).folder / ("block.mjs" if kind == "module" else "block.js")
            complaints.append(_parse_javascript(path, script))
    return next(filter(None, complaints), None)


def _parse_javascript(path: Path, script: str) -> str | None:
    path.write_text(script)
    return _complaint(["node", "--check", str(path)])


def parse_typescript(example: Example) -> str | None:
    """Let esbuild, a dependency of tsx, parse a block."""
    esbuild = JS_TESTS / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists():
        return "the tests need `npm ci --prefix tests/js` (see README.md)"
    return _complaint([str(esbuild), "--loader=tsx", "--log-level=warning"], str(example.parsed))


def check_component(example: Example) -> str | None:
    """Check that a component names its file; the test of the project compiles it."""
    return None if _COMPONENT.match(example.parsed) else "the first line names no file in src/"


def _complaint(command: list[str], text: str = "") -> str | None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else None


EVALUATORS: Mapping[str, Callable[[Example], str | None]] = {
    "bash": check_bash,
    "python": run_python,
    "http": send_http,
    "json": read_json,
    "toml": read_toml,
    "env": read_env,
    "ini": check_unit,
    "dockerfile": check_dockerfile,
    "javascript": parse_javascript,
    "html": parse_html,
    "typescript": parse_typescript,
    "tsx": parse_typescript,
    "vue": check_component,
    "svelte": check_component,
}

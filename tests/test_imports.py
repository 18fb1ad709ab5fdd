"""Who imports whom: downwards only, and plugins see nothing of the package but its ``api``."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "atriz_realtime"

TOP = frozenset({"asgi", "cli", "console", "extension", "testing"})
"""What stands on everything else, and may use its like."""

BELOW: Mapping[str, frozenset[str]] = {
    "api": frozenset(),
    "plugin_system": frozenset({"api"}),
    "engine": frozenset({"api.errors"}),
    "redis_link": frozenset({"api", "plugin_system.checks"}),
    "core": frozenset({"api", "plugin_system", "engine"}),
    "http": frozenset({"api", "core", "engine"}),
    "server": frozenset({"api", "plugin_system", "core", "engine", "http", "redis_link"}),
    "defaults": frozenset(),
    "demo": frozenset({"api"}),
} | {
    name: frozenset(
        {"api", "plugin_system", "core", "engine", "http", "redis_link", "server", "demo"}
    )
    | TOP
    for name in TOP
}
"""What each part of the package may import besides itself."""


def imported(path: Path, module: str) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, wherever in it, with the line.

    :param module: the dotted name of the file's own module.
    """
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def violations_of_package(package: Path) -> list[str]:
    """What a part of the package imports and must not."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts == ("__init__",):
            continue  # the public names, imported when they are asked for
        module = ".".join((PACKAGE, *(part for part in parts if part != "__init__")))
        part = parts[0]
        allowed = {part, *BELOW[part]}
        for line, name in imported(path, module):
            if not within(name, PACKAGE):
                continue
            if part == "defaults" and is_api_itself(name):
                continue
            if not any(within(name, f"{PACKAGE}.{other}") for other in allowed):
                found.append(f"{path.relative_to(package.parent)}:{line} imports {name}")
    return found


def is_api_itself(name: str) -> bool:
    """Whether an import is ``from atriz_realtime.api import <a public name>``."""
    base, _, last = name.rpartition(".")
    modules = {path.stem for path in (ROOT / PACKAGE / "api").iterdir()}
    return base == f"{PACKAGE}.api" and last not in modules


def violations_of_plugins(plugins: Path) -> list[str]:
    """What a plugin imports of the package besides its ``api``."""
    return [
        f"{path.relative_to(plugins.parent)}:{line} imports {name}"
        for path in sorted(plugins.glob("*/src/**/*.py"))
        for line, name in imported(path, path.stem)
        if within(name, PACKAGE) and not is_api_itself(name)
    ]


def test_the_package_imports_downwards() -> None:
    assert violations_of_package(ROOT / PACKAGE) == []


def test_plugins_see_the_api_alone() -> None:
    assert violations_of_plugins(ROOT / "plugins") == []


def test_every_part_of_the_package_has_a_place() -> None:
    modules = (ROOT / PACKAGE).rglob("*.py")
    inside = (path.relative_to(ROOT / PACKAGE).with_suffix("") for path in modules)
    parts = {path.parts[0] for path in inside if "node_modules" not in path.parts}
    assert parts - {"__init__"} <= BELOW.keys()


# -- the check itself ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("api/wire.py", "from atriz_realtime.plugin_system.config import RealtimeConfig"),
        ("api/wire.py", "import atriz_realtime"),
        ("api/wire.py", "from .. import plugin_system"),
        ("plugin_system/config.py", "from atriz_realtime.core.runtime import clock"),
        ("plugin_system/config.py", "import atriz_realtime.server"),
        ("plugin_system/config.py", "from atriz_realtime import RealtimeServer"),
        ("core/hub/rooms.py", "from atriz_realtime.defaults.memory import MemoryCache"),
        ("core/hub/rooms.py", "from ...defaults import memory"),
        ("core/hub/rooms.py", "def late():\n    from atriz_realtime.server import RealtimeServer"),
        ("core/hub/rooms.py", "if TYPE_CHECKING:\n    from atriz_realtime.asgi import create_app"),
        ("engine/protocol/frames.py", "from atriz_realtime.core.hub.rooms import Rooms"),
        ("engine/protocol/frames.py", "from atriz_realtime.api.model import Location"),
        ("server.py", "from atriz_realtime.asgi import create_app"),
        ("server.py", "from atriz_realtime.defaults import memory"),
        ("defaults/memory.py", "from atriz_realtime.api.model import Location"),
        ("defaults/memory.py", "from atriz_realtime.api import model"),
        ("defaults/memory.py", "from atriz_realtime.api import contracts"),
        ("defaults/memory.py", "from atriz_realtime.core.runtime.clock import SystemClock"),
        ("defaults/redis/cache.py", "from ...plugin_system import config"),
        ("testing/clock.py", "from atriz_realtime.defaults.memory import MemoryCache"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, source: str) -> None:
    planted = tmp_path / PACKAGE / file
    planted.parent.mkdir(parents=True)
    planted.write_text(f"from typing import TYPE_CHECKING\n\n{source}\n")
    (violation,) = violations_of_package(tmp_path / PACKAGE)
    assert violation.startswith(f"{PACKAGE}/{file}:")


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("server.py", "from atriz_realtime.core.hub.rooms import Rooms"),
        ("core/hub/rooms.py", "from . import outbox"),
        ("core/hub/rooms.py", "from ..runtime.incidents import Incidents"),
        ("cli/serve.py", "from atriz_realtime.asgi import create_app"),
        ("engine/protocol/frames.py", "from atriz_realtime.api.errors import RealtimeError"),
        ("defaults/redis/cache.py", "from atriz_realtime.defaults.redis.fanout import RedisFanout"),
        ("defaults/memory.py", "from atriz_realtime.api import hookimpl"),
        ("api/wire.py", "import atriz_realtime_elsewhere"),
    ],
)
def test_what_is_allowed_is_let_be(tmp_path: Path, file: str, source: str) -> None:
    planted = tmp_path / PACKAGE / file
    planted.parent.mkdir(parents=True)
    planted.write_text(source)
    assert violations_of_package(tmp_path / PACKAGE) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from atriz_realtime.api import hookimpl", 0),
        ("import attrs", 0),
        ("import atriz_realtime", 1),
        ("from atriz_realtime import RealtimeServer", 1),
        ("from atriz_realtime.api.records import EntityType", 1),
        ("from atriz_realtime.core.hub.rooms import Rooms", 1),
    ],
)
def test_a_plugin_s_violation_is_found(tmp_path: Path, source: str, found: int) -> None:
    planted = tmp_path / "plugins" / "atriz-realtime-x" / "src" / "x" / "inner" / "rules.py"
    planted.parent.mkdir(parents=True)
    planted.write_text(source)
    assert len(violations_of_plugins(tmp_path / "plugins")) == found

"""Imports run downwards: between layers, between the wings of core, and never in a circle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.checks.imports import (
    Import,
    circles,
    imported_module,
    imports,
    module_name,
    modules,
    within,
)

ROOT = Path(__file__).parents[1]
PACKAGE = "atriz_realtime"

WINGS = ("runtime", "hub", "access", "publish", "clients")
"""The wings of core: each may import those before it."""

BELOW_CORE = frozenset({"api", "engine", "plugin_system", "redis_link"})

BELOW_SERVER = BELOW_CORE | {"core", "http"}

BELOW_CLI = BELOW_SERVER | {"server", "asgi", "demo"}

MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "api": frozenset(),
    "engine": frozenset({"api.errors"}),
    "plugin_system": frozenset({"api"}),
    "redis_link": frozenset({"api", "plugin_system.checks"}),
    **{
        f"core.{wing}": BELOW_CORE | {f"core.{lower}" for lower in WINGS[:place]}
        for place, wing in enumerate(WINGS)
    },
    "core": frozenset(),
    "http": BELOW_CORE | {"core"},
    "server": BELOW_SERVER,
    "asgi": BELOW_SERVER | {"server"},
    "extension": BELOW_SERVER | {"server"},
    "testing": BELOW_SERVER | {"server", "asgi"},
    "defaults": frozenset(),
    "demo": frozenset({"api"}),
    "cli.client": BELOW_CLI | {"cli"},
    "cli.serving": BELOW_CLI | {"cli"},
    "cli": BELOW_CLI | {"cli"},
}
"""What each part may import besides itself.  The longest name that a module is in counts.

Default plugins may import public names of ``api``, and see :func:`reaches_into_a_plugin`.
"""

APART = (("cli.client", "cli.serving"), ("cli.serving", "cli.client"))
"""Pairs of parts of which the first does not import the second, though it may what is above it."""


def part_of(module: str) -> str:
    """The part of the package that a module belongs to."""
    inside = module.removeprefix(f"{PACKAGE}.")
    while inside and inside not in MAY_IMPORT:
        inside = inside.rpartition(".")[0]
    return inside


def is_public_api(name: str) -> bool:
    """Whether an import is ``from atriz_realtime.api import <a public name>``."""
    base, _, last = name.rpartition(".")
    own_modules = {path.stem for path in (ROOT / PACKAGE / "api").iterdir()}
    return base == f"{PACKAGE}.api" and last not in own_modules


def reaches_into_a_plugin(found: Import, known: Mapping[str, Path]) -> bool:
    """Whether something imports a module from the folder of a default plugin that is not its own.

    The plugin's ``__init__`` is what others see of it.  ``defaults/shared`` belongs to all.
    """
    defaults = f"{PACKAGE}.defaults."
    module = imported_module(found.name, known) or found.name
    plugin, _, inner = module.removeprefix(defaults).partition(".")
    return (
        module.startswith(defaults)
        and plugin != "shared"
        and inner != ""
        and not within(found.module, defaults + plugin)
    )


def is_allowed(found: Import, known: Mapping[str, Path]) -> bool:
    """Whether the layers allow an import of something in the package."""
    part = part_of(found.module)
    if part == "defaults" and is_public_api(found.name):
        return True
    if reaches_into_a_plugin(found, known):
        return False
    if any(part == one and within(found.name, f"{PACKAGE}.{other}") for one, other in APART):
        return False
    shared = f"{PACKAGE}.defaults.shared"
    if within(found.module, shared):
        return within(found.name, shared)
    return part_of(found.name) == part or any(
        within(found.name, f"{PACKAGE}.{allowed}") for allowed in MAY_IMPORT[part]
    )


def violations(package: Path) -> list[str]:
    """Every import in the package that the layers do not allow."""
    known = modules(package)
    return [
        f"{path.relative_to(package.parent)}:{found.line} imports {found.name}"
        for module, path in known.items()
        if module != PACKAGE  # imports a public name when it is first asked for
        for found in imports(path, module)
        if within(found.name, PACKAGE) and not is_allowed(found, known)
    ]


def graph(package: Path) -> dict[str, set[str]]:
    """The modules that each module of the package imports."""
    known = modules(package)
    return {
        module: {
            other
            for found in imports(path, module)
            if (other := imported_module(found.name, known)) not in (None, module)
        }
        for module, path in known.items()
    }


def violations_of_plugins(plugins: Path) -> Iterator[str]:
    """What plugins beside the package import of it besides its ``api``."""
    for path in sorted(plugins.glob("*/src/**/*.py")):
        for found in imports(path, module_name(path, path.parents[1])):
            if within(found.name, PACKAGE) and not is_public_api(found.name):
                yield f"{path.relative_to(plugins.parent)}:{found.line} imports {found.name}"


def test_the_package_imports_downwards() -> None:
    found = violations(ROOT / PACKAGE)
    assert not found, "\n".join(found)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(graph(ROOT / PACKAGE)) == []


def test_plugins_import_only_the_public_api() -> None:
    assert list(violations_of_plugins(ROOT / "plugins")) == []


def test_every_module_belongs_to_a_part() -> None:
    assert [each for each in modules(ROOT / PACKAGE) if each != PACKAGE and not part_of(each)] == []


def test_nothing_in_core_is_outside_a_wing() -> None:
    stray = [module for module in modules(ROOT / PACKAGE) if part_of(module) == "core"]
    assert stray == [f"{PACKAGE}.core"]


# -- the checks themselves -----------------------------------------------------------------


def planted(folder: Path, sources: Mapping[str, str]) -> Path:
    """A package of these files."""
    for file, source in sources.items():
        path = folder / PACKAGE / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"from typing import TYPE_CHECKING\n\n{source}\n")
    return folder / PACKAGE


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("api/wire.py", "from atriz_realtime.plugin_system.config import RealtimeConfig"),
        ("api/wire.py", "import atriz_realtime"),
        ("api/wire.py", "from .. import plugin_system"),
        ("plugin_system/config.py", "from atriz_realtime.core.runtime import clock"),
        ("plugin_system/config.py", "import atriz_realtime.server"),
        ("plugin_system/config.py", "from atriz_realtime import RealtimeServer"),
        ("redis_link/pipe.py", "from atriz_realtime.core.runtime.incidents import Incidents"),
        ("redis_link/pipe.py", "from atriz_realtime.engine import EngineServer"),
        ("core/hub/rooms.py", "from atriz_realtime.defaults.memory import MemoryCache"),
        ("core/hub/rooms.py", "from ...defaults import memory"),
        ("core/hub/rooms.py", "def late():\n    from atriz_realtime.server import RealtimeServer"),
        ("core/hub/rooms.py", "if TYPE_CHECKING:\n    from atriz_realtime.asgi import create_app"),
        ("core/hub/rooms.py", "from atriz_realtime.core.access.access import Access"),
        ("core/runtime/lag.py", "from atriz_realtime.core.hub import rooms"),
        ("core/publish/service.py", "from ..clients import gateway"),
        ("core/clients/gateway.py", "from atriz_realtime.http.routes import Routes"),
        ("core/clients/gateway.py", "import atriz_realtime.core"),
        ("core/stray.py", "from atriz_realtime.core.hub import rooms"),
        ("core/__init__.py", "from atriz_realtime.core.hub import rooms"),
        ("engine/protocol/frames.py", "from atriz_realtime.core.hub.rooms import Rooms"),
        ("engine/protocol/frames.py", "from atriz_realtime.api.model import Location"),
        ("http/protocol.py", "from atriz_realtime.server import RealtimeServer"),
        ("server.py", "from atriz_realtime.asgi import create_app"),
        ("server.py", "from atriz_realtime.defaults import memory"),
        ("defaults/memory.py", "from atriz_realtime.api.model import Location"),
        ("defaults/memory.py", "from atriz_realtime.api import model"),
        ("defaults/memory.py", "from atriz_realtime.api import contracts"),
        ("defaults/memory.py", "from atriz_realtime.core.runtime.clock import SystemClock"),
        ("defaults/redis/cache.py", "from ...plugin_system import config"),
        ("defaults/shared/pages.py", "from atriz_realtime.defaults.memory import MemoryCache"),
        ("demo/town.py", "from atriz_realtime.plugin_system.config import RealtimeConfig"),
        ("testing/clock.py", "from atriz_realtime.defaults.memory import MemoryCache"),
        ("testing/clock.py", "from atriz_realtime.demo import fleet"),
        ("asgi.py", "from atriz_realtime.demo import fleet"),
        ("extension.py", "from atriz_realtime.cli.main import main"),
        ("cli/client/watch.py", "from atriz_realtime.cli.serving import addresses"),
        ("cli/serving/supervisor.py", "from atriz_realtime.cli.client.connection import connect"),
        ("cli/demo.py", "from atriz_realtime.defaults import memory"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, source: str) -> None:
    (violation,) = violations(planted(tmp_path, {file: source}))
    assert violation.startswith(f"{PACKAGE}/{file}:")


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("server.py", "from atriz_realtime.core.hub.rooms import Rooms"),
        ("core/hub/rooms.py", "from . import outbox"),
        ("core/hub/rooms.py", "from ..runtime.incidents import Incidents"),
        ("core/clients/gateway.py", "from atriz_realtime.core.publish.service import Service"),
        ("core/runtime/lag.py", "from atriz_realtime.engine.session import Session"),
        ("cli/serve.py", "from atriz_realtime.asgi import create_app"),
        ("cli/demo.py", "from atriz_realtime.demo.fleet import Fleet"),
        ("cli/watch.py", "from atriz_realtime.cli.client import watcher"),
        ("cli/client/watcher.py", "from atriz_realtime.cli import output"),
        ("engine/protocol/frames.py", "from atriz_realtime.api.errors import RealtimeError"),
        ("defaults/redis/cache.py", "from atriz_realtime.defaults.redis.fanout import RedisFanout"),
        ("defaults/redis/cache.py", "from atriz_realtime.defaults.shared.pages import page"),
        ("defaults/shared/pages.py", "from atriz_realtime.defaults.shared import entities"),
        ("defaults/memory.py", "from atriz_realtime.api import hookimpl"),
        ("api/wire.py", "import atriz_realtime_elsewhere"),
    ],
)
def test_an_import_downwards_is_allowed(tmp_path: Path, file: str, source: str) -> None:
    assert violations(planted(tmp_path, {file: source})) == []


@pytest.mark.parametrize(
    ("importer", "source", "allowed"),
    [
        ("defaults/updates.py", "from atriz_realtime.defaults.sharing import tokens", False),
        ("defaults/updates.py", "from atriz_realtime.defaults.sharing.tokens import Token", False),
        ("defaults/updates.py", "import atriz_realtime.defaults.sharing.tokens", False),
        ("defaults/updates.py", "from atriz_realtime.defaults.sharing import Sharing", True),
        ("defaults/updates.py", "from atriz_realtime.defaults.memory import MemoryCache", True),
        ("defaults/sharing/http.py", "from atriz_realtime.defaults.sharing import tokens", True),
    ],
)
def test_a_plugin_s_folder_is_imported_through_its_init(
    tmp_path: Path, importer: str, source: str, allowed: bool
) -> None:
    package = planted(
        tmp_path,
        {
            "defaults/sharing/__init__.py": "",
            "defaults/sharing/tokens.py": "",
            "defaults/memory.py": "",
            importer: source,
        },
    )
    assert (violations(package) == []) is allowed


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"a": "from atriz_realtime import b", "b": "import atriz_realtime.a"}, ["a", "b"]),
        (
            {"a": "from .b import B", "b": "from .c import C", "c": "from .a import A"},
            ["a", "b", "c"],
        ),
        ({"a": "from .b import B", "b": "if TYPE_CHECKING:\n    from .a import A"}, ["a", "b"]),
        ({"a": "from .b import B", "b": "def f():\n    from .a import A"}, ["a", "b"]),
        ({"a/__init__": "from .b import B", "a/b": "from . import A"}, ["a", "a.b"]),
    ],
)
def test_a_planted_circle_is_found(
    tmp_path: Path, sources: Mapping[str, str], expected: list[str]
) -> None:
    package = planted(
        tmp_path, {"__init__.py": "", **{f"{name}.py": text for name, text in sources.items()}}
    )
    assert circles(graph(package)) == [[f"{PACKAGE}.{name}" for name in expected]]


def test_modules_that_meet_in_a_third_are_no_circle(tmp_path: Path) -> None:
    sources = {"a.py": "from . import b, c", "b.py": "from .c import C", "c.py": "import json"}
    assert circles(graph(planted(tmp_path, {"__init__.py": "", **sources}))) == []


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
    path = tmp_path / "plugins" / "atriz-realtime-x" / "src" / "x" / "inner" / "rules.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert len(list(violations_of_plugins(tmp_path / "plugins"))) == found

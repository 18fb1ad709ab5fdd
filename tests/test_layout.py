"""House rules of the package: the sizes of its modules, and one name for one class."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.checks.imports import modules

PACKAGE = Path(__file__).parents[1] / "atriz_realtime"

MAX_LINES = 400
"""Lines of a module."""

OTHER_LIMITS = {"atriz_realtime.server": 299}

LONG = {"atriz_realtime.api.hookspecs"}
"""One docstring a hook, and all hooks in one place."""

CONTRACTS = "atriz_realtime.api.contracts"


def too_long(package: Path) -> list[str]:
    """The modules with more lines than they may have."""
    lengths = {
        module: len(path.read_text().splitlines()) for module, path in modules(package).items()
    }
    return [
        f"{module}: {lines} lines"
        for module, lines in lengths.items()
        if module not in LONG and lines > OTHER_LIMITS.get(module, MAX_LINES)
    ]


def classes(package: Path) -> dict[str, list[str]]:
    """The modules that define a class of each name."""
    found: dict[str, list[str]] = {}
    for module, path in modules(package).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(module)
    return found


def shared_names(package: Path) -> dict[str, list[str]]:
    """The class names that several classes have; one may be the contract of one other."""
    return {
        name: where
        for name, where in classes(package).items()
        if len(where) > 2 or (len(where) == 2 and not where[0].startswith(CONTRACTS))
    }


def test_modules_are_short() -> None:
    assert too_long(PACKAGE) == []


def test_no_two_classes_share_a_name() -> None:
    assert shared_names(PACKAGE) == {}


# -- the checks themselves -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "lines", "found"),
    [
        ("core/hub/rooms.py", 400, []),
        ("core/hub/rooms.py", 401, ["atriz_realtime.core.hub.rooms: 401 lines"]),
        ("server.py", 299, []),
        ("server.py", 300, ["atriz_realtime.server: 300 lines"]),
        ("api/hookspecs.py", 1_000, []),
    ],
)
def test_a_long_module_is_found(tmp_path: Path, file: str, lines: int, found: list[str]) -> None:
    path = tmp_path / "atriz_realtime" / file
    path.parent.mkdir(parents=True)
    path.write_text("x = 1\n" * lines)
    assert too_long(tmp_path / "atriz_realtime") == found


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"core/a.py": "class A: ...", "core/b.py": "class B: ..."}, False),
        ({"core/a.py": "class A: ...", "engine/b.py": "class A: ..."}, True),
        ({"core/a.py": "class A: ...", "engine/b.py": "def f():\n    class A: ..."}, True),
        ({"core/a.py": "class A: ...\nclass A: ..."}, True),
        ({"api/contracts/a.py": "class A: ...", "core/a.py": "class A: ..."}, False),
        ({"api/wire.py": "class A: ...", "core/a.py": "class A: ..."}, True),
        (
            {
                "api/contracts/a.py": "class A: ...",
                "core/a.py": "class A: ...",
                "core/b.py": "class A: ...",
            },
            True,
        ),
    ],
)
def test_a_shared_name_is_found(tmp_path: Path, sources: Mapping[str, str], found: bool) -> None:
    for file, source in sources.items():
        path = tmp_path / "atriz_realtime" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    assert bool(shared_names(tmp_path / "atriz_realtime")) is found

"""The undocumented names of libraries that the package uses are there, and all are listed."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import atriz_realtime
from tests.support.checks.seams import SEAMS, Seam

PACKAGE = Path(atriz_realtime.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]

LISTED = frozenset(name.partition("(")[0] for seam in SEAMS for name in seam.names)

LIBRARIES = frozenset(
    {seam.owner.partition(":")[0].partition(".")[0] for seam in SEAMS}
    | {"aiohttp", "cattrs", "click", "hiredis", "httptools", "pluggy", "rich", "structlog"}
)

DOCUMENTED = frozenset({"_replace"})
"""Private only in form: of named tuples."""


def cases() -> Iterator[Any]:
    for seam in SEAMS:
        for name in seam.names:
            yield pytest.param(seam, name, id=f"{seam.owner}.{name.partition('(')[0]}")


def owner_of(seam: Seam) -> Any:
    module, _, attribute = seam.owner.partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def has(owner: Any, name: str) -> bool:
    """Whether an object has a name, or is a class whose methods use an attribute of the name."""
    if hasattr(owner, name) or not inspect.isclass(owner):
        return hasattr(owner, name)
    methods = (member for base in owner.__mro__ for member in vars(base).values())
    return any(name in each.__code__.co_names for each in methods if hasattr(each, "__code__"))


def mismatch(function: Any, wanted: list[str]) -> str:
    """Why a function cannot take the parameters that are wanted, or nothing."""
    found = [
        each for each in inspect.signature(function).parameters.values() if each.name != "self"
    ]
    names, required = [], set()
    for each in found:
        stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")  # type: ignore[call-overload]
        names.append(stars + each.name)
        if not stars and each.default is each.empty:
            required.add(each.name)
    exact = is_private(function.__name__)
    fits = [name for name in names if name in wanted] == wanted and required <= {*wanted}
    return "" if fits and not (exact and names != wanted) else f"its parameters are {names}"


@pytest.mark.parametrize(("seam", "listed"), [*cases()])
def test_a_name_is_there(seam: Seam, listed: str) -> None:
    name, called, rest = listed.partition("(")
    owner = owner_of(seam)
    problem = "" if has(owner, name) else "it is gone"
    if called and not problem:
        wanted = [each for each in rest.rstrip(")").split(", ") if each]
        problem = mismatch(getattr(owner, name), wanted)
    assert not problem, (
        f"{seam.library} {version(seam.library)} does not fit: {seam.owner}, {listed}: {problem}. "
        f"Used in {', '.join(seam.users)}: {seam.why}."
    )


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.owner)
def test_a_listed_name_is_used(seam: Seam) -> None:
    text = "".join((PACKAGE / user).read_text() for user in seam.users)
    listed = [name.partition("(")[0] for name in seam.names]
    # Python calls an object's special methods, so a use shows in the object's own name
    used = [seam.owner.rpartition(":")[2] if name[:2] == "__" else name for name in listed]
    assert [name for name in used if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("library", sorted({seam.library for seam in SEAMS}))
def test_a_library_whose_insides_are_used_has_an_upper_bound(library: str) -> None:
    everything = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    requirements = [Requirement(text) for group in everything for text in group]
    bounds = [str(each.specifier) for each in requirements if each.name == library]
    assert bounds
    assert [each for each in bounds if "<" not in each] == []


# -- the list is complete ------------------------------------------------------------------


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE), ast.parse(path.read_text())


def defined(tree: ast.Module) -> Iterator[str]:
    """The names that a module defines, and the attributes that it sets."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                yield name


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_every_private_name_of_a_library_is_listed() -> None:
    own = {name for _, tree in sources() for name in defined(tree)}
    unlisted = [
        f"{path}:{node.lineno}: {node.attr}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and node.attr not in own | LISTED | DOCUMENTED
    ]
    assert unlisted == []


def test_every_private_method_of_a_library_that_is_overridden_is_listed() -> None:
    unlisted = []
    for found in pkgutil.walk_packages(atriz_realtime.__path__, "atriz_realtime."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for own in vars(module).values():
            if not inspect.isclass(own) or own.__module__ != module.__name__:
                continue
            for base in own.__mro__:
                if base.__module__.partition(".")[0] in LIBRARIES:
                    shared = {name for name, value in vars(own).items() if callable(value)}
                    names = {name for name in shared & vars(base).keys() if is_private(name)}
                    unlisted += [f"{own.__qualname__}.{name}" for name in names - LISTED]
    assert unlisted == []


def test_every_private_module_of_a_library_is_listed() -> None:
    owners = {seam.owner.partition(":")[0] for seam in SEAMS}
    unlisted = [
        f"{path}:{node.lineno}: {node.module}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module is not None
        and node.module.partition(".")[0] in LIBRARIES
        and any(part.startswith("_") or part.endswith("_impl") for part in node.module.split("."))
        and node.module not in owners
    ]
    assert unlisted == []

"""Reads which module of a package imports which."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs


@attrs.frozen
class Import:
    """One imported name."""

    module: str
    """The dotted name of the module that imports."""
    line: int
    name: str
    """The dotted name that is imported: a module, or a module's name and something in it."""


def module_name(path: Path, root: Path) -> str:
    """The dotted name of a file below the root of its packages."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(package: Path) -> dict[str, Path]:
    """The modules of a package by dotted name, packages among them."""
    return {
        module_name(path, package.parent): path
        for path in sorted(package.rglob("*.py"))
        if "node_modules" not in path.parts
    }


def imports(path: Path, module: str) -> Iterator[Import]:
    """Every import of a file: at the top, in functions, and under ``TYPE_CHECKING``.

    :param module: the dotted name of the file's module.
    """
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (Import(module, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield from (Import(module, node.lineno, f"{base}.{alias.name}") for alias in node.names)


def within(name: str, module: str) -> bool:
    """Whether a dotted name is a module, or something in it."""
    return name == module or name.startswith(module + ".")


def imported_module(name: str, known: Mapping[str, Path]) -> str | None:
    """The module that an imported name is, or is in; None for one of another package."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The modules that import each other, directly or through others: one list per circle.

    Tarjan's algorithm for strongly connected components.
    """
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        path.append(module)
        for other in sorted(graph.get(module, ())):
            if other not in order:
                visit(other)
            if other in path:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == order[module]:
            start = path.index(module)
            if len(path) - start > 1:
                found.append(sorted(path[start:]))
            del path[start:]

    for module in sorted(graph):
        if module not in order:
            visit(module)
    return found

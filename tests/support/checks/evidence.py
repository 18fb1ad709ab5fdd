"""Reads from the tests' sources which settings, fields and errors they use, without running them.

It shows that a test uses something, not that the test is a good one.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[3]

ABOUT_THE_LIST = {"tests/api/test_errors.py", "tests/plugin_system/test_config.py"}
"""Tests that go through a whole list: they show that an item exists, not what it does."""


def sources() -> Iterator[str]:
    """The sources of the tests, of the package and of the plugins beside it."""
    for path in [*ROOT.glob("tests/**/*.py"), *ROOT.glob("plugins/*/tests/**/*.py")]:
        if str(path.relative_to(ROOT)) not in ABOUT_THE_LIST:
            yield path.read_text()


@attrs.frozen
class Given:
    """The value of a keyword argument, or of a dictionary's key."""

    callee: str
    """The name of what is called; empty for a dictionary's key."""
    value: ast.expr


class Evidence:
    """What occurs in sources, and in the sources that they hold as strings."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._given: dict[str, list[Given]] = {}
        self._positions: dict[str, int] = {}
        self._read: set[str] = set()
        self._strings: set[str] = set()
        self._expected: set[str] = set()
        for text in texts:
            self._add(ast.parse(text))

    def sets(self, setting: attrs.Attribute[Any]) -> bool:
        """Whether a setting or its variable is given a value other than its default."""
        variable = f"ATRIZ_REALTIME_{setting.name.upper()}"
        if any(variable in text for text in self._strings | self._given.keys()):
            return True
        return any(
            _differs(given.value, setting.default) for given in self._given.get(setting.name, ())
        )

    def gives(self, record: str, field: attrs.Attribute[Any], position: int) -> bool:
        """Whether a record is made with a field."""
        return position < self._positions.get(record, 0) or any(
            given.callee == record for given in self._given.get(field.name, ())
        )

    def reads(self, field: attrs.Attribute[Any]) -> bool:
        """Whether an attribute of a field's name is read."""
        return field.name in self._read

    def expects(self, error: type[Exception], code: str) -> bool:
        """Whether a test expects an error: compares its code, or names its class in ``raises``."""
        return code in self._expected or error.__name__ in self._expected

    def _add(self, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=function, args=arguments, keywords=keywords):
                    name = _name(function)
                    self._positions[name] = max(self._positions.get(name, 0), len(arguments))
                    for keyword in keywords:
                        if keyword.arg is not None:
                            given = Given(name, keyword.value)
                            self._given.setdefault(keyword.arg, []).append(given)
                    if name == "raises" and arguments:
                        self._expected |= {_name(each) for each in ast.walk(arguments[0])}
                case ast.Dict(keys=keys, values=values):
                    for key, value in zip(keys, values, strict=True):
                        match key:
                            case ast.Constant(value=str(text)):
                                self._given.setdefault(text, []).append(Given("", value))
                case ast.Compare():
                    for part in ast.walk(node):
                        match part:
                            case ast.Constant(value=str(text)):
                                self._expected.add(text)
                case ast.Attribute(attr=name, ctx=ast.Load()):
                    self._read.add(name)
                case ast.Constant(value=str(text)):
                    self._strings.add(text)
                    if "\n" in text:
                        self._add_quoted(text)

    def _add_quoted(self, text: str) -> None:
        try:
            quoted = ast.parse(textwrap.dedent(text))
        except SyntaxError:  # not Python
            return
        self._add(quoted)


def _name(function: ast.AST) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _differs(value: ast.expr, default: object) -> bool:
    """Whether an expression is not a default; a computed one counts as different."""
    try:
        return bool(ast.literal_eval(value) != default)
    except ValueError:
        return True

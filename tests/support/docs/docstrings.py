"""Docstrings, and the strings below attributes, as Markdown."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_FIELD = re.compile(r"^:(?P<kind>param|raises|returns)\s*(?P<name>[\w.]*):\s*", re.MULTILINE)


def markdown(docstring: str | None) -> str:
    """A docstring's reStructuredText, as far as the project uses it, as Markdown."""
    text = _ROLE.sub(r"`\1`", inspect.cleandoc(docstring or "")).replace("``", "`")
    text, example, code = text.partition("Example::\n")
    text = re.sub(r"(?<=[.:;]) {2,}", " ", text)
    text = _fields_as_list(text.strip())
    if example:
        text += f"\n\n```python\n{textwrap.dedent(code).strip()}\n```"
    return text


def first_sentence(docstring: str | None) -> str:
    """The first paragraph, on one line."""
    return one_line(markdown(docstring).split("\n\n")[0])


def in_cell(docstring: str | None) -> str:
    """All paragraphs on one line, for a table; parameters and what is raised begin a new one."""
    paragraphs = markdown(docstring).replace("\n- ", "\n\n<br>").split("\n\n")
    return one_line(" ".join(paragraphs)).replace(" <br>", "<br>").replace("<br>- ", "<br>")


def one_line(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


def _fields_as_list(text: str) -> str:
    """``:param x: …`` and its like as a list."""
    fields = list(_FIELD.finditer(text))
    if not fields:
        return text
    ends = [field.start() for field in fields[1:]] + [len(text)]
    items = []
    for field, end in zip(fields, ends, strict=True):
        name = f"`{field['name']}`" if field["name"] else ""
        label = name if field["kind"] == "param" else f"{field['kind']} {name}".strip()
        items.append(f"- {label}: {one_line(text[field.end() : end])}")
    return text[: fields[0].start()].strip() + "\n\n" + "\n".join(items)


def attribute_docs(owner: Any) -> dict[str, str]:
    """The strings below the attributes of a class and of those it inherits from, by attribute."""
    found: dict[str, str] = {}
    package = owner.__module__.partition(".")[0]
    ours = [each for each in inspect.getmro(owner) if each.__module__.startswith(package)]
    for each in reversed(ours):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        if not isinstance(definition, ast.ClassDef):
            raise TypeError(f"{each!r} is not a class")
        found |= {name: text for name, _, text in documented(definition.body)}
    return found


def documented(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr | None, str]]:
    """Assignments that have a string below them: name, value, text."""
    for statement, following in pairwise(body):
        match statement, following:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, value, one_line(markdown(text))

"""What a mutant is, and all mutants of a source file.

A mutant replaces one node of the syntax tree.  Mutants are made from the source alone: no test is
read.  Left as they are: docstrings and other prose, annotations, decorators, and what is only
there for the type checker.
"""

from __future__ import annotations

import ast
import copy
import difflib
from collections.abc import Iterator
from pathlib import Path

import attrs

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}

ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}

DELETED = (
    ast.Expr,
    ast.Assign,
    ast.AugAssign,
    ast.Delete,
    ast.Raise,
    ast.Break,
    ast.Continue,
)

TYPING = {"cast", "TypeVar", "ParamSpec", "NewType"}


@attrs.frozen
class Mutant:
    """One change.

    :param path: the file, from the root of the tree.
    :param line: the first line that changes.
    :param operator: what kind of change it is.
    :param source: the whole file, changed.
    """

    path: str
    line: int
    operator: str
    before: str = attrs.field(repr=False)
    source: str = attrs.field(repr=False)

    def diff(self) -> str:
        """The change, as a diff without context."""
        changed = difflib.unified_diff(
            self.before.splitlines(), self.source.splitlines(), n=0, lineterm=""
        )
        return "\n".join(line for line in changed if not line.startswith(("---", "+++", "@@")))

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.operator}\n{self.diff()}"


def mutants(root: Path, path: str) -> Iterator[Mutant]:
    """All mutants of a file, from top to bottom."""
    before = (root / path).read_text()
    source = _Source(before)
    for node, operator, text in _changes(ast.parse(before), in_function=False):
        yield Mutant(path, node.lineno, operator, before, source.replaced(node, text))


class _Source:
    def __init__(self, text: str) -> None:
        self._text = text.encode()
        self._starts = [0]
        for line in self._text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def replaced(self, node: ast.stmt | ast.expr, text: str) -> str:
        """The source with a node's text replaced."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        return (self._text[:start] + text.encode() + self._text[end:]).decode()


Change = tuple[ast.stmt | ast.expr, str, str]


def _changes(node: ast.AST, *, in_function: bool) -> Iterator[Change]:
    if isinstance(node, ast.stmt):
        yield from _of_statement(node, in_function=in_function)
    elif isinstance(node, ast.expr):
        yield from _of_expression(node)
    in_function = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for child in _code(node):
        yield from _changes(child, in_function=in_function)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The children that are code."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from (value for value in node.args.defaults)
            yield from (value for value in node.args.kw_defaults if value is not None)
            yield from node.body
        case ast.ClassDef():
            yield from node.body
        case ast.Expr(value=ast.Constant()) | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
            pass
        case ast.Call(func=ast.Name(id=name)) if name in TYPING:
            yield from node.args[1:]
        case ast.AnnAssign(value=ast.expr() as value):
            yield value
        case ast.AnnAssign():
            pass
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            pass
        case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")]):
            pass
        case _:
            yield from ast.iter_child_nodes(node)


def _of_statement(node: ast.stmt, *, in_function: bool) -> Iterator[Change]:
    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.If() | ast.While() if not isinstance(node.test, ast.Constant):
            yield node.test, "condition negated", f"not ({ast.unparse(node.test)})"
        case ast.Return(value=ast.expr() as value):
            if not (isinstance(value, ast.Constant) and value.value is None):
                yield node, "nothing returned", "return None"
    if in_function and isinstance(node, DELETED):
        yield node, "statement deleted", "pass"


def _of_expression(node: ast.expr) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            changed = copy.copy(node)
            changed.ops = [COMPARISONS[type(operator)]()]
            yield node, "comparison changed", f"({ast.unparse(changed)})"
        case ast.BoolOp():
            changed_bool = copy.copy(node)
            changed_bool.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            yield (
                node,
                "and for or" if isinstance(node.op, ast.Or) else "or for and",
                _text(changed_bool),
            )
            for dropped in range(len(node.values)):
                rest = [value for index, value in enumerate(node.values) if index != dropped]
                kept = copy.copy(node)
                kept.values = rest
                yield node, "operand dropped", _text(kept if len(rest) > 1 else rest[0])
        case ast.UnaryOp(op=ast.Not()):
            yield node, "not dropped", _text(node.operand)
        case ast.IfExp():
            swapped = copy.copy(node)
            swapped.body, swapped.orelse = node.orelse, node.body
            yield node, "condition negated", _text(swapped)
        case ast.BinOp() if type(node.op) in ARITHMETIC and not _is_text(node):
            calculated = copy.copy(node)
            calculated.op = ARITHMETIC[type(node.op)]()
            yield node, "arithmetic changed", _text(calculated)
        case ast.Constant(value=bool() as value):
            yield node, "constant changed", str(not value)
        case ast.Constant(value=int() | float() as value):
            yield node, "constant changed", repr(value * 2 if abs(value) > 2 else value + 1)
        case ast.Constant(value=str() | bytes() as value) if not _is_prose(value):
            other = f"{value}x" if isinstance(value, str) else value + b"x"
            yield node, "constant changed", repr(other)


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


def _is_text(node: ast.BinOp) -> bool:
    """Whether it joins texts, or formats one; or joins types, as in ``int | None``."""
    sides = (node.left, node.right)
    if any(isinstance(side, ast.JoinedStr) for side in sides):
        return True
    constants = [side.value for side in sides if isinstance(side, ast.Constant)]
    return any(value is None or isinstance(value, str | bytes) for value in constants)


def _is_prose(value: str | bytes) -> bool:
    return not value or (b" " in value if isinstance(value, bytes) else " " in value)

"""Checks that plugins' functions take what they will be called with, before the first call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
from starlette.routing import BaseRoute, Route, WebSocketRoute

from atriz_realtime.api.contracts import Verdict
from atriz_realtime.api.errors import PluginError
from atriz_realtime.api.http import HttpAnswer
from atriz_realtime.api.model import Identity, LocationEvent

_VALUES = frozenset({"bool", "bytes", "dict", "float", "int", "list", "str"})
"""Annotations that say that a parameter is not the client of a socket event."""

_ANSWERS = frozenset(
    {NoneType, bool, dict, float, int, list, str, tuple}
    | {HttpAnswer, Identity, LocationEvent, Verdict}
)
"""Annotations that say that a function returns its answer, and nothing that can be awaited."""


@attrs.frozen
class _Expected:
    """What a function is called with."""

    arguments: tuple[str, ...]
    more: bool = False
    """Whether a client adds arguments, as many as it likes."""
    optional: bool = False
    """Whether ``None`` may stand for the function."""
    awaited: bool = False
    """Whether what it returns is awaited."""

    def __str__(self) -> str:
        return f"({', '.join((*self.arguments, *['…'] * self.more))})"


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """What a function takes; ``None`` for one that does not tell, as some builtins.

    A decorator may pass on other arguments than it takes: it is asked, not what it wraps.
    """
    try:
        return inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def shown(signature: inspect.Signature, *, after: int = 0) -> str:
    """The names of the parameters of a function, in brackets.

    :param after: how many of the first ones to leave out.
    """
    parameters = list(signature.parameters.values())[after:]
    bare = (each.replace(annotation=each.empty, default=each.empty) for each in parameters)
    return str(inspect.Signature(list(bare)))


def check_record(where: str, record: object, record_class: Any) -> None:
    """Check every function of a record.

    :param where: names the record in an error.
    :param record_class: its class, or the one of the API that this derives from.
    :raises PluginError: when one is no function, or takes other arguments.
    """
    for name, expected in _functions(record_class).items():
        function = getattr(record, name)
        if function is not None or not expected.optional:
            _check(f"{where}: {name}", function, expected)


def check_plain(where: str, function: object, *arguments: str) -> None:
    """Check a function that is called, and never awaited.

    :param where: names it in an error.
    :param arguments: what it is called with.
    :raises PluginError: when it is no function, a coroutine function, or takes other arguments.
    """
    _check(where, function, _Expected(arguments))
    if inspect.iscoroutinefunction(function):
        raise PluginError(f"{where} must be a plain function: remove `async`")


def full_name(function: Any) -> str:
    """The name of a function with its module, for the log; that of the class of another object."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    module = getattr(named, "__module__", None) or type(named).__module__
    return f"{module}.{named.__qualname__}"


def check_route(where: str, route: BaseRoute) -> None:
    """Check the function of a route; other kinds of routes call it in ways of their own.

    :param where: names the route in an error.
    :raises PluginError: when it is no function, or takes other arguments.
    """
    if type(route) not in (Route, WebSocketRoute):
        return
    endpoint: Any = getattr(route, "endpoint", None)
    innermost = endpoint
    while isinstance(innermost, functools.partial):
        innermost = innermost.func
    if not callable(endpoint) or inspect.isfunction(innermost) or inspect.ismethod(innermost):
        expected = _Expected(("request" if type(route) is Route else "websocket",))
        _check(f"{where}: its function", endpoint, expected)


def check_contract(where: str, implementation: object, contract: type[Any]) -> None:
    """Check that an object has the methods of a contract.

    :param where: names what the object is for.
    :param contract: a :class:`typing.Protocol`.
    :raises PluginError: when it lacks some, or one takes other arguments.
    """
    methods = {
        name: method
        for name, method in vars(contract).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }
    lacking = [name for name in methods if not callable(getattr(implementation, name, None))]
    if lacking:
        raise PluginError(
            f"{where}: {type(implementation).__name__} is no {contract.__name__}: "
            f"it lacks {', '.join(lacking)}"
        )
    for name, method in methods.items():
        _, *arguments = inspect.signature(method).parameters
        expected = _Expected(tuple(arguments), awaited=inspect.iscoroutinefunction(method))
        _check(f"{where}: {name}", getattr(implementation, name), expected)


@functools.cache
def _functions(record_class: type[Any]) -> Mapping[str, _Expected]:
    """The functions that a record holds, by the names of their fields."""
    found: dict[str, _Expected] = {}
    for name, hint in get_type_hints(record_class).items():
        for kind in (hint, *get_args(hint)):  # a function, or one of several kinds
            if get_origin(kind) is not Callable:
                continue
            arguments, answer = get_args(kind)
            more = arguments is ...  # the function of a socket event
            names = ["SocketClient"] if more else [_parameter(each) for each in arguments]
            found[name] = _Expected(
                tuple(names),
                more=more,
                optional=kind is not hint,
                awaited=get_origin(answer) is Awaitable,
            )
    return found


def _check(where: str, function: object, expected: _Expected) -> None:
    if not callable(function):
        given = type(function).__name__
        raise PluginError(f"{where} must be a function that takes {expected}, not {given}")
    signature = signature_of(function)
    if signature is not None and not _takes(signature, expected):
        raise PluginError(f"{where} must take {expected}, not {shown(signature)}")
    if expected.awaited and _never_awaits(function):
        raise PluginError(f"{where} must be an `async def`, or return an awaitable")


def _parameter(kind: Any) -> str:
    return "options" if kind is Any else str(kind.__name__)


def _never_awaits(function: Callable[..., Any]) -> bool:
    """Whether a function says itself that nothing can await what it returns.

    Most plain functions do not say it: those without an annotation, partial functions, other
    objects that can be called, and what a decorator has made, whose annotations may be those of
    the function that it wraps.
    """
    if inspect.isasyncgenfunction(function):
        return True
    if not inspect.isroutine(function) or inspect.iscoroutinefunction(function):
        return False
    if hasattr(function, "__wrapped__"):
        return False
    try:
        answer = get_type_hints(function).get("return", Any)
        kinds = get_args(answer) if get_origin(answer) in (Union, UnionType) else (answer,)
        return all((get_origin(kind) or kind) in _ANSWERS for kind in kinds)
    except Exception:  # an annotation may be anything, such as a name that is not imported
        return False


def _takes(signature: inspect.Signature, expected: _Expected) -> bool:
    arguments: list[Any] = list(expected.arguments)
    if expected.more:
        positional = [
            each
            for each in signature.parameters.values()
            if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        if positional and _type_name(positional[0].annotation) in _VALUES:
            return False
        arguments += [None] * (len(positional) - len(arguments))
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _type_name(annotation: Any) -> str:
    """The name of a type without its parameters; the annotation may be its text."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return str(text).partition("[")[0].strip()

"""Checks that plugins' functions take what they will be called with, before the first call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin, get_type_hints

import attrs
from starlette.routing import BaseRoute, Route, WebSocketRoute

from atriz_realtime.api.errors import PluginError

_VALUES = frozenset({"bool", "bytes", "dict", "float", "int", "list", "str"})
"""Annotations that say that a parameter is not the client of a socket event."""


@attrs.frozen
class _Expected:
    """What a function is called with."""

    arguments: tuple[str, ...]
    more: bool = False
    """Whether a client adds arguments, as many as it likes."""
    optional: bool = False
    """Whether ``None`` may stand for the function."""

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
        _check(f"{where}: {name}", getattr(implementation, name), _Expected(tuple(arguments)))


@functools.cache
def _functions(record_class: type[Any]) -> Mapping[str, _Expected]:
    """The functions that a record holds, by the names of their fields."""
    found: dict[str, _Expected] = {}
    for name, hint in get_type_hints(record_class).items():
        for kind in (hint, *get_args(hint)):  # a function, or one of several kinds
            if get_origin(kind) is not Callable:
                continue
            arguments, optional = get_args(kind)[0], kind is not hint
            if arguments is ...:  # that of a socket event
                found[name] = _Expected(("SocketClient",), more=True, optional=optional)
            else:
                names = ("options" if each is Any else each.__name__ for each in arguments)
                found[name] = _Expected(tuple(names), optional=optional)
    return found


def _check(where: str, function: object, expected: _Expected) -> None:
    if not callable(function):
        given = type(function).__name__
        raise PluginError(f"{where} must be a function that takes {expected}, not {given}")
    signature = signature_of(function)
    if signature is not None and not _takes(signature, expected):
        raise PluginError(f"{where} must take {expected}, not {shown(signature)}")


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

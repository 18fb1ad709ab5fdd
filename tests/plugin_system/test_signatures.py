"""Functions of plugins that do not take what they will be called with."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from atriz_realtime.api import (
    Authorizer,
    Cache,
    LocationEvent,
    PluginError,
    SocketClient,
    SocketEvent,
    ThrottlePolicy,
    records,
)
from atriz_realtime.plugin_system.signatures import (
    _functions,
    check_contract,
    check_record,
    shown,
    signature_of,
)
from tests.support.plugins.files import Plugins, registry_of

SERVER: Any = lambda _: None  # noqa: E731
"""A placeholder that the registry passes to hooks."""

WRONG = [
    ("authenticators", "Authenticator('x', slip)", "authenticate must take (Credentials)"),
    ("authenticators", "Authenticator('x', print, still_holds=slip)", "must take (Identity)"),
    ("authenticators", "Authenticator('x', print, at_once=slip)", "must take (Credentials)"),
    ("authenticators", "Authenticator('x', print, statistics=slip)", "statistics must take ()"),
    ("authorizers", "Authorizer('x', may_track=slip)", "may_track must take (Identity, EntityRef)"),
    ("authorizers", "[Authorizer('x', None, slip)]", "must take (Identity, EntityRef)"),
    ("entity_types", "EntityType('x', validate=slip)", "validate must take (LocationEvent)"),
    ("throttles", "Throttle('x', slip)", "create must take (options, Resources)"),
    ("caches", "CacheBackend('x', slip)", "open must take (Resources)"),
    ("fanouts", "FanoutBackend('x', slip)", "open must take (Resources)"),
    ("filters", "Filter('x', slip)", "apply must take (LocationEvent)"),
    ("views", "View('x', slip, print)", "applies must take (Identity, EntityRef)"),
    ("views", "View('x', print, slip)", "apply must take (LocationEvent)"),
    ("fanout_layers", "FanoutLayer('x', slip)", "open must take (Fanout)"),
    ("observers", "Observer('x', slip)", "observe must take (LocationEvent)"),
    ("observers", "Observer('x', print, aclose=slip)", "aclose must take ()"),
    ("observers", "Observer('x', print, statistics=slip)", "statistics must take ()"),
    ("socket_events", "SocketEvent('x', slip)", "handle must take (SocketClient, …)"),
    ("endpoints", "Endpoint('/x', slip)", "handle must take (HttpCall)"),
    ("routes", "[Route('/x', slip)]", "its function must take (request)"),
    ("routes", "WebSocketRoute('/x', partial(slip))", "its function must take (websocket)"),
]

SOURCE = """
from functools import partial
from starlette.routing import Route, WebSocketRoute

def slip(*, colour="red", size):
    pass

@hookimpl
def register_{}():
    return {}
"""


def refusal(plugins: Plugins, kind: str, record: str) -> str:
    """The message of the error that stops the start."""
    name = plugins.module("shop", SOURCE.format(kind, record))
    with pytest.raises(PluginError) as error:  # noqa: PT012  # either of the two
        registry = registry_of(name)
        getattr(registry, kind)(SERVER)
    return error.value.message


@pytest.mark.parametrize(("kind", "record", "problem"), WRONG)
def test_a_function_that_takes_something_else_is_refused(
    plugins: Plugins, kind: str, record: str, problem: str
) -> None:
    message = refusal(plugins, kind, record)
    assert message.startswith(f"plugin 'shop': register_{kind}: ")
    assert "'x': " in message or "'/x': " in message
    assert message.endswith(f"{problem}, not (*, colour, size)")


@pytest.mark.parametrize(("kind", "record", "problem"), WRONG)
def test_what_is_no_function_is_refused(
    plugins: Plugins, kind: str, record: str, problem: str
) -> None:
    record = record.replace("partial(slip)", "slip").replace("slip", "'slip'")
    message = refusal(plugins, kind, record)
    expected = problem.partition("must take ")[2]
    assert message.endswith(f"must be a function that takes {expected}, not str")


def test_every_function_of_every_record_is_checked() -> None:
    checked = {
        (name, field)
        for name in records.__all__
        if isinstance(record_class := getattr(records, name), type)
        for field in _functions(record_class)
    }
    annotated = {
        (name, field)
        for name in records.__all__
        for field, hint in getattr(getattr(records, name), "__annotations__", {}).items()
        if "Callable" in hint
    }
    assert checked == annotated


class Door:
    async def opened(self, client: SocketClient, width: int = 1) -> None: ...

    async def __call__(self, client: object) -> None: ...


def with_database(function: Any) -> Any:
    """Pass on an argument more than it takes."""

    @functools.wraps(function)
    async def call(*arguments: Any) -> Any:
        return await function("database", *arguments)

    return call


@with_database
async def stored(database: str, client: str, *, name: str) -> None: ...


async def typed(name: str) -> None: ...


async def typed_late(names: Any) -> None: ...


typed_late.__annotations__["names"] = "list[str]"


async def nothing() -> None: ...


async def required(client: SocketClient, *, colour: str) -> None: ...


@pytest.mark.parametrize(
    "handle",
    [Door().opened, Door(), functools.partial(Door().opened, width=2), stored, dict, print],
)
def test_whatever_takes_the_client_may_handle_an_event(handle: Any) -> None:
    check_record("it", SocketEvent("x", handle), SocketEvent)


@pytest.mark.parametrize(
    "handle", [typed, typed_late, nothing, required, functools.partial(nothing)]
)
def test_a_handler_that_does_not_take_the_client_is_refused(handle: Any) -> None:
    with pytest.raises(PluginError, match=r"it: handle must take \(SocketClient, …\), not \("):
        check_record("it", SocketEvent("x", handle), SocketEvent)


# -- what is awaited -------------------------------------------------------------------------


class Rules:
    def allow(self, *_: Any) -> bool:
        return True

    def __call__(self, *_: Any) -> bool:
        return True


def plain(*_: Any) -> bool:
    return True


def evaluated(*_: Any) -> Any: ...


evaluated.__annotations__["return"] = LocationEvent | None


def mapping(*_: Any) -> dict[str, Any]:
    return {}


def silent(*_: Any) -> None: ...


async def generator(*_: Any) -> AsyncIterator[bool]:
    yield True


@pytest.mark.parametrize(
    "function", [plain, evaluated, mapping, silent, Rules().allow, Rules.allow, generator]
)
def test_what_says_that_it_returns_no_awaitable_is_refused_where_it_is_awaited(
    function: Any,
) -> None:
    with pytest.raises(PluginError) as error:
        check_record("it", Authorizer("x", may_publish=function), Authorizer)
    assert error.value.message == ("it: may_publish must be an `async def`, or return an awaitable")


def awaitable(*_: Any) -> Awaitable[bool]:
    return asked(*_)


async def asked(*_: Any) -> bool:
    return True


def anything(*_: Any) -> Any: ...


def either(*_: Any) -> bool | Awaitable[bool]:
    return True


@functools.wraps(asked)
def wrapper(*arguments: Any) -> Any:
    return asked(*arguments)


def unknown(*_: Any) -> Any: ...


unknown.__annotations__["return"] = "Unheard"


def strange(*_: Any) -> Any: ...


strange.__annotations__["return"] = {"not": "a type"}


@pytest.mark.parametrize(
    "function",
    [
        *[awaitable, asked, anything, either, wrapper, unknown, strange],
        *[Rules(), functools.partial(plain, 1), lambda *_: True, max],
    ],
)
def test_what_may_return_an_awaitable_is_accepted(function: Any) -> None:
    check_record("it", Authorizer("x", may_publish=function), Authorizer)


# -- what a plugin opens ---------------------------------------------------------------------


class Sorted:
    """A cache whose pages cannot be read on."""

    async def put(self, payload: object, ttl: float) -> None: ...

    get = delete = put

    async def page(self, entity_type: str) -> None: ...

    count = page


@pytest.mark.parametrize(
    ("opened", "contract", "problem"),
    [
        (None, Cache, "NoneType is no Cache: it lacks put, get, delete, page, count"),
        (Door(), ThrottlePolicy, "Door is no ThrottlePolicy: it lacks admit"),
        (Sorted, Cache, "put must take (payload, ttl), not (self, payload, ttl)"),
        (Sorted(), Cache, "get must take (entity), not (payload, ttl)"),
    ],
)
def test_an_object_without_the_methods_of_its_contract_is_refused(
    opened: object, contract: type[Any], problem: str
) -> None:
    with pytest.raises(PluginError) as error:
        check_contract("it", opened, contract)
    assert error.value.message == f"it: {problem}"


def test_a_signature_is_shown_without_defaults_which_may_be_secret() -> None:
    def connect(url: str, /, user: str = "me", *, key: str = "secret", **_: int) -> None: ...

    signature = signature_of(connect)
    assert signature is not None
    assert shown(signature) == "(url, /, user, *, key, **_)"
    assert shown(signature, after=1) == "(user, *, key, **_)"
    assert signature_of(dict) is None

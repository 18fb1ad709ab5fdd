"""Plugins' functions that are `async` or not by mistake, or that return a wrong type."""

from __future__ import annotations

from typing import Any

import pytest

from atriz_realtime import create_app
from atriz_realtime.api import ConfigurationError, PluginError
from atriz_realtime.testing import config, serving, watching
from tests.support.plugins.files import Plugins, registry_of

REGISTERED = {
    "validate": ("register_entity_types", "EntityType('boat', validate=slip)"),
    "apply": ("register_views", "View('slip', slip, slip)"),
    "at_once": ("register_authenticators", "Authenticator('slip', slip, at_once=slip)"),
    "create": ("register_throttles", "Throttle('slip', slip)"),
}


@pytest.mark.parametrize("field", REGISTERED)
def test_a_coroutine_function_that_nobody_would_await_is_refused(
    plugins: Plugins, field: str
) -> None:
    hook, record = REGISTERED[field]
    source = f"async def slip(*_):\n    pass\n\n@hookimpl\ndef {hook}():\n    return {record}"
    with pytest.raises(PluginError) as refusal:
        registry_of(plugins.module("slip", source))
    assert refusal.value.message == (
        f"plugin 'slip' failed in {hook}: TypeError: {record.partition('(')[0]} "
        f"{'boat' if 'boat' in record else 'slip'!r}: {field} must be a plain function: "
        "remove `async`"
    )


@pytest.mark.parametrize("record", ["SocketEvent('slip', slip", "Observer('slip', slip"])
@pytest.mark.parametrize("timeout", ["'5'", "True", "-1", "0", "float('nan')"])
def test_a_time_limit_is_a_number_of_seconds(plugins: Plugins, record: str, timeout: str) -> None:
    kind = record.partition("(")[0]
    hook = {"SocketEvent": "register_socket_events", "Observer": "register_observers"}[kind]
    source = (
        f"async def slip(*_):\n    pass\n\n@hookimpl\ndef {hook}():\n"
        f"    return {record}, timeout={timeout})"
    )
    with pytest.raises(ConfigurationError) as refusal:
        create_app(config(extra_plugins=[plugins.module("slip", source)]))
    assert refusal.value.message.startswith(
        f"plugin 'slip' failed in {hook}: ValueError: "
        f"{kind} 'slip': timeout must be a number of seconds above 0, not "
    )


def test_a_registration_hook_that_is_async_is_refused(plugins: Plugins) -> None:
    name = plugins.module("slip", "@hookimpl\nasync def register_filters():\n    return []")
    with pytest.raises(PluginError) as refusal:
        registry_of(name)
    assert refusal.value.message == (
        "plugin 'slip': register_filters must be a plain function: remove `async`"
    )


def test_a_plain_function_that_says_that_it_returns_no_awaitable_is_refused(
    plugins: Plugins,
) -> None:
    source = """
        def slip(event: LocationEvent) -> LocationEvent | None:
            return event

        @hookimpl
        def register_filters():
            return Filter("slip", slip)
        """
    with pytest.raises(PluginError) as refusal:
        create_app(config(extra_plugins=[plugins.module("slip", source)]))
    assert refusal.value.message == (
        "plugin 'slip': register_filters: filter 'slip': apply must be an `async def`, "
        "or return an awaitable"
    )


def test_the_methods_of_a_policy_are_checked_as_well(plugins: Plugins) -> None:
    source = """
        class Policy:
            def admit(self, entity, location) -> Verdict:
                return PASS

        @hookimpl
        def register_throttles():
            return Throttle("slip", lambda options, resources: Policy())
        """
    registry = registry_of(plugins.module("slip", source), throttle="slip")
    with pytest.raises(PluginError, match="admit must be an `async def`, or return an awaitable"):
        registry.policy(registry.kinds["vehicle"])


FIX = {"type": "boat", "entityId": "b1", "latitude": 52.6, "longitude": -8.6}

BOAT = "\n@hookimpl\ndef register_entity_types():\n    return EntityType('boat', {fields})\n"


@pytest.mark.parametrize("body", ["return event.location.latitude < 90", "return late(event)"])
async def test_an_answer_of_validate_refuses_the_fix(plugins: Plugins, body: str) -> None:
    source = f"async def late(event): ...\n\ndef slip(event):\n    {body}\n"
    name = plugins.module("slip", source + BOAT.format(fields="validate=slip"))
    async with serving(extra_plugins=[name]) as live:
        status, answer = await live.post("/api/tracking/location", FIX)
        assert (status, answer["code"]) == (500, "plugin_failed")
        assert live.server.incidents.counts["plugin slip failed"] == 1


WRONG = [
    ("def slip(*_):\n    return True", "must be an `async def`"),
    ("def slip(*_):\n    raise KeyError('plain')", "KeyError: 'plain'"),
    ("async def slip(*_):\n    return 5", "not int"),
]

DECIDING = {
    "may_publish": ("register_authorizers", "Authorizer('slip', may_publish=slip)", "unauthorized"),
    "authenticate": (
        "register_authenticators",
        "Authenticator('slip', slip, order=-1)",
        "invalid_token",
    ),
    "filter": ("register_filters", "Filter('slip', slip)", "plugin_failed"),
    "admit": (
        "register_throttles",
        "Throttle('slip', lambda options, resources: Policy())",
        "plugin_failed",
    ),
}


@pytest.mark.parametrize(("function", "logged"), WRONG)
@pytest.mark.parametrize("decides", DECIDING)
async def test_what_decides_about_a_fix_fails_under_the_plugin_s_name(
    plugins: Plugins, caplog: pytest.LogCaptureFixture, decides: str, function: str, logged: str
) -> None:
    hook, record, code = DECIDING[decides]
    source = f"{function}\n\nclass Policy:\n    admit = staticmethod(slip)\n"
    name = plugins.module("slip", f"{source}\n@hookimpl\ndef {hook}():\n    return {record}")
    throttle: dict[str, Any] = {"throttle": "slip"} if decides == "admit" else {}
    async with serving(extra_plugins=[name], **throttle) as live:
        _, answer = await live.post(
            "/api/tracking/location", {"vehicleId": "v1", "latitude": 1, "longitude": 1}
        )
        assert answer["code"] == code
        assert live.server.incidents.counts["plugin slip failed"] == 1
        assert "endpoint failed" not in live.server.incidents.counts
    assert any("plugin slip failed" in line and logged in line for line in caplog.messages)


@pytest.mark.parametrize("answer", ["'no'", "1", "None", "[entity.id]"])
async def test_only_true_lets_a_caller_through(plugins: Plugins, answer: str) -> None:
    source = f"""
        async def rule(identity, entity):
            return {answer}

        @hookimpl
        def register_authorizers():
            return Authorizer("slip", may_track=rule, may_publish=rule)
        """
    async with (
        serving(extra_plugins=[plugins.module("slip", source)]) as live,
        watching(live) as watcher,
    ):
        assert (await watcher.call("track:vehicle", "v1"))["code"] == "unauthorized"
        assert live.server.incidents.counts["plugin slip failed"] == 1


@pytest.mark.parametrize("function", [function for function, _ in WRONG])
async def test_a_view_that_does_not_say_whether_it_applies_hides(
    plugins: Plugins, function: str
) -> None:
    record = "View('slip', slip, lambda event: event)"
    source = f"{function}\n\n@hookimpl\ndef register_views():\n    return {record}"
    async with serving(extra_plugins=[plugins.module("slip", source)]) as live:
        await live.publish("v1")
        status, _ = await live.get("/api/tracking/vehicle/v1")
        assert status == 404
        assert live.server.incidents.counts["plugin slip failed"] == 1


EVENTS = """
import functools

async def answer():
    return "fine"

async def strange(client):
    return object()

async def called(client):
    return object

async def broken(client):
    return len(client)

def plain(client):
    return True

def passed_on(client):
    return answer()

@hookimpl
def register_socket_events():
    def with_database(function):
        @functools.wraps(function)
        async def call(client, *arguments):
            return await function("database", client, *arguments)
        return call

    @with_database
    async def stored(database, client, name):
        return f"{name} in the {database}"

    return [SocketEvent("stored", stored),
            SocketEvent("strange", strange), SocketEvent("called", called),
            SocketEvent("broken", broken), SocketEvent("plain", plain),
            SocketEvent("passed on", passed_on)]
"""


@pytest.mark.parametrize("event", ["strange", "called", "broken", "plain"])
async def test_a_socket_event_that_fails_leaves_the_socket_connected(
    plugins: Plugins, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    async with (
        serving(extra_plugins=[plugins.module("slip", EVENTS)]) as live,
        watching(live) as watcher,
    ):
        answer: Any = await watcher.call(event)
        assert answer["code"] == "plugin_failed"
        assert live.server.incidents.counts["plugin slip failed"] == 1
        assert await watcher.call("passed on") == "fine"
        assert live.server.incidents.counts["plugin slip failed"] == 1
    assert any(
        line.startswith(f"plugin slip failed: event {event!r}: ") for line in caplog.messages
    )


async def test_a_decorator_may_pass_on_other_arguments_than_it_takes(plugins: Plugins) -> None:
    async with (
        serving(extra_plugins=[plugins.module("slip", EVENTS)]) as live,
        watching(live) as watcher,
    ):
        assert await watcher.call("stored", "x") == "x in the database"


async def test_a_client_is_told_what_an_event_takes(
    plugins: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving(extra_plugins=[plugins.module("slip", EVENTS)]) as live,
        watching(live) as watcher,
    ):
        answer: Any = await watcher.call("plain", 1)
    assert answer["code"] == "bad_request"
    assert answer["message"] == "plain takes the arguments (), and got 1"
    assert any("plain takes the arguments ()" in line for line in caplog.messages)

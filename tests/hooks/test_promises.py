"""The promises in the docstrings of the hooks, on a live server."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from atriz_realtime import RealtimeServer, create_app
from atriz_realtime.api import ConfigurationError, PluginError
from atriz_realtime.testing import config, serving, token, until, watching
from tests.support.plugins.files import Plugins

# -- authenticators and authorizers ------------------------------------------------------------

AUTHENTICATORS = """
def authenticator(name, order=0):
    async def authenticate(credentials):
        asked.append(name)
        match credentials.token:
            case None:
                return None
            case str(token) if token == name:
                return Identity(user_id=name)
            case str(token) if token == f"bad-{name}":
                raise AuthenticationRejected("a bad token")
            case str(token) if token == f"broken-{name}":
                raise LookupError("the directory is broken")
        return None

    return Authenticator(name, authenticate, order=order)

asked = []

@hookimpl
def register_authenticators():
    return [authenticator("late", 5), authenticator("early", -5), authenticator("middle")]
"""


@pytest.mark.parametrize(
    ("offered", "asked", "code"),
    [
        ("early", ["early"], None),
        ("middle", ["early", "middle"], None),
        ("late", ["early", "middle", "late"], None),
        ("bad-middle", ["early", "middle"], "invalid_token"),
        ("broken-middle", ["early", "middle"], "invalid_token"),
        ("nobody's", ["early", "middle", "late"], "not_authenticated"),
    ],
)
async def test_authenticators_are_asked_in_order_until_one_answers(
    plugins: Plugins, offered: str, asked: list[str], code: str | None
) -> None:
    name = plugins.module("authenticators", AUTHENTICATORS)
    async with serving(extra_plugins=[name], disabled_plugins=["jwt_auth"]) as live:
        async with watching(live, user=None) as client:
            authenticators = plugins.loaded("authenticators")
            authenticators.asked.clear()
            answer = await client.call("authenticate", offered)
            assert authenticators.asked == asked
            assert answer["success"] == (code is None)
            assert answer.get("code") == code
        failed = live.server.incidents.counts.get("plugin authenticators failed", 0)
        assert failed == (offered == "broken-middle")


RULES = """
async def yes(identity, entity):
    return True

async def only_v1(identity, entity):
    if entity.id == "broken":
        raise LookupError("no rule")
    return entity.id == "v1"

@hookimpl
def register_authorizers():
    return [
        Authorizer("generous", may_track=yes, may_publish=yes),
        Authorizer("strict", may_track=only_v1, may_publish=only_v1),
        Authorizer("silent"),
    ]
"""


async def test_any_refusal_wins_and_a_rule_that_fails_refuses(plugins: Plugins) -> None:
    async with serving(extra_plugins=[plugins.module("rules", RULES)]) as live:
        await live.publish("v1")
        for refused in ("v2", "broken"):
            status, answer = await live.post(
                "/api/tracking/location", {"vehicleId": refused, "latitude": 1, "longitude": 1}
            )
            assert (status, answer["code"]) == (403, "unauthorized")
        async with watching(live, "v1") as watcher:
            for refused in ("v2", "broken"):
                assert (await watcher.call("track:vehicle", refused))["code"] == "unauthorized"
        assert live.server.incidents.counts["plugin rules failed"] == 2


ANSWERS = """
import attrs

refused = set()

async def rule(identity, entity):
    if entity.id in refused:
        raise Unavailable("the rules are away")
    if entity.id == "crew":
        raise NotAuthorized("only crew")
    if entity.id == "busy":
        raise RateLimited("ask later", retry_after=7)
    return True

@hookimpl
def register_authorizers():
    return Authorizer("rule", may_track=rule, may_publish=rule)
"""


@pytest.mark.parametrize(
    ("entity_id", "status", "code", "message"),
    [
        ("crew", 403, "unauthorized", "only crew"),
        ("busy", 429, "rate_limited", "ask later"),
        ("away", 503, "unavailable", "the rules are away"),
    ],
)
async def test_the_error_of_a_rule_reaches_who_asks_for_one_entity(
    plugins: Plugins, entity_id: str, status: int, code: str, message: str
) -> None:
    async with serving(extra_plugins=[plugins.module("rules", ANSWERS)]) as live:
        plugins.loaded("rules").refused.add("away")
        fix = {"vehicleId": entity_id, "latitude": 1, "longitude": 1}
        for answered, answer in (
            await live.post("/api/tracking/location", fix),
            await live.get(f"/api/tracking/vehicle/{entity_id}"),
        ):
            assert answered == status
            assert answer == {"success": False, "code": code, "message": message}
        _, batch = await live.post("/api/tracking/batch", {"updates": [fix]})
        assert batch["rejected"] == [{"index": 0, "code": code, "message": message}]
        async with watching(live, "v1") as watcher:
            rooms = live.server.room_count
            answer = await watcher.call("track:vehicle", entity_id)
            assert answer == {"success": False, "code": code, "message": message}
            answer = await watcher.call("track:vehicle", ["v2", entity_id])
            assert (answer["code"], answer["message"]) == (code, message)
            assert watcher.of("error") == [message] * 2
            assert live.server.room_count == rooms
        failed = live.server.incidents.counts.get("plugin rules failed", 0)
        assert failed == (5 if entity_id == "away" else 0)


async def test_the_error_of_a_rule_is_a_refusal_where_nobody_waits_for_it(
    plugins: Plugins,
) -> None:
    async with serving(extra_plugins=[plugins.module("rules", ANSWERS)]) as live:
        for entity_id in ("v1", "v2"):
            await live.publish(entity_id)
        async with watching(live, "v1", "v2") as watcher:
            plugins.loaded("rules").refused.add("v1")
            status, answer = await live.get("/api/tracking/vehicle")
            assert status == 200
            assert [each["entityId"] for each in answer["locations"]] == ["v2"]
            await live.server.permissions.recheck()
            await until(lambda: watcher.of("tracking:revoked"))
            assert watcher.of("tracking:revoked") == [{"type": "vehicle", "entityId": "v1"}]
            plugins.loaded("rules").refused.add("v2")
            assert (await watcher.call("authenticate", token("u1")))["success"]
            await until(lambda: len(watcher.of("tracking:revoked")) == 2)
            plugins.loaded("rules").refused.clear()  # nobody is asked again
            await live.server.permissions.recheck_here()
            rooms = live.server.room_count
            assert (await watcher.call("track:vehicle", "v1"))["success"]
            assert live.server.room_count == rooms + 1
        assert live.server.incidents.counts["plugin rules failed"] == 3


async def test_without_rules_everyone_may(plugins: Plugins) -> None:
    async with serving() as live, watching(live, "v1", user="anybody") as watcher:
        await live.publish("v1", timestamp="2026-01-31T12:00:00Z")
        await until(lambda: watcher.updates)


# -- the path of a fix ----------------------------------------------------------------------

FILTERS = """
import aiohttp
import attrs

def noted(name):
    async def apply(event):
        if event.entity_id == "broken":
            raise LookupError("no filter")
        if event.entity_id == "refused":
            raise InvalidLocation("not here", field="latitude")
        metadata = {"path": [*(event.location.metadata or {}).get("path", []), name]}
        return LocationEvent(event.entity, attrs.evolve(event.location, metadata=metadata))

    return apply

@hookimpl
def register_filters():
    return [Filter("c", noted("c"), order=1), Filter("a", noted("a"), order=-1),
            Filter("b", noted("b"))]
"""


async def test_filters_run_in_order_each_on_what_the_one_before_returned(plugins: Plugins) -> None:
    name = plugins.module("filters", FILTERS)
    async with serving(extra_plugins=[name]) as live, watching(live, "v1") as watcher:
        await live.publish("v1")
        await until(lambda: watcher.updates)
        assert watcher.updates[0]["location"]["metadata"] == {"path": ["a", "b", "c"]}
        _, current = await live.get("/api/tracking/vehicle/v1")
        assert current["metadata"] == {"path": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("entity_id", "status", "code", "failures"),
    [("broken", 500, "plugin_failed", 1), ("refused", 422, "invalid_location", 0)],
)
async def test_a_filter_that_raises_refuses_the_fix(
    plugins: Plugins, entity_id: str, status: int, code: str, failures: int
) -> None:
    name = plugins.module("filters", FILTERS)
    async with serving(extra_plugins=[name]) as live:
        fix = {"vehicleId": entity_id, "latitude": 1, "longitude": 1}
        answered, answer = await live.post("/api/tracking/location", fix)
        assert (answered, answer["code"]) == (status, code)
        assert "no filter" not in str(answer)
        assert live.server.incidents.counts.get("plugin filters failed", 0) == failures
        assert (await live.get(f"/api/tracking/vehicle/{entity_id}"))[0] == 404


async def test_a_throttle_that_raises_refuses_the_fix(plugins: Plugins) -> None:
    plugins.module(
        "stuck",
        """
        class Stuck:
            async def admit(self, entity, location):
                raise LookupError("no verdict")

        @hookimpl
        def register_throttles():
            return Throttle("stuck", lambda options, resources: Stuck())
        """,
    )
    async with serving(extra_plugins=["stuck"], throttle="stuck") as live:
        fix = {"vehicleId": "v1", "latitude": 1, "longitude": 1}
        status, answer = await live.post("/api/tracking/location", fix)
        assert (status, answer["code"]) == (500, "plugin_failed")
        assert live.server.incidents.counts["plugin stuck failed"] == 1


OBSERVER = """
import asyncio

seen, gate = [], asyncio.Event()

async def observe(event):
    seen.append(event.location.latitude)
    if event.location.latitude == 1:
        raise LookupError("no eyes")
    await gate.wait()

@hookimpl
def register_observers():
    return Observer("eyes", observe, queue_size=2)
"""


async def test_an_observer_gets_events_in_order_and_drops_the_oldest(plugins: Plugins) -> None:
    name = plugins.module("eyes", OBSERVER)
    async with serving(extra_plugins=[name]) as live:
        eyes = plugins.loaded("eyes")
        for latitude in (1, 2):
            await live.publish(latitude=latitude)
        await until(lambda: eyes.seen == [1, 2])  # the failure of the first did not end it
        assert live.server.incidents.counts["plugin eyes failed"] == 1
        for latitude in (3, 4, 5):  # two may wait
            await live.publish(latitude=latitude)
        assert live.server.incidents.counts["plugin eyes too slow"] == 1
        eyes.gate.set()
        await until(lambda: eyes.seen == [1, 2, 4, 5])


# -- events, routes ------------------------------------------------------------------------

EVENTS = """
async def echo(client, *arguments):
    await client.emit("echoed", client.identity.user_id)
    return list(arguments)

async def refuse(client):
    raise RateLimited("too much honking")

async def fail(client):
    raise LookupError("secret detail")

async def knock(client):
    return client.identity is None

async def leave(client):
    await client.disconnect()

@hookimpl
def register_socket_events():
    return [SocketEvent("echo", echo), SocketEvent("refuse", refuse), SocketEvent("fail", fail),
            SocketEvent("knock", knock, authenticated=False), SocketEvent("leave", leave)]
"""


async def test_what_an_event_handler_returns_and_raises(plugins: Plugins) -> None:
    name = plugins.module("events", EVENTS)
    async with serving(extra_plugins=[name]) as live, watching(live) as client:
        assert await client.call("echo", 1, {"two": 2}) == [1, {"two": 2}]
        await until(lambda: client.of("echoed") == ["u1"])
        refused = await client.call("refuse")
        assert refused == {"success": False, "code": "rate_limited", "message": "too much honking"}
        failed = await client.call("fail")
        assert (failed["success"], failed["code"]) == (False, "plugin_failed")
        await until(lambda: len(client.of("error")) == 2)
        assert client.of("error")[0] == "too much honking"
        assert "secret detail" not in str([client.received, failed])
        async with watching(live, user=None) as stranger:
            assert await stranger.call("knock") is True
            assert (await stranger.call("echo"))["code"] == "not_authenticated"
        await client.client.emit("leave")
        await until(lambda: not client.client.connected)


async def test_an_event_may_have_less_or_more_time_than_other_plugins(plugins: Plugins) -> None:
    plugins.module(
        "patient",
        """
        import asyncio

        async def slow(client):
            await asyncio.sleep(0.2)
            return "done"

        @hookimpl
        def register_socket_events():
            return [SocketEvent("hasty", slow, timeout=0.05), SocketEvent("usual", slow),
                    SocketEvent("patient", slow, timeout=5)]
        """,
    )
    async with (
        serving(extra_plugins=["patient"], plugin_timeout=0.1) as live,
        watching(live) as client,
    ):
        for event in ("hasty", "usual"):
            assert (await client.call(event))["code"] == "plugin_failed"
        assert await client.call("patient") == "done"
        assert live.server.incidents.counts["plugin patient timed out"] == 2


async def test_a_refusal_of_an_endpoint_is_its_answer(plugins: Plugins) -> None:
    plugins.module(
        "pages",
        """
        from starlette.routing import Route

        async def refuse(request):
            raise NotAuthorized

        @hookimpl
        def register_routes():
            return Route("/api/refuse", refuse)
        """,
    )
    async with serving(extra_plugins=["pages"]) as live:
        assert await live.get("/api/refuse") == (
            403,
            {"success": False, "code": "unauthorized", "message": "Unauthorized"},
        )


async def test_an_endpoint_that_would_end_the_process_fails_its_request_alone(
    plugins: Plugins,
) -> None:
    plugins.module(
        "pages",
        """
        import sys
        from starlette.routing import Route

        async def leave(request):
            sys.exit("goodbye")

        @hookimpl
        def register_routes():
            return Route("/api/leave", leave)
        """,
    )
    async with serving(extra_plugins=["pages"]) as live, aiohttp.ClientSession() as session:
        async with session.get(f"{live.url}/api/leave") as answer:
            assert answer.status == 500
        assert (await live.get("/health/realtime"))[0] == 200


CALLS = """
times = []

@hookimpl
def register_endpoints():
    times.append("called")

    async def echo(call):
        return HttpAnswer(b'{"body":"%b","address":"%b","tenant":"%b"}' % (
            call.body, call.address.encode(), call.headers.get("x-tenant", "-").encode()
        ))

    async def refuses(call):
        raise RateLimited("not so often")

    async def fails(call):
        raise LookupError("secret detail")

    async def forgets(call):
        pass

    async def wrong(call):
        return HttpAnswer(b"", status=204)

    return [
        Endpoint("/api/echo", echo), Endpoint("/api/echo", echo, method="PUT"),
        Endpoint("/api/refuses", refuses), Endpoint("/api/fails", fails),
        Endpoint("/api/forgets", forgets), Endpoint("/api/wrong", wrong),
    ]
"""


async def test_endpoints_answer_their_own_calls(
    plugins: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    """Over ASGI here; tests/core/http_protocol has the same without it."""
    name = plugins.module("calls", CALLS)
    async with serving(extra_plugins=[name]) as live:
        assert plugins.loaded("calls").times == ["called"]
        for method, headers in (("POST", {}), ("PUT", {"X-Tenant": "one"})):
            answer = await live.request(method, "/api/echo", data=b"hi", headers=headers)
            tenant = headers.get("X-Tenant", "-")
            assert answer == (200, {"body": "hi", "address": "127.0.0.1", "tenant": tenant})
        refused = {"success": False, "code": "rate_limited", "message": "not so often"}
        assert await live.post("/api/refuses", {}) == (429, refused)
        for path in ("fails", "forgets", "wrong"):
            status, answer = await live.post(f"/api/{path}", {})
            assert (status, answer["code"]) == (500, "internal")
            assert "secret detail" not in str(answer)
        assert live.server.incidents.counts["endpoint failed"] == 3
    assert "endpoint failed: /api/fails of plugin 'calls': " in caplog.text
    assert "Traceback (most recent call last)" in caplog.text


def test_a_path_that_two_plugins_claim_stops_the_start(plugins: Plugins) -> None:
    plugins.module("calls", CALLS)
    plugins.module("others", CALLS)
    with pytest.raises(PluginError, match="calls"):
        create_app(config(extra_plugins=["calls", "others"]))


# -- backends, start and stop --------------------------------------------------------------

BACKEND = """
import aiohttp
import attrs
from atriz_realtime.defaults.memory import MemoryCache, MemoryFanout, MemorySettings

opened, closed = [], []

def reporting(name, base, *arguments):
    class Backend(base):
        def status(self):
            return BackendStatus("disconnected", f"{name} is far away")

        async def aclose(self):
            closed.append(name)

    async def open_backend(resources):
        opened.append(name)
        return Backend(*arguments)

    return open_backend

@hookimpl
def register_caches(config):
    return CacheBackend("far", reporting("cache", MemoryCache, None, MemorySettings()))

@hookimpl
def register_fanouts():
    return FanoutBackend("far", reporting("fanout", MemoryFanout))
"""


async def test_a_backend_is_opened_reported_and_closed(plugins: Plugins) -> None:
    name = plugins.module("far", BACKEND)
    async with serving(extra_plugins=[name], fanout="far") as live:
        far = plugins.loaded("far")
        assert far.opened == ["fanout"]  # only the chosen one
        status, report = await live.get("/health/realtime")
        assert (status, report["status"], report["redis"]) == (503, "degraded", "disconnected")
        assert report["reason"] == "fanout is far away"
    assert far.closed == ["fanout"]


async def refused_start(*extra_plugins: str, **settings: Any) -> ConfigurationError:
    app = create_app(config(extra_plugins=extra_plugins, **settings))
    server: RealtimeServer = app.state.realtime
    with pytest.raises(ConfigurationError) as error:
        await server.start()
    await server.close()
    return error.value


async def test_a_backend_that_cannot_be_opened_stops_the_start(plugins: Plugins) -> None:
    plugins.module(
        "broken",
        """
        async def open_fanout(resources):
            raise ConfigurationError("no broker is configured", field="broker")

        @hookimpl
        def register_fanouts():
            return FanoutBackend("broken", open_fanout)
        """,
    )
    error = await refused_start("broken", fanout="broken")
    assert error.message == "plugin 'broken': no broker is configured"


STOPPING = """
@hookimpl
async def server_started():
    raise LookupError("no fuel")
"""


async def test_a_failure_of_server_started_stops_the_start_and_closes_what_is_open(
    plugins: Plugins,
) -> None:
    error = await refused_start(
        plugins.module("far", BACKEND), plugins.module("tank", STOPPING), fanout="far"
    )
    assert isinstance(error, PluginError)
    assert error.message == "plugin 'tank' failed in server_started: LookupError: no fuel"
    far = plugins.loaded("far")
    assert far.closed == ["fanout"]


async def test_clients_receive_what_server_stopping_says(plugins: Plugins) -> None:
    source = """
    @hookimpl
    async def server_stopping(server):
        await server.sockets.emit("bye", "soon", room="vehicle:v1")
    """
    async with AsyncExitStack() as clients:
        async with serving(extra_plugins=[plugins.module("bye", source)]) as live:
            watcher = await clients.enter_async_context(watching(live, "v1"))
        await until(lambda: not watcher.client.connected)
    assert watcher.of("bye") == ["soon"]


async def test_a_failure_of_server_stopping_does_not_delay_the_stop(plugins: Plugins) -> None:
    plugins.module(
        "sticky",
        """
        import asyncio

        told = []

        @hookimpl
        async def server_stopping(server):
            told.append(server.sockets.connections)
            raise LookupError("no brakes")
        """,
    )
    async with serving(extra_plugins=[plugins.module("far", BACKEND), "sticky"], fanout="far") as (
        live
    ):
        async with watching(live, user="u1") as watcher:
            await live.server.close()
            await until(lambda: not watcher.client.connected)
        far = plugins.loaded("far")
        sticky = plugins.loaded("sticky")
        assert sticky.told == [1]  # before clients are sent away
        assert far.closed == ["fanout"]
        assert live.server.incidents.counts["close incomplete"] == 1


async def test_a_plugin_may_publish_from_server_started(plugins: Plugins) -> None:
    plugins.module(
        "first",
        """
        from datetime import UTC, datetime

        @hookimpl
        async def server_started(server):
            here = Location(device_id="d", user_id="u", latitude=1, longitude=2,
                            timestamp=datetime.now(UTC))
            await server.tracking.publish(server.tracking.entity("vehicle", "v1"), here)
        """,
    )
    async with serving(extra_plugins=["first"]) as live:
        status, current = await live.get("/api/tracking/vehicle/v1")
        assert (status, current["userId"]) == (200, "u")


async def test_two_servers_in_one_process_share_no_plugin_state(plugins: Plugins) -> None:
    name = plugins.module("events", EVENTS)
    headers = {"Authorization": f"Bearer {token()}"}
    async with (
        serving(extra_plugins=[name]) as one,
        serving(extra_plugins=[name], disabled_plugins=["events"]) as other,
        watching(one) as client,
    ):
        assert await client.call("echo", "here") == ["here"]
        await one.publish("v1")
        assert (await one.get("/api/tracking/vehicle/v1", headers=headers))[0] == 200
        assert (await other.get("/api/tracking/vehicle/v1", headers=headers))[0] == 404

"""A share link shows its entity until it expires, and permits nothing else."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import jwt
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from atriz_realtime.api import Credentials, ServerHandle, SocketEvent, hookimpl
from atriz_realtime.defaults.revocations import revoke
from atriz_realtime.defaults.sharing.tokens import AUDIENCE, TYPE, ShareTokens
from tests.security.conftest import Serve
from tests.support.clients.node import Node, js_connect
from tests.support.clients.python_socketio import Client
from tests.support.servers.serving import SECRET, Live, serving, token

SHARES = "/api/tracking/shares"
SHARING = {"sharing": {"url": "https://live.example.com/"}}
SECOND = 1.0

FIX: dict[str, Any] = {
    "speed": 48.5,
    "heading": 270,
    "metadata": {"plate": "x"},
    "deviceId": "tracker-9",
}


def bearer(of: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {of}"}}


async def shared(
    live: Live, entity_id: str = "v1", seconds: int = 60, *, by: str | None = None, **said: Any
) -> dict[str, Any]:
    """Make a share as ``u1``, or with another's token."""
    body = {"type": "vehicle", "entityId": entity_id, "seconds": seconds, **said}
    status, made = await live.post(SHARES, body, **({} if by is None else bearer(by)))
    assert status == 201, made
    found: dict[str, Any] = made
    return found


@asynccontextmanager
async def holding(js: Node, live: Live, share: dict[str, Any]) -> AsyncIterator[Client]:
    """A client whose only credential is a share link."""
    connect = js_connect(js, transports=["websocket"])
    async with connect(live, auth={"token": share["token"]}) as client:
        yield client


@pytest.fixture
async def sharing(serve: Serve) -> AsyncIterator[Live]:
    async with serve(plugins=SHARING) as live:
        yield live


async def test_a_link_shows_its_entity_without_what_is_hidden(sharing: Live, js: Node) -> None:
    await sharing.publish("v1", **FIX)
    began = int(time.time())
    share = await shared(sharing, seconds=7_200)
    assert share["url"] == f"https://live.example.com/track/#{share['token']}"
    assert began + 7_200 <= ShareTokens(SECRET).made_by(share["id"], "u1") <= began + 7_203
    assert share["expiresAt"].endswith(".000Z")
    async with holding(js, sharing, share) as client:
        assert await client.call("track:vehicle", "v1") == {"success": True}
        current = await client.next("location:update")
        assert current["location"] == {
            "deviceId": "hidden",
            "userId": "hidden",
            "latitude": 52.6,
            "longitude": -8.6,
            "speed": 48.5,
            "heading": 270,
            "timestamp": current["location"]["timestamp"],
        }
        await sharing.publish("v1", **{**FIX, "speed": 50})
        moved = await client.next("location:update", 2)
        assert moved["location"]["speed"] == 50
        assert "metadata" not in moved["location"]
    status, read = await sharing.get("/api/tracking/vehicle/v1", **bearer(share["token"]))
    assert (status, read["userId"], read["speed"]) == (200, "hidden", 50)


async def test_what_is_hidden_is_configured(js: Node) -> None:
    async with serving(plugins={"sharing": {**SHARING["sharing"], "hide": []}}) as live:
        await live.publish("v1", **FIX)
        share = await shared(live)
        _, read = await live.get("/api/tracking/vehicle/v1", **bearer(share["token"]))
        assert (read["userId"], read["metadata"]) == ("u1", {"plate": "x"})


async def test_the_server_leaves_out_what_a_link_does_not_show(js: Node) -> None:
    fields = {"status": "status", "driver": "driver"}
    metadata = {"status": "arriving", "driver": "Anna Smith", "plate": "x"}
    async with serving(plugins={"sharing": {**SHARING["sharing"], "fields": fields}}) as live:
        await live.publish("v1", **FIX | {"metadata": metadata})
        less = await shared(live, show=["status"])
        for share, seen in (
            (await shared(live), {"status": "arriving", "driver": "Anna"}),
            (less, {"status": "arriving"}),
            (await shared(live, show=[]), None),
        ):
            _, read = await live.get("/api/tracking/vehicle/v1", **bearer(share["token"]))
            assert read.get("metadata") == seen
        async with holding(js, live, less) as client:
            assert await client.call("track:vehicle", "v1") == {"success": True}
            current = await client.next("location:update")
            assert current["location"]["metadata"] == {"status": "arriving"}
            await live.publish("v1", **FIX | {"metadata": metadata | {"status": "delivered"}})
            current = await client.next("location:update", 2)
            assert current["location"]["metadata"] == {"status": "delivered"}
            assert current["location"]["latitude"] != 52.6
        _, read = await live.get("/api/tracking/vehicle/v1")
        assert read["metadata"]["plate"] == "x"
        assert read["latitude"] == 52.6


async def test_a_link_answers_with_what_its_creator_says(sharing: Live) -> None:
    said: dict[str, Any] = {
        "name": "Your sofa",
        "destination": {"latitude": 52.7, "longitude": -8.6},
    }
    share = await shared(sharing, **said)
    assert {name: share[name] for name in said} == said
    plain = await shared(sharing)
    assert plain.keys() == {"success", "id", "type", "entityId", "expiresAt", "token", "url"}


async def test_half_a_character_is_refused_by_the_name_of_its_field(sharing: Live) -> None:
    place = {"latitude": 52.7, "longitude": -8.6}
    for said, field in (
        ({"name": "Van \ud83d"}, "name"),
        ({"destination": {**place, "label": "\udc00"}}, "destination.label"),
    ):
        body = {"type": "vehicle", "entityId": "v1", "seconds": 60, **said}
        status, refusal = await sharing.post(SHARES, body)
        assert status == 400
        assert refusal["message"] == f"{field} has half a character (a lone surrogate)"


@pytest.mark.parametrize("with_redis", [False, True])
async def test_the_holder_of_a_link_is_told_why_it_ended(redis_url: str, with_redis: bool) -> None:
    settings: dict[str, Any] = {"plugins": SHARING}
    if with_redis:
        settings["redis_url"] = redis_url
    async with serving(**settings) as live, serving(**settings) as other:
        told = other if with_redis else live
        share, unexplained = await shared(live), await shared(live)
        assert await told.get("/track/end", **bearer(share["token"])) == (200, {})
        path = f"{SHARES}/{share['id']}"
        status, answer = await live.request("DELETE", f"{path}?reason=eaten")
        assert (status, answer["field"]) == (400, "reason")
        status, _ = await live.request("DELETE", f"{path}?reason=failed", **bearer(token("u2")))
        assert status == 403
        assert await live.request("DELETE", f"{path}?reason=delivered") == (200, {"success": True})
        assert (await live.request("DELETE", f"{SHARES}/{unexplained['id']}"))[0] == 200
        status, answer = await told.get("/track/end", **bearer(share["token"]))
        assert (status, answer["reason"]) == (200, "delivered")
        assert answer["at"].endswith("Z")
        for nothing in (unexplained["token"], share["token"][:-2], token(), "x"):
            assert await told.get("/track/end", **bearer(nothing)) == (200, {})
        assert await told.get("/track/end", headers={}) == (200, {})


async def test_a_link_permits_nothing_else_over_http(sharing: Live) -> None:
    await sharing.publish("v1")
    share = await shared(sharing)
    fix = {"vehicleId": "v1", "latitude": 1, "longitude": 1}
    more = {"type": "vehicle", "entityId": "v1", "seconds": 86_400}
    for method, path, body in [
        ("POST", "/api/tracking/location", fix),
        ("POST", "/api/tracking/batch", {"updates": [fix]}),
        ("GET", "/api/tracking/vehicle", None),
        ("GET", "/api/tracking/vehicle/v2", None),
        ("GET", "/api/tracking/delivery/v1", None),
        ("GET", "/api/tracking/boat/b1", None),
        ("GET", "/api/tracking/boat", None),
        ("POST", SHARES, more),
        ("DELETE", f"{SHARES}/{share['id']}", None),
    ]:
        status, answer = await sharing.request(method, path, json=body, **bearer(share["token"]))
        assert (path, status, answer["code"]) == (path, 403, "unauthorized")
    _, read = await sharing.get("/api/tracking/vehicle/v1")
    assert read["latitude"] == 52.6


@pytest.fixture
def endpoints(monkeypatch: pytest.MonkeyPatch) -> OwnEndpoints:
    """A plugin with an event and a route, which any user may use."""
    module = ModuleType("own_endpoints")
    endpoints = vars(module)["endpoints"] = OwnEndpoints()
    monkeypatch.setitem(sys.modules, "own_endpoints", module)
    return endpoints


class OwnEndpoints:
    """An event and a route of a plugin."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    @hookimpl
    def register_socket_events(self) -> SocketEvent:
        async def honk(_: Any) -> None:
            self.heard.append("honk")

        return SocketEvent("honk", honk)

    @hookimpl
    def register_routes(self, server: ServerHandle) -> Route:
        async def who(request: Request) -> JSONResponse:
            credentials = Credentials.from_http(request.headers, None)
            return JSONResponse((await server.access.authenticate(credentials)).user_id)

        return Route("/who", who)


async def test_a_link_permits_nothing_else_over_a_socket(endpoints: OwnEndpoints, js: Node) -> None:
    heard = endpoints.heard
    async with serving(plugins=SHARING, extra_plugins=["own_endpoints:endpoints"]) as live:
        live.server.socket_io.on("chat", lambda *said: heard.append(said))
        share = await shared(live)
        async with holding(js, live, share) as client:
            for event, argument in [
                ("track:vehicle", "v2"),
                ("track:vehicle", ["v1", "v2"]),
                ("track:delivery", "v1"),
                ("location:publish", {"vehicleId": "v1", "latitude": 1, "longitude": 1}),
                ("honk", None),
                ("chat", "hello"),
            ]:
                arguments = () if argument is None else (argument,)
                answer = await client.call(event, *arguments)
                assert (event, answer["code"]) == (event, "unauthorized")
            assert await client.call("track:vehicle", "v1") == {"success": True}
            await live.server.broadcast_to_authenticated("news", "for users")
            await live.server.send_to_user("u1", "private", "for u1")
            await live.server.emit_vehicle_location_update(
                "v1", {**LOCATION, "metadata": {"secret": 1}}
            )
            assert "metadata" not in (await client.next("location:update"))["location"]
            assert [name for name, _ in client.received if name in ("news", "private")] == []
        assert heard == []


LOCATION = {
    "deviceId": "d1",
    "userId": "u1",
    "latitude": 52.6,
    "longitude": -8.6,
    "timestamp": "2026-01-31T12:00:00.000Z",
}


async def test_a_user_who_authenticates_with_a_link_keeps_nothing(sharing: Live, js: Node) -> None:
    share = await shared(sharing)
    async with js_connect(js, transports=["websocket"])(sharing) as client:
        assert await client.call("track:vehicle", ["v1", "v2"]) == {"success": True}
        assert (await client.call("authenticate", share["token"]))["success"] is True
        await sharing.server.broadcast_to_authenticated("news", "for users")
        await sharing.publish("v2")
        assert (await client.call("track:vehicle", "v2"))["code"] == "unauthorized"
        assert client.of("news") == client.updates == []


async def test_a_link_s_holder_may_authenticate_as_a_user(sharing: Live, js: Node) -> None:
    async with holding(js, sharing, await shared(sharing)) as client:
        assert (await client.call("authenticate", token("u2")))["success"] is True
        assert await client.call("track:vehicle", "v2") == {"success": True}
        await sharing.server.broadcast_to_authenticated("news", 1)
        assert await client.next("news") == 1


async def test_a_link_is_cut_when_it_ends_and_cannot_be_renewed(sharing: Live, js: Node) -> None:
    share = await shared(sharing, seconds=6)
    async with holding(js, sharing, share) as client:
        assert await client.call("track:vehicle", "v1") == {"success": True}
        assert (await client.call("authenticate", share["token"]))["success"] is True
        notice = await client.next("token:expiring")
        assert notice["expiresAt"] == share["expiresAt"]
        assert await client.until_disconnected() == "io server disconnect"
    assert time.time() < ShareTokens(SECRET).made_by(share["id"], "u1") + SECOND + 2.0
    status, answer = await sharing.get("/api/tracking/vehicle/v1", **bearer(share["token"]))
    assert (status, answer["code"]) == (401, "invalid_token")


@pytest.mark.parametrize("revoked_by", ["http", "user"])
async def test_revoking_a_link_disconnects_its_holders_on_every_server(
    redis_url: str, js: Node, revoked_by: str
) -> None:
    async with (
        serving(redis_url=redis_url, plugins=SHARING) as one,
        serving(redis_url=redis_url, plugins=SHARING) as other,
    ):
        creator = token("u1", iat=int(time.time()))
        share = await shared(one, by=creator)
        unrelated = await shared(other, by=token("u2"))
        async with (
            holding(js, one, share) as here,
            holding(js, other, share) as there,
            holding(js, other, unrelated) as other_holder,
        ):
            began = time.monotonic()
            if revoked_by == "http":
                answer = await other.request("DELETE", f"{SHARES}/{share['id']}", **bearer(creator))
                assert answer == (200, {"success": True})
            else:
                await revoke(one.server.signals, "user", "u1")
            for client in (here, there):
                assert await client.until_disconnected() == "io server disconnect"
            assert time.monotonic() - began < SECOND + 2.0
            for live in (one, other):
                status, _ = await live.get("/api/tracking/vehicle/v1", **bearer(share["token"]))
                assert status == 401
            assert other_holder.connected


async def test_only_its_creator_revokes_a_link_over_http(sharing: Live) -> None:
    share = await shared(sharing)
    refused = (403, {"success": False, "code": "unauthorized", "message": "Unauthorized"})
    for share_id in (share["id"], "A" * 32, "x"):
        path = f"{SHARES}/{share_id}"
        assert await sharing.request("DELETE", path, **bearer(token("u2"))) == refused
    status, _ = await sharing.request("DELETE", f"{SHARES}/{share['id']}", headers={})
    assert status == 401


async def test_nobody_shares_what_they_may_not_track(js: Node) -> None:
    plugins = SHARING | {"claims": {"track": "watch"}}
    async with serving(plugins=plugins) as live:
        mine = token(watch={"vehicle": "v1"})
        share = await shared(live, by=mine)
        body = {"type": "vehicle", "entityId": "v2", "seconds": 60}
        status, answer = await live.post(SHARES, body, **bearer(mine))
        assert (status, answer["code"]) == (403, "unauthorized")
        async with holding(js, live, share) as client:  # a holder needs no claim
            assert await client.call("track:vehicle", "v1") == {"success": True}
            await live.server.permissions.recheck()
            await live.publish("v1")
            await client.next("location:update")


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ({"claim": "role", "values": ["customer"]}, 403),
        (
            {"claim": "role", "except_values": ["dispatcher"]},
            201,
        ),  # the rule applies to the link as well
        ({"claim": "role", "values": ["dispatcher"]}, 201),  # the rule does not apply to this user
        ({}, 201),
    ],
)
async def test_nobody_shares_more_than_they_are_shown(rule: dict[str, Any], status: int) -> None:
    plugins = SHARING | {"privacy": {"rules": {"coarse": {"precision": 5_000, **rule}}}}
    async with serving(plugins=plugins) as live:
        body = {"type": "vehicle", "entityId": "v1", "seconds": 60}
        answer, _ = await live.post(SHARES, body, **bearer(token(role="customer")))
        assert answer == status


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"type": "boat"}, "unknown_type", None),
        ({"entityId": "a:b"}, "invalid_entity_id", None),
        ({"seconds": 0}, "bad_request", "seconds"),
        ({"seconds": 3_601}, "bad_request", "seconds"),
        ({"seconds": True}, "bad_request", "seconds"),
        ({"seconds": "60"}, "bad_request", "seconds"),
        ({"more": 1}, "bad_request", "more"),
        ({"name": ""}, "bad_request", "name"),
        ({"destination": "here"}, "bad_request", "destination"),
        ({"show": ["status"]}, "bad_request", "show"),
        ({"type": None}, "unknown_type", None),
    ],
)
async def test_an_invalid_share_is_refused(
    change: dict[str, Any], code: str, field: str | None
) -> None:
    table = {**SHARING["sharing"], "max_life": 3_600}
    async with serving(plugins={"sharing": table}) as live:
        body = {"type": "vehicle", "entityId": "v1", "seconds": 3_600}
        assert (await live.post(SHARES, body))[0] == 201
        status, answer = await live.post(SHARES, body | change)
        assert status in (400, 422)
        assert answer["code"] == code
        assert field is None or answer["field"] == field
        for missing in body:
            rest = {name: value for name, value in body.items() if name != missing}
            status, answer = await live.post(SHARES, rest)
            assert (status, answer["field"]) == (400, missing)


async def test_a_user_s_shares_per_hour_are_limited() -> None:
    table = {**SHARING["sharing"], "max_created": 1}
    async with serving(plugins={"sharing": table}) as live:
        body = {"type": "vehicle", "entityId": "v1", "seconds": 60}
        assert (await live.post(SHARES, body))[0] == 201
        status, answer = await live.post(SHARES, body)
        assert (status, answer["code"]) == (429, "rate_limited")
        assert (await live.post(SHARES, body, **bearer(token("u2"))))[0] == 201


async def test_a_user_s_ended_shares_per_hour_are_limited() -> None:
    table = {**SHARING["sharing"], "max_ended": 2}
    async with serving(plugins={"sharing": table}) as live:
        share = await shared(live)
        path = f"{SHARES}/{share['id']}"
        for _ in range(2):
            assert await live.request("DELETE", path) == (200, {"success": True})
        status, answer = await live.request("DELETE", path)
        assert (status, answer["code"]) == (429, "rate_limited")
        theirs = await shared(live, by=token("u2"))
        other = f"{SHARES}/{theirs['id']}"
        assert (await live.request("DELETE", other, **bearer(token("u2"))))[0] == 200


async def test_other_endpoints_refuse_it(endpoints: OwnEndpoints) -> None:
    own = {**SHARING["sharing"], "secret": "s" * 32}
    async with (
        serving(plugins=SHARING, extra_plugins=["own_endpoints:endpoints"]) as live,
        serving() as off,
        serving(plugins={"sharing": own}) as with_its_own,
    ):
        share = await shared(live)
        assert await live.get("/who") == (200, "u1")
        assert (await live.get("/who", **bearer(share["token"])))[0] == 403
        for other in (off, with_its_own):
            path = "/api/tracking/vehicle/v1"
            assert (await other.get(path, **bearer(share["token"])))[0] == 401


async def test_an_ordinary_token_is_no_share(sharing: Live) -> None:
    """Even when it is validly signed and has the claims or the type of a share."""
    claims: dict[str, Any] = {
        "aud": AUDIENCE,
        "jti": "x",
        "type": "vehicle",
        "id": "v1",
        "iat": 1,
        "exp": 2**40,
    }
    assert (await sharing.get("/api/tracking/vehicle", **bearer(token("u1", **claims))))[0] == 200
    typed = jwt.encode({"userId": "u1", **claims}, SECRET, "HS256", {"typ": TYPE})
    assert (await sharing.get("/api/tracking/vehicle", **bearer(typed)))[0] == 401


async def test_neither_tokens_nor_ids_reach_a_log(
    sharing: Live, js: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "atriz_realtime")
    share = await shared(sharing)
    async with holding(js, sharing, share) as client:
        await client.call("track:vehicle", "v2")
        await sharing.request("DELETE", f"{SHARES}/{share['id']}")
        await client.until_disconnected()
    await sharing.get("/api/tracking/vehicle/v1", **bearer(share["token"]))
    await sharing.get("/api/tracking/vehicle/v1", **bearer(share["token"][:-1]))
    await sharing.request("DELETE", f"{SHARES}/{share['id']}", **bearer(token("u2")))
    assert "refused credentials" in caplog.text
    assert share["id"] not in caplog.text
    assert share["token"] not in caplog.text

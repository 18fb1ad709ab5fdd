"""What stands between sockets and the core, where no network is needed to see it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
import socketio.exceptions

from atriz_realtime import RealtimeConfig
from atriz_realtime.api import (
    AuthenticationRejected,
    Credentials,
    Identity,
    InvalidRequest,
    NotAuthenticated,
    NotAuthorized,
)
from atriz_realtime.core.containment import Containment
from atriz_realtime.core.gateway import (
    Gateway,
    as_ids,
    uncount,
)
from atriz_realtime.core.socket_server import refused_by
from atriz_realtime.engine.request import Request
from tests.core.parts import KINDS, Hub, Member


@pytest.mark.parametrize(
    ("given", "ids"),
    [("v1", ["v1"]), (["v1", "v2"], ["v1", "v2"]), ([], []), (7, [7]), ({}, [{}]), ("", [""])],
)
def test_one_id_or_a_list_of_them(given: Any, ids: list[Any]) -> None:
    assert as_ids(given) == ids


def test_no_id_is_refused() -> None:
    with pytest.raises(InvalidRequest) as error:
        as_ids(None)
    assert error.value.field == "entityId"


def test_a_refused_connection_says_why() -> None:
    error = refused_by(NotAuthorized())
    assert error.error_args == {"message": "Unauthorized", "data": {"code": "unauthorized"}}


def test_counting_down_forgets_at_zero() -> None:
    counter = Counter({"u1": 2})
    uncount(counter, "u1")
    assert counter == {"u1": 1}
    uncount(counter, "u1")
    uncount(counter, "u1")
    assert len(counter) == 0


# -- connections ---------------------------------------------------------------------------

REQUEST = Request(b"GET /socket.io/ HTTP/1.1\r\n\r\n", ("10.0.0.1", 4321), "http")


class Access:
    """Knows whoever says ``user:<id>``, once its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()

    async def authenticate(
        self, credentials: Credentials, *, narrow: bool = False, known: bool = False
    ) -> Identity:
        await self.gate.wait()
        match credentials.token:
            case None:
                raise NotAuthenticated
            case str(token) if token.startswith("user:"):
                return Identity(user_id=token.removeprefix("user:"))
        raise AuthenticationRejected("no such user")


class Edge:
    """A gateway in front of a hub."""

    def __init__(self, **settings: Any) -> None:
        self.hub = Hub(**settings)
        self.access = Access()
        access: Any = self.access
        pipeline: Any = None
        self.gateway = Gateway(
            config=RealtimeConfig(**settings),
            server=self.hub.server,
            access=access,
            containment=Containment(self.hub.incidents, self.hub.clock, limit=5),
            interest=self.hub.interest,
            incidents=self.hub.incidents,
            clock=self.hub.clock,
            pipeline=pipeline,
            kinds=KINDS,
        )

    async def connect(self, auth: Any = None) -> Member:
        member = await self.hub.connect()
        await self.gateway.connected(member.sid, REQUEST, auth)
        return member

    async def send(self, member: Member, *event: Any) -> Any:
        """Send an event as its socket would; returns the acknowledgement."""
        _ = member.frames  # what came before
        await self.hub.server._handle_event(member.eio_sid, None, 1, list(event))
        acks = [frame for frame in member.frames if str(frame).startswith("31[")]
        return json.loads(acks[0][2:])[0] if acks else None


def user(name: str) -> dict[str, str]:
    return {"token": f"user:{name}"}


async def test_a_socket_that_says_who_it_is() -> None:
    edge = Edge()
    member = await edge.connect(user("u1"))
    assert edge.gateway.connections == 1
    assert [identity.user_id for _, identity in edge.gateway.identities()] == ["u1"]
    assert set(edge.hub.rooms.get_rooms(member.sid, "/")) == {
        member.sid,
        "user:u1",
        "realtime:authenticated",
    }
    edge.gateway.disconnected(member.sid)
    edge.gateway.disconnected(member.sid)
    assert edge.gateway.connections == 0


@pytest.mark.parametrize("auth", [None, {}, "token", 7, [], {"token": 7}, {"token": "bad"}])
async def test_one_that_does_not_is_nobody_for_now_or_refused(auth: Any) -> None:
    edge = Edge()
    await edge.connect(auth)
    assert edge.gateway.identities() == []
    strict = Edge(require_handshake_auth=True)
    with pytest.raises(socketio.exceptions.ConnectionRefusedError) as refused:
        await strict.connect(auth)
    assert refused.value.error_args["data"]["code"] in ("invalid_token", "not_authenticated")
    assert strict.gateway.connections == 0


async def test_the_limit_of_an_address_holds_for_those_that_come_at_once() -> None:
    edge = Edge(max_connections_per_address=2)
    edge.access.gate.clear()
    connecting = [asyncio.ensure_future(edge.connect(user(f"u{n}"))) for n in range(5)]
    for _ in range(5):
        await asyncio.sleep(0)
    edge.access.gate.set()
    results = await asyncio.gather(*connecting, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Exception)]
    assert len(refused) == 3
    assert edge.gateway.connections == 2
    (first, *_) = (result for result in results if isinstance(result, Member))
    edge.gateway.disconnected(first.sid)
    await edge.connect(user("u9"))


async def test_a_refused_connection_does_not_count() -> None:
    edge = Edge(max_connections_per_address=1, require_handshake_auth=True)
    for _ in range(3):
        with pytest.raises(socketio.exceptions.ConnectionRefusedError):
            await edge.connect({"token": "bad"})
    await edge.connect(user("u1"))


async def test_the_limit_of_a_user() -> None:
    edge = Edge(max_connections_per_user=2, require_handshake_auth=True)
    members = [await edge.connect(user("u1")) for _ in range(2)]
    with pytest.raises(socketio.exceptions.ConnectionRefusedError, match="Too many connections"):
        await edge.connect(user("u1"))
    await edge.connect(user("u2"))
    edge.gateway.disconnected(members[0].sid)
    await edge.connect(user("u1"))


async def test_becoming_somebody_else_takes_away_what_was_the_other_s() -> None:
    edge = Edge(max_connections_per_user=1)
    member = await edge.connect(user("u1"))
    assert await edge.send(member, "authenticate", "user:u2") == {"success": True}
    assert set(edge.hub.rooms.get_rooms(member.sid, "/")) == {
        member.sid,
        "user:u2",
        "realtime:authenticated",
    }
    await edge.connect(user("u1"))  # there is room for one again
    assert await edge.send(member, "authenticate", "user:u2") == {"success": True}


# -- events --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        ["track:plane", "1"],
        ["untrack:plane", "1"],
        ["track:"],
        ["track", "1"],
        ["track:*"],
        ["track:*", 5],
        ["untrack:*", {}],
        ["track:" + "x" * 10_000],
    ],
    ids=lambda event: str(event)[:20],
)
async def test_an_unknown_type_is_refused_and_no_failure(event: list[Any]) -> None:
    edge = Edge()
    member = await edge.connect(user("u1"))
    answer = await edge.send(member, *event)
    assert (answer["success"], answer["code"]) == (False, "unknown_type")
    assert len(str(answer)) < 300
    assert dict(edge.hub.incidents.counts) == {"refused unknown_type": 1}


async def test_who_is_nobody_may_not_track() -> None:
    edge = Edge()
    member = await edge.connect()
    answer = await edge.send(member, "track:vehicle", "v1")
    assert answer == {
        "success": False,
        "code": "not_authenticated",
        "message": "Not authenticated",
    }


async def test_a_flood_is_refused_and_cut() -> None:
    edge = Edge(max_events_per_second=1, max_events_burst=3)
    member = await edge.connect(user("u1"))
    answers = [await edge.send(member, "untrack:vehicle", "v1") for _ in range(5)]
    assert answers == [{"success": True}] * 3 + [None] * 2
    assert edge.hub.incidents.counts["refused rate_limited"] == 1
    edge.hub.clock.advance(1)
    assert await edge.send(member, "untrack:vehicle", "v1") == {"success": True}
    for _ in range(4):
        await edge.send(member, "untrack:vehicle", "v1")
    assert edge.hub.incidents.counts["flooding client cut"] == 1


@pytest.mark.parametrize("ids", [None, 5, [5], [None], [["v1"]], {"id": "v1"}])
async def test_ids_that_cannot_be_are_refused(ids: Any) -> None:
    edge = Edge()
    member = await edge.connect(user("u1"))
    answer = await edge.send(member, "untrack:vehicle", ids)
    assert answer["code"] in ("bad_request", "invalid_entity_id")
    assert answer["field"] == "entityId"

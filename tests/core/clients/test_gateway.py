"""What stands between sockets and the core, where no network is needed to see it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
import socketio.exceptions

from atriz_realtime.api import (
    NotAuthorized,
)
from atriz_realtime.core.clients.gateway import (
    uncount,
)
from atriz_realtime.core.clients.socket_server import refused_by
from tests.core.edge import Edge, user
from tests.core.parts import Member


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


async def test_a_flood_is_refused_and_cut() -> None:
    edge = Edge(max_events_per_second=1, max_events_burst=3)
    member = await edge.connect(user("u1"))
    answers = [await edge.send(member, "untrack:vehicle", "v1") for _ in range(5)]
    assert answers == [{"success": True}] * 3 + [None] * 2
    assert edge.hub.incidents.counts["refused rate_limited"] == 1
    assert edge.hub.incidents.refusals.statistics() == {"rate_limited": 2}
    edge.hub.clock.advance(1)
    assert await edge.send(member, "untrack:vehicle", "v1") == {"success": True}
    for _ in range(4):
        await edge.send(member, "untrack:vehicle", "v1")
    assert edge.hub.incidents.counts["flooding client cut"] == 1
    assert edge.hub.incidents.refusals.statistics() == {"rate_limited": 6}

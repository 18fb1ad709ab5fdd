"""What stands between sockets and the core, where no network is needed to see it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
import socketio.exceptions

from atriz_realtime.api import Credentials, EntityRef, Identity, NotAuthorized
from atriz_realtime.core.clients.gateway import decrement, refused_connection
from atriz_realtime.engine.request.request import Request
from tests.core.parts import Fanned, Hub, Member, user


def test_a_refused_connection_says_why() -> None:
    error = refused_connection(NotAuthorized())
    assert error.error_args == {"message": "Unauthorized", "data": {"code": "unauthorized"}}


def test_counting_down_forgets_at_zero() -> None:
    counter = Counter({"u1": 2})
    decrement(counter, "u1")
    assert counter == {"u1": 1}
    decrement(counter, "u1")
    decrement(counter, "u1")
    assert len(counter) == 0


# -- connections ---------------------------------------------------------------------------


async def test_a_socket_that_says_who_it_is() -> None:
    hub = Hub()
    member = await hub.sign_in(user("u1"))
    assert len(hub.sockets) == 1
    assert [identity.user_id for _, identity in hub.gateway.identities()] == ["u1"]
    assert set(hub.rooms.get_rooms(member.sid, "/")) == {
        member.sid,
        "user:u1",
        "realtime:authenticated",
    }
    hub.gateway.disconnected(member.sid)
    hub.gateway.disconnected(member.sid)
    assert len(hub.sockets) == 0


@pytest.mark.parametrize("auth", [None, {}, "token", 7, [], {"token": 7}, {"token": "bad"}])
async def test_one_that_does_not_is_nobody_for_now_or_refused(auth: Any) -> None:
    hub = Hub()
    await hub.sign_in(auth)
    assert list(hub.gateway.identities()) == []
    strict = Hub(require_handshake_auth=True)
    with pytest.raises(socketio.exceptions.ConnectionRefusedError) as refused:
        await strict.sign_in(auth)
    assert refused.value.error_args["data"]["code"] in ("invalid_token", "not_authenticated")
    assert len(strict.sockets) == 0


async def test_the_limit_of_an_address_holds_for_those_that_come_at_once() -> None:
    hub = Hub(max_connections_per_address=2)
    hub.access.gate.clear()
    connecting = [asyncio.ensure_future(hub.sign_in(user(f"u{n}"))) for n in range(5)]
    for _ in range(5):
        await asyncio.sleep(0)
    hub.access.gate.set()
    results = await asyncio.gather(*connecting, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Exception)]
    assert len(refused) == 3
    assert len(hub.sockets) == 2
    (first, *_) = (result for result in results if isinstance(result, Member))
    hub.gateway.disconnected(first.sid)
    await hub.sign_in(user("u9"))


async def test_the_limit_of_an_address_counts_the_network_of_an_ipv6_one() -> None:
    hub = Hub(max_connections_per_address=2)

    async def connect(address: str) -> Member:
        request = Request(b"GET /socket.io/ HTTP/1.1\r\n\r\n", (address, 1), "http")
        member = await hub.connect()
        await hub.gateway.connected(member.sid, request, user("u1"))
        return member

    first = await connect("2001:db8::1")
    await connect("2001:db8::2")
    with pytest.raises(socketio.exceptions.ConnectionRefusedError, match="Too many connections"):
        await connect("2001:db8::3")
    await connect("2001:db8:0:1::1")
    hub.gateway.disconnected(first.sid)
    await connect("2001:db8::3")


async def test_a_refused_connection_does_not_count() -> None:
    hub = Hub(max_connections_per_address=1, require_handshake_auth=True)
    for _ in range(3):
        with pytest.raises(socketio.exceptions.ConnectionRefusedError):
            await hub.sign_in({"token": "bad"})
    await hub.sign_in(user("u1"))


async def test_the_limit_of_a_user() -> None:
    hub = Hub(max_connections_per_user=2, require_handshake_auth=True)
    members = [await hub.sign_in(user("u1")) for _ in range(2)]
    with pytest.raises(socketio.exceptions.ConnectionRefusedError, match="Too many connections"):
        await hub.sign_in(user("u1"))
    await hub.sign_in(user("u2"))
    hub.gateway.disconnected(members[0].sid)
    await hub.sign_in(user("u1"))


async def test_a_connection_over_the_limit_of_its_user_is_refused_with_a_code() -> None:
    hub = Hub(max_connections_per_user=1)
    await hub.sign_in(user("u1"))
    with pytest.raises(socketio.exceptions.ConnectionRefusedError) as refused:
        await hub.sign_in(user("u1"))
    assert refused.value.error_args == {
        "message": "Too many connections",
        "data": {"code": "rate_limited"},
    }
    assert len(hub.sockets) == 1


async def test_authenticating_as_another_user_ends_subscriptions_and_rooms() -> None:
    hub = Hub(max_connections_per_user=1)
    member = await hub.sign_in(user("u1"))
    await hub.send(member, "track:vehicle", ["v1", "v2"])
    await hub.handle(member, ["authenticate", "user:u2"])
    *told, authenticated, acknowledged = map(str, member.frames)
    assert sorted(told) == [
        f'2["tracking:revoked",{{"type":"vehicle","entityId":"{each}"}}]' for each in ("v1", "v2")
    ]
    assert authenticated.startswith('2["authenticated"')
    assert acknowledged == '31[{"success":true}]'
    assert set(hub.rooms.get_rooms(member.sid, "/")) == {
        member.sid,
        "user:u2",
        "realtime:authenticated",
    }
    await hub.sign_in(user("u1"))  # there is room for one again
    assert await hub.send(member, "authenticate", "user:u2") == {"success": True}


async def test_a_socket_that_may_watch_one_entity_alone() -> None:
    hub = Hub()
    member = await hub.sign_in(user("u1"))
    assert not hub.gateway.is_single_entity(member.sid)
    hub.sockets[member.sid].identity = Identity(user_id="u1", only=EntityRef("vehicle", "v1"))
    assert hub.gateway.is_single_entity(member.sid)
    assert not hub.gateway.is_single_entity("unknown")


# -- events --------------------------------------------------------------------------------


TOO_FAST = {"success": False, "code": "rate_limited", "message": "Rate limit"}


async def test_a_flood_is_refused_and_cut() -> None:
    hub = Hub(max_events_per_second=1, max_events_burst=3)
    member = await hub.sign_in(user("u1"))
    answers = [await hub.send(member, "untrack:vehicle", "v1") for _ in range(5)]
    assert answers == [{"success": True}] * 3 + [TOO_FAST] * 2
    assert hub.incidents.counts["refused rate_limited"] == 1
    assert hub.incidents.refusals.statistics() == {"rate_limited": 2}
    hub.clock.advance(1)
    assert await hub.send(member, "untrack:vehicle", "v1") == {"success": True}
    for _ in range(4):
        await hub.send(member, "untrack:vehicle", "v1")
    assert hub.incidents.counts["flooding client cut"] == 1
    assert hub.incidents.refusals.statistics() == {"rate_limited": 6}


async def test_the_sockets_of_a_user_who_does_not_slow_down_are_cut_one_by_one() -> None:
    hub = Hub(max_user_events_per_second=1, max_user_events_burst=3)
    one, two = [await hub.sign_in(user("u1")) for _ in range(2)]
    answers = [await hub.send(one, "untrack:vehicle", "v1") for _ in range(3)]
    assert answers == [{"success": True}] * 3
    cut = []
    for member in (two, two, two, one):
        assert await hub.send(member, "untrack:vehicle", "v1") == TOO_FAST
        cut.append(hub.incidents.counts["flooding client cut"])
    assert cut == [0, 0, 1, 2]
    assert hub.incidents.refusals.statistics() == {"rate_limited": 4}


async def test_a_token_revoked_while_it_authenticates_is_refused(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    member = await hub.sign_in(user("u1"))
    hub.sockets[member.sid].tracked.add("vehicle:v1")
    hub.access.may_track_gate.clear()
    authenticating = asyncio.ensure_future(hub.send(member, "authenticate", "user:u1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    hub.access.revoked.add("u1")
    hub.access.may_track_gate.set()
    answer = await authenticating
    assert (answer["success"], answer["code"]) == (False, "invalid_token")
    assert "refused credentials: revoked; client 10.0.0.1" in caplog.messages


async def test_a_socket_that_has_renewed_its_token_is_not_withdrawn_for_the_old_one() -> None:
    hub = Hub()
    member = await hub.sign_in(user("u1"))
    ((sid, old),) = hub.gateway.identities()
    await hub.send(member, "authenticate", "user:u1")
    ((_, new),) = hub.gateway.identities()
    await hub.gateway.withdraw(sid, old)
    assert hub.rooms.is_connected(sid, "/")
    await hub.gateway.withdraw(sid, new)
    assert not hub.rooms.is_connected(sid, "/")


async def test_a_narrow_token_of_the_same_user_keeps_nothing_of_the_wide_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub()
    hub.channels.start(Fanned(), lambda *_: None, lambda _: None)
    member = await hub.sign_in(user("u1"))
    await hub.send(member, "track:vehicle", ["v1", "v2"])

    async def authenticate(credentials: Credentials, **_: Any) -> Identity:
        only = EntityRef("vehicle", "v1") if credentials.token == "narrow" else None
        return Identity(user_id="u1", only=only)

    monkeypatch.setattr(hub.access, "authenticate", authenticate)
    everybody = "realtime:authenticated"
    await hub.send(member, "authenticate", "narrow")
    assert set(hub.rooms.get_rooms(member.sid, "/")) == {member.sid, "user:u1"}
    assert hub.sockets[member.sid].tracked == set()
    await hub.send(member, "authenticate", "wide")
    assert set(hub.rooms.get_rooms(member.sid, "/")) == {member.sid, "user:u1", everybody}

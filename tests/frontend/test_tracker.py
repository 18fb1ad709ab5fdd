"""``createTracker`` in Node, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime.api import AuthenticationRejected, Credentials, EntityRef, Identity
from tests.support.clients.node import Lines, script
from tests.support.servers.serving import TIMEOUT, Live, serving, token, until
from tests.support.servers.tcp_proxy import Proxy, proxying


@asynccontextmanager
async def tracking(project: Path, url: str, **tokens: Any) -> AsyncIterator[Lines]:
    async with script("tracker.mjs", folder=project) as tracker:
        await tracker.send({"do": "create", "url": url, **(tokens or {"token": token()})})
        yield tracker


async def track(tracker: Lines, *ids: str, kind: str = "vehicle") -> None:
    await tracker.send({"do": "track", "type": kind, "ids": ids})


async def follow(tracker: Lines, *ids: str) -> None:
    await track(tracker, *ids)
    await tracker.until_printed({"tracked": list(ids)})


def members(live: Live, room: str) -> int:
    return len(live.server.socket_io.manager.rooms.get("/", {}).get(room, {}))


def locations(tracker: Lines) -> list[tuple[str, Any]]:
    return [
        (line["location"]["entityId"], line["location"]["location"].get("speed"))
        for line in tracker.printed
        if "location" in line
    ]


def error(code: str, message: str, entity_id: str | None = None) -> dict[str, Any]:
    described = {"name": "TrackingError", "code": code, "message": message}
    if entity_id is not None:
        described["entity"] = {"type": "vehicle", "id": entity_id}  # type: ignore[assignment]
    return described


def errors(tracker: Lines) -> list[str]:
    return [line["error"]["code"] for line in tracker.printed if "error" in line]


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with serving() as live:
        yield live


async def test_only_positions_of_tracked_entities_arrive(live: Live, project: Path) -> None:
    await live.publish("v1", speed=1)
    async with tracking(project, live.url) as tracker:
        await follow(tracker, "v1")
        await until(lambda: locations(tracker) == [("v1", 1)])
        await live.publish("v2", speed=2)
        await live.publish("v1", speed=3)
        await until(lambda: locations(tracker) == [("v1", 1), ("v1", 3)])
        await tracker.send({"do": "last", "type": "vehicle", "id": "v1"})
        await until(lambda: "last" in tracker.printed[-1])
        assert tracker.printed[-1]["last"]["location"]["speed"] == 3

        await tracker.send({"do": "untrack", "type": "vehicle", "ids": ["v1"]})
        await until(lambda: members(live, "vehicle:v1") == 0)
        await tracker.send({"do": "last", "type": "vehicle", "id": "v1"})
        await tracker.until_last_is({"last": None})
        await tracker.send({"do": "close"})
        await tracker.until_last_is({"status": "closed"})
        await until(lambda: live.server.connection_count == 0)
        await track(tracker, "v1")
        await tracker.until_last_is({"refused": error("closed", "the tracker is closed")})


async def test_the_last_untrack_leaves(live: Live, project: Path) -> None:
    async with tracking(project, live.url) as tracker:
        await follow(tracker, "v1")
        await follow(tracker, "v1")
        await tracker.send({"do": "untrack", "type": "vehicle", "ids": ["v1"]})
        await follow(tracker, "v2")
        assert members(live, "vehicle:v1") == 1
        await tracker.send({"do": "untrack", "type": "vehicle", "ids": ["v1"]})
        await until(lambda: members(live, "vehicle:v1") == 0)


async def test_hundreds_of_entities_share_one_request(live: Live, project: Path) -> None:
    ids = [f"v{number}" for number in range(900)]  # single requests would exceed the burst
    async with tracking(project, live.url) as tracker:
        await follow(tracker, *ids)
        assert all(members(live, f"vehicle:{entity_id}") == 1 for entity_id in ids)


async def test_the_tracker_reconnects_and_tracks_again(live: Live, project: Path) -> None:
    proxy = Proxy(live.port)
    await proxy.start()
    try:
        async with tracking(project, f"http://127.0.0.1:{proxy.port}") as tracker:
            await follow(tracker, "v1", "v2")
            async with proxy.outage():
                await tracker.until_last_is({"status": "reconnecting"})
                await track(tracker, "v3")
            await tracker.until_printed({"tracked": ["v3"]})
            await until(lambda: members(live, "vehicle:v1") == 1)
            await live.publish("v2", speed=7)
            await until(lambda: locations(tracker)[-1:] == [("v2", 7)])
            assert [line["status"] for line in tracker.printed if "status" in line] == [
                *("connecting", "connected", "reconnecting", "connected")
            ]
    finally:
        await proxy.aclose()


async def test_refused_entities_are_named_and_the_others_tracked(project: Path) -> None:
    async with (
        serving(extra_plugins=["tests.support.plugins.own_vehicles"]) as live,
        tracking(project, live.url) as tracker,
    ):
        await track(tracker, "u1-a", "u2-a", "u1-b")
        await tracker.until_printed({"refused": error("unauthorized", "Unauthorized", "u2-a")})
        await until(lambda: members(live, "vehicle:u1-a") == members(live, "vehicle:u1-b") == 1)
        assert members(live, "vehicle:u2-a") == 0


@pytest.mark.parametrize("refused", [(0,), (150,), (299,), (20, 21, 250)])
async def test_the_refused_ones_of_a_long_list_are_found_with_few_requests(
    project: Path, refused: tuple[int, ...]
) -> None:
    ids = [f"u{2 if number in refused else 1}-{number}" for number in range(300)]
    async with (
        serving(extra_plugins=["tests.support.plugins.own_vehicles"]) as live,
        tracking(project, live.url) as tracker,
    ):
        await track(tracker, *ids)
        await until(
            lambda: sum(members(live, f"vehicle:{each}") for each in ids) == 300 - len(refused)
        )
        assert live.server.incidents.counts["refused unauthorized"] <= 10 * len(refused)
        said = error("unauthorized", "Unauthorized", f"u2-{refused[0]}")
        await tracker.until_printed({"refused": said})


async def test_above_the_limit_the_first_that_fit_are_tracked(project: Path) -> None:
    async with serving(max_subscriptions=701) as live, tracking(project, live.url) as tracker:
        await track(tracker, *[f"v{number}" for number in range(1_400)])
        said = error("subscription_limit", "Subscription limit", "v701")
        await tracker.until_last_is({"refused": said})
        tracked = [number for number in range(1_400) if members(live, f"vehicle:v{number}")]
        assert tracked == list(range(701))
        assert live.server.incidents.counts["refused subscription_limit"] < 20  # and not 699


async def test_those_above_the_limit_get_the_places_that_become_free(project: Path) -> None:
    async with (
        serving(max_subscriptions=2) as live,
        proxying(live.port) as proxy,
        tracking(project, f"http://127.0.0.1:{proxy.port}") as tracker,
    ):

        def tracked() -> list[str]:
            return [each for each in ids if members(live, f"vehicle:{each}")]

        async def untrack(*ids: str) -> None:
            await tracker.send({"do": "untrack", "type": "vehicle", "ids": ids})

        ids = [f"v{number}" for number in range(7)]
        await track(tracker, *ids)
        said = error("subscription_limit", "Subscription limit", "v2")
        await tracker.until_last_is({"refused": said})
        assert tracked() == ["v0", "v1"]
        refused = live.server.incidents.counts["refused subscription_limit"]
        await untrack("v0")
        await until(lambda: tracked() == ["v1", "v2"])
        await live.server.permissions.revoke("u1", EntityRef("vehicle", "v1"))
        await until(lambda: tracked() == ["v2", "v3"])
        await untrack("v4", "v2")  # the first of them has no place
        await until(lambda: tracked() == ["v3", "v5"])
        proxy.break_connections()
        await tracker.until_printed({"status": "connected"}, times=2)
        await until(lambda: tracked() == ["v3", "v5"])
        await live.publish("v5", speed=5)
        await until(lambda: locations(tracker) == [("v5", 5)])
        # no more were asked for than there was room for
        assert live.server.incidents.counts["refused subscription_limit"] == refused
        assert errors(tracker) == ["unauthorized"]


@pytest.mark.parametrize("refused", [b"Upgrade: websocket", b"transport=polling"])
async def test_one_transport_that_gets_through_is_enough(
    live: Live, project: Path, refused: bytes
) -> None:
    async with proxying(live.port) as proxy:
        proxy.refuse(refused)
        async with tracking(project, f"http://127.0.0.1:{proxy.port}") as tracker:
            await follow(tracker, "v1")
            assert errors(tracker) == []


async def test_a_websocket_that_gets_no_answer_is_given_up_for_polling(
    live: Live, project: Path
) -> None:
    async with proxying(live.port) as proxy:
        proxy.hold_requests(only=b"Upgrade: websocket")
        async with tracking(project, f"http://127.0.0.1:{proxy.port}") as tracker:
            await track(tracker, "v1")
            await until(lambda: {"tracked": ["v1"]} in tracker.printed, 2 * TIMEOUT)
            assert members(live, "vehicle:v1") == 1


async def test_what_came_too_fast_is_requested_again(
    live: Live, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, refusals = live.server._gateway, [False] * 4
    admit = gateway.admit
    monkeypatch.setattr(gateway, "admit", lambda sid: refusals.pop() if refusals else admit(sid))
    async with tracking(project, live.url) as tracker:
        await follow(tracker, "v1", "v2", "v3")
        assert all(members(live, f"vehicle:{each}") == 1 for each in ("v1", "v2", "v3"))
        assert (refusals, errors(tracker)) == ([], [])


async def test_a_refused_string_token_stops_the_tracker(live: Live, project: Path) -> None:
    async with tracking(project, live.url, token="letmein") as tracker:
        await track(tracker, "v1")
        said = error("invalid_token", "Authentication failed")
        await tracker.until_last_is({"refused": said})
        assert {"error": said} in tracker.printed
        assert {"status": "refused"} in tracker.printed
        await track(tracker, "v2")  # it is not left waiting
        await tracker.until_printed({"refused": said}, times=2)
        await tracker.send({"do": "reconnect"})
        await tracker.until_printed({"status": "refused"}, times=2)


@pytest.mark.parametrize("strict", [False, True])
async def test_a_refused_token_is_replaced(project: Path, strict: bool) -> None:
    async with (
        serving(require_handshake_auth=strict) as live,
        tracking(project, live.url, tokens=[None, "letmein", token()]) as tracker,
    ):
        await follow(tracker, "v1")
        assert errors(tracker) == ["token_unavailable", "invalid_token"]
        assert members(live, "vehicle:v1") == members(live, "user:u1") == 1


async def test_a_connection_counts_as_one_when_its_token_is_accepted(
    live: Live, project: Path
) -> None:
    async with tracking(project, live.url, tokens=["letmein", "letmein", token()]) as tracker:
        await follow(tracker, "v1")
        assert [line["status"] for line in tracker.printed if "status" in line] == [
            *("connecting", "reconnecting", "connected")
        ]
        assert errors(tracker) == ["invalid_token"]  # it is reported once
        await tracker.send({"do": "problems"})
        await tracker.until_last_is({"problems": ["invalid_token", None]})
        assert "protocol broken" not in live.server.incidents.counts


async def test_a_token_that_expires_is_renewed_on_the_connection(live: Live, project: Path) -> None:
    async with tracking(project, live.url, tokens=[token(), token(renewed=True)]) as tracker:
        await follow(tracker, "v1")
        await live.server.socket_io.emit("token:expiring", {}, room="user:u1")
        gateway = live.server._gateway
        await until(
            lambda: (
                [identity.claims.get("renewed") for _, identity in gateway.identities()] == [True]
            )
        )
        await asyncio.sleep(0)
        assert {"status": "reconnecting"} not in tracker.printed


async def renew(live: Live, user: str) -> None:
    await live.server.socket_io.emit("token:expiring", {}, room=f"user:{user}")


async def test_a_token_of_another_user_tracks_everything_again(live: Live, project: Path) -> None:
    """A function that fetches the token of whoever is signed in returns another user's."""
    ids = [f"v{number}" for number in range(300)]
    async with tracking(project, live.url, tokens=[token("ana"), token("ben")]) as tracker:
        await follow(tracker, *ids)
        await renew(live, "ana")
        await until(lambda: members(live, "user:ben") == 1)
        await until(lambda: all(members(live, f"vehicle:{each}") == 1 for each in ids))
        await live.publish("v7", speed=7)
        await until(lambda: locations(tracker) == [("v7", 7)])
        assert errors(tracker) == []
        assert {"status": "reconnecting"} not in tracker.printed


async def test_what_another_user_may_not_watch_is_reported_and_dropped(project: Path) -> None:
    async with (
        serving(extra_plugins=["tests.support.plugins.own_vehicles"]) as live,
        tracking(project, live.url, tokens=[token("ana"), token("ben")]) as tracker,
    ):
        await follow(tracker, "ana-1")
        await renew(live, "ana")
        await tracker.until_last_is({"error": error("unauthorized", "Unauthorized", "ana-1")})
        await follow(tracker, "ben-1")
        assert members(live, "vehicle:ana-1") == 0


async def test_a_token_that_is_valid_after_all_is_used(
    live: Live, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one whose key the server had not fetched when the connection was made."""
    accepted = live.server._gateway._access.authenticate

    async def authenticate(credentials: Credentials, **options: Any) -> Identity:
        if credentials.source == "handshake":
            raise AuthenticationRejected
        return await accepted(credentials, **options)

    monkeypatch.setattr(live.server._gateway._access, "authenticate", authenticate)
    async with tracking(project, live.url) as tracker:
        await follow(tracker, "v1")
        assert errors(tracker) == []
        assert members(live, "vehicle:v1") == 1


async def test_a_revoked_entity_is_reported_and_dropped(live: Live, project: Path) -> None:
    async with tracking(project, live.url) as tracker:
        await follow(tracker, "v1", "v2")
        await live.server.permissions.revoke("u1", EntityRef("vehicle", "v1"))
        gone = error("unauthorized", "no longer permitted", "v1")
        await tracker.until_last_is({"error": gone})
        await live.publish("v1")
        await live.publish("v2", speed=2)
        await until(lambda: locations(tracker) == [("v2", 2)])
        await follow(tracker, "v1")  # it is requested again
        await until(lambda: members(live, "vehicle:v1") == 1)


async def test_listeners_that_throw_stop_neither_the_tracker_nor_other_listeners(
    live: Live, project: Path
) -> None:
    async with (
        proxying(live.port) as proxy,
        tracking(project, f"http://127.0.0.1:{proxy.port}", token=token(), faulty=True) as tracker,
    ):
        await follow(tracker, "v1")
        await live.publish("v1", speed=1)
        await until(lambda: locations(tracker) == [("v1", 1)])
        proxy.cut()
        await until(lambda: errors(tracker) == ["unreachable"])
        proxy.mend()
        await tracker.until_printed({"status": "connected"}, times=2)
        await until(lambda: members(live, "vehicle:v1") == 1)
        thrown = {line["uncaught"] for line in tracker.printed if "uncaught" in line}
        assert thrown == {"onStatus", "onError", "onLocation", "of v1"}

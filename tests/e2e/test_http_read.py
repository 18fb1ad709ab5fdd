"""``GET /api/tracking/…``: one location, and all locations of a type in pages."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from atriz_realtime.api import Identity, Page, Unavailable
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.defaults import http_api
from atriz_realtime.defaults.http_api import ENTITIES_PER_TURN
from tests.support.clients.python_socketio import Serve
from tests.support.servers.serving import Live, serving, token

HERE = {"latitude": 52.6, "longitude": -8.6}


async def fill(live: Live, count: int, kind: str = "vehicle") -> None:
    """Publish a position of each of ``count`` entities, ``v0`` and so on."""
    updates = [{"type": kind, "entityId": f"v{n}", "speed": n, **HERE} for n in range(count)]
    for start in range(0, count, 1_000):
        status, answer = await live.post(
            "/api/tracking/batch", {"updates": updates[start : start + 1_000]}
        )
        assert (status, answer["rejected"]) == (200, [])


async def pages(live: Live, kind: str = "vehicle", **query: Any) -> list[list[dict[str, Any]]]:
    """Every page of a listing."""
    found = []
    cursor: str | None = ""
    while cursor is not None:
        params = query | ({"cursor": cursor} if cursor else {})
        status, page = await live.get(f"/api/tracking/{kind}", params=params)
        assert status == 200
        assert page.keys() == {"type", "locations", "nextCursor"}
        assert page["type"] == kind
        found.append(page["locations"])
        cursor = page["nextCursor"]
    return found


async def test_the_current_location(live: Live) -> None:
    await live.publish("v1", speed=1)
    await live.publish("v1", speed=2)
    status, location = await live.get("/api/tracking/vehicle/v1")
    assert (status, location["deviceId"], location["speed"]) == (200, "v1", 2)
    assert None not in location.values()


@pytest.mark.parametrize("entity_id", ["a b", "a/b", "ä", "50%", "?x", "#x", "a+b"])
async def test_ids_with_anything_in_them(live: Live, entity_id: str) -> None:
    await live.publish(entity_id)
    status, location = await live.get(f"/api/tracking/vehicle/{quote(entity_id, safe='')}")
    assert (status, location.get("deviceId")) == (200, entity_id)
    assert [entry["entityId"] for page in await pages(live) for entry in page] == [entity_id]


async def test_a_missing_location_is_not_found(live: Live) -> None:
    await live.publish("v1")
    for path, code in {
        "vehicle/v2": "not_found",
        "delivery/v1": "not_found",
        "boat/v1": "unknown_type",
        "boat": "unknown_type",
        "vehicle/a:b": "invalid_entity_id",
        f"vehicle/{'x' * 200}": "invalid_entity_id",
    }.items():
        status, answer = await live.get(f"/api/tracking/{path}")
        assert (status, answer["success"], answer["code"]) == (404, False, code), path


async def test_reading_needs_a_token_too(live: Live) -> None:
    for path in ("vehicle/v1", "vehicle"):
        status, answer = await live.get(f"/api/tracking/{path}", headers={})
        assert (status, answer["code"]) == (401, "not_authenticated")
        headers = {"Authorization": "Bearer letmein"}
        status, answer = await live.get(f"/api/tracking/{path}", headers=headers)
        assert (status, answer["code"]) == (401, "invalid_token")


async def test_only_entities_that_the_caller_may_track_are_listed(serve: Serve) -> None:
    async with serve(extra_plugins=["tests.support.plugins.own_vehicles"]) as live:
        for user in ("u1", "u2"):
            headers = {"Authorization": f"Bearer {token(user)}"}
            for name in ("a", "b"):
                body = {"vehicleId": f"{user}-{name}", **HERE}
                assert (await live.post("/api/tracking/location", body, headers=headers))[0] == 200
        for path in ("vehicle/u2-a", "vehicle/u2-nothing"):
            status, answer = await live.get(f"/api/tracking/{path}")
            assert (status, answer["code"]) == (403, "unauthorized")
        for limit in (1, 1_000):
            found = await pages(live, limit=limit)
            seen = [entry["entityId"] for page in found for entry in page]
            assert sorted(seen) == ["u1-a", "u1-b"]


async def first_cursor(live: Live) -> str:
    """The cursor after the first of several entities."""
    status, page = await live.get("/api/tracking/vehicle", params={"limit": "1"})
    assert (status, isinstance(page["nextCursor"], str)) == (200, True)
    cursor: str = page["nextCursor"]
    return cursor


async def test_a_cursor_tells_nothing_about_an_entity_that_may_not_be_seen(serve: Serve) -> None:
    async with serve(extra_plugins=["tests.support.plugins.own_vehicles"]) as live:
        headers = {"Authorization": f"Bearer {token('u2')}"}
        for name in ("u2-secret", "u2-x", "u2-y"):
            body = {"vehicleId": name, **HERE}
            assert (await live.post("/api/tracking/location", body, headers=headers))[0] == 200
        sealed = await first_cursor(live)
        assert b"secret" not in sealed.encode()
        assert b"secret" not in urlsafe_b64decode(sealed + "==")
        again = await first_cursor(live)
        assert again != sealed  # nor does it tell whether that entity has moved
        _, page = await live.get("/api/tracking/vehicle", params={"limit": "1", "cursor": sealed})
        assert len(page["nextCursor"]) == len(sealed)  # nor how long its id is
        for changed in (sealed[:-1], sealed[4:], sealed + "A", f"{sealed[:20]}AAAA{sealed[24:]}"):
            status, answer = await live.get("/api/tracking/vehicle", params={"cursor": changed})
            assert (status, answer["field"]) == (400, "cursor")


async def test_servers_with_one_secret_read_each_other_s_cursors(redis_url: str) -> None:
    async with (
        serving(redis_url=redis_url) as one,
        serving(redis_url=redis_url) as another,
        serving(redis_url=redis_url, jwt_secret="x" * 32) as foreign,
    ):
        await fill(one, 3)
        query = {"cursor": await first_cursor(one)}
        status, page = await another.get("/api/tracking/vehicle", params=query)
        assert (status, len(page["locations"])) == (200, 2)
        headers = {"Authorization": f"Bearer {token(secret='x' * 32)}"}
        status, page = await foreign.get("/api/tracking/vehicle", params=query, headers=headers)
        assert (status, page["field"]) == (400, "cursor")


async def test_an_empty_listing(live: Live) -> None:
    assert await pages(live) == [[]]


async def test_a_listing_has_pages_of_a_thousand(live: Live) -> None:
    await fill(live, 2_500)
    await fill(live, 3, "delivery")
    found = await pages(live)
    assert [len(page) for page in found] == [1_000, 1_000, 500]
    listed = {entry["entityId"]: entry["location"] for page in found for entry in page}
    assert len(listed) == 2_500
    assert listed["v7"]["speed"] == 7
    assert listed["v7"]["userId"] == "u1"


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (1000, [5])])
async def test_a_page_s_size_can_be_chosen(live: Live, limit: int, sizes: list[int]) -> None:
    await fill(live, 5)
    found = await pages(live, limit=limit)
    assert [len(page) for page in found] == sizes
    assert sorted(entry["entityId"] for page in found for entry in page) == [
        f"v{n}" for n in range(5)
    ]


async def test_updates_between_pages_hide_no_entity(live: Live) -> None:
    await fill(live, 30)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"limit": "7"} | ({"cursor": cursor} if cursor else {})
        _, page = await live.get("/api/tracking/vehicle", params=params)
        seen += [entry["entityId"] for entry in page["locations"]]
        cursor = page["nextCursor"]
        if len(seen) < 30:
            await live.publish("v0")
            await live.publish("v15")
    assert set(seen) == {f"v{n}" for n in range(30)}


async def test_a_bad_page_is_refused(live: Live) -> None:
    for name, values in {
        "limit": ["0", "-1", "1001", "x", "1.5", "", "9" * 5_000, "٣"],
        "cursor": ["x", "-1", "", ":", "1e3:v1", "\ud7ff"],
    }.items():
        for value in values:
            status, answer = await live.get("/api/tracking/vehicle", params={name: value})
            assert (status, answer["code"]) == (400, "bad_request"), (name, value)
            assert answer["field"] == name


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "vehicle"), ("POST", "vehicle/v1"), ("DELETE", "vehicle/v1"), ("PUT", "location")],
)
async def test_other_methods_are_not_allowed(live: Live, method: str, path: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{live.url}/api/tracking/{path}") as response,
    ):
        assert response.status == 405


async def test_long_listings_together_leave_the_loop_to_others(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(live, 3 * ENTITIES_PER_TURN)
    loop, asked = asyncio.get_running_loop(), [0]

    async def may_track(*_: object) -> bool:
        asked[-1] += 1
        return True

    def turn() -> None:
        asked.append(0)
        turning.append(loop.call_soon(turn))

    monkeypatch.setattr(AccessControl, "may_track", may_track)
    turning = [loop.call_soon(turn)]
    listed = await asyncio.gather(*(pages(live) for _ in range(4)))
    turning[-1].cancel()
    assert [len(page) for (page,) in listed] == [3 * ENTITIES_PER_TURN] * 4
    assert sum(asked) == 12 * ENTITIES_PER_TURN
    assert max(asked) <= ENTITIES_PER_TURN


async def test_listings_wait_while_others_hold_as_much_as_they_may(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for a page alone, no listing begins before the one before it has ended."""
    monkeypatch.setattr(http_api, "MAX_LISTED", 1)
    await fill(live, 3)
    asked: list[str] = []

    async def may_track(_: object, identity: Identity, __: object) -> bool:
        asked.append(identity.user_id)
        await asyncio.sleep(0)
        return True

    monkeypatch.setattr(AccessControl, "may_track", may_track)
    users = [f"u{number}" for number in range(2 * http_api.PAGES_READ)]

    async def read(user: str) -> int:
        headers = {"Authorization": f"Bearer {token(user)}"}
        status, _ = await live.get("/api/tracking/vehicle", headers=headers)
        return status

    assert await asyncio.gather(*map(read, users)) == [200] * len(users)
    begun = list(dict.fromkeys(asked))
    assert sorted(begun) == users
    assert asked == [user for user in begun for _ in range(3)]


async def test_the_listings_of_one_user_hold_up_nobody_else(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while as many as may be are read, and others wait: they wait for their own."""
    await fill(live, 3)
    read_page, gate, reading = Pipeline.page, asyncio.Event(), list[str]()

    async def page(self: Pipeline, *asked: Any, owner: str, **options: Any) -> Page:
        reading.append(owner)
        if owner == "busy":
            await gate.wait()
        return await read_page(self, *asked, owner=owner, **options)

    monkeypatch.setattr(Pipeline, "page", page)
    url = f"{live.url}/api/tracking/vehicle"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def read(user: str) -> tuple[int, Any, str | None]:
            headers = {"Authorization": f"Bearer {token(user)}"}
            async with session.get(url, headers=headers) as response:
                return response.status, await response.json(), response.headers.get("Retry-After")

        busy = [asyncio.create_task(read("busy")) for _ in range(http_api.MAX_LISTINGS + 2)]
        (refused,), waiting = await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
        status, answer, retry_after = refused.result()
        assert (status, answer["code"], retry_after) == (503, "unavailable", "1")
        assert live.server.incidents.counts["refused unavailable"] == 1
        assert live.server.incidents.counts["limit defaults.http_api.MAX_LISTINGS reached"] == 1
        assert (await read("other"))[0] == 200
        assert reading == ["busy", "other"]
        gate.set()
        assert [(await each)[0] for each in waiting] == [200] * len(waiting)
        assert (await read("busy"))[0] == 200


async def test_nothing_is_kept_of_a_user_without_listings() -> None:
    """However its listings have ended, and whether they had their turn."""
    pages, gate = http_api.Pages(lambda *_, **__: None), asyncio.Event()

    async def read() -> Page:
        await gate.wait()
        raise Unavailable

    async def hold() -> None:
        async with pages.hold("u1", read):
            pass

    tasks = [asyncio.create_task(hold()) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    assert pages._users["u1"].count == 2
    gate.set()
    await asyncio.wait(tasks)
    assert [type(tasks[each].exception()) for each in (0, 2)] == [Unavailable] * 2
    assert pages._users == {}

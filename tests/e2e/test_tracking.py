"""``track:<type>`` and ``untrack:<type>``: rooms, acknowledgements and refusals."""

from __future__ import annotations

from tests.support.clients.python_socketio import Connect, Serve
from tests.support.servers.serving import Live, until, watching

SUCCESS = {"success": True}


async def test_one_entity_is_followed_until_it_is_untracked(live: Live, connect: Connect) -> None:
    async with connect(live) as client:
        await client.emit("track:vehicle", "v1")
        await client.call("track:vehicle", "v2")  # events keep their order
        await live.publish("v1")
        assert (await client.next("location:update"))["entityId"] == "v1"
        await client.emit("untrack:vehicle", "v1")
        await client.call("untrack:vehicle", "nothing joined")
        await live.publish("v1")
        await live.publish("v2")
        assert (await client.next("location:update", 2))["entityId"] == "v2"
        assert client.of("error") == []


async def test_an_update_has_one_argument_as_documented(live: Live, connect: Connect) -> None:
    location = {
        "latitude": 40.7128,
        "longitude": -74.006,
        "speed": 65,
        "heading": 180,
        "accuracy": 10,
        "altitude": 12.5,
        "timestamp": "2026-01-31T12:00:00.000Z",
        "metadata": {"any": ["JSON", None, {"ä": 1.5}]},
    }
    async with connect(live) as client:
        await client.call("track:vehicle", "v1")
        await live.post("/api/tracking/location", {"vehicleId": "v1", **location})
        await client.next("location:update")
        event = {
            "type": "vehicle",
            "entityId": "v1",
            "location": {"deviceId": "v1", "userId": "u1", **location},
        }
        assert client.received == [("location:update", [event])]


async def test_a_polling_client_receives_updates(live: Live) -> None:
    async with watching(live, "v1", polling=True) as client, watching(live, "v2") as other:
        await live.publish("v1", speed=65)
        await until(lambda: client.updates)
        assert [(each["entityId"], each["location"]["speed"]) for each in client.updates] == [
            ("v1", 65)
        ]
        assert other.updates == []


async def test_a_list_of_entities_is_joined_and_left_together(live: Live, connect: Connect) -> None:
    async with connect(live) as client:
        assert await client.call("track:vehicle", ["v1", "v2", "v3", "v1"]) == SUCCESS
        assert await client.call("untrack:vehicle", ["v1", "v2", "elsewhere"]) == SUCCESS
        for entity_id in ("v1", "v2", "v3"):
            await live.publish(entity_id)
        assert (await client.next("location:update"))["entityId"] == "v3"
        assert len(client.updates) == 1


async def test_tracking_twice_is_tracking_once(live: Live, connect: Connect) -> None:
    async with connect(live) as client:
        await client.call("track:vehicle", "v1")
        await client.call("track:vehicle", ["v1", "v2"])
        await live.publish("v1", speed=1)
        await live.publish("v1", speed=2)
        await client.call("untrack:vehicle", "v1")
        await live.publish("v1", speed=3)
        await live.publish("v2", speed=4)
        await client.next("location:update", 3)
        assert [update["location"]["speed"] for update in client.updates] == [1, 2, 4]


async def test_types_are_apart(live: Live, connect: Connect) -> None:
    async with connect(live) as client:
        await client.call("track:delivery", ["x1", "x2"])
        await live.publish("x1")
        body = {"type": "delivery", "entityId": "x1", "latitude": 1, "longitude": 2}
        await live.post("/api/tracking/location", body)
        update = await client.next("location:update")
        assert (update["type"], update["entityId"]) == ("delivery", "x1")
        assert await client.call("untrack:vehicle", "x1") == SUCCESS  # another entity
        # a fix that equals the last one, of the same millisecond too, is not sent again
        await live.post("/api/tracking/location", {**body, "speed": 1})
        await client.next("location:update", 2)
        assert await client.call("untrack:delivery", "x1") == SUCCESS
        await live.post("/api/tracking/location", body)
        await live.post("/api/tracking/location", {**body, "entityId": "x2"})
        assert (await client.next("location:update", 3))["entityId"] == "x2"


async def test_the_current_location_comes_at_once(live: Live, connect: Connect) -> None:
    await live.publish("v1", speed=1)
    await live.publish("v1", speed=2)
    await live.publish("v2", speed=3)
    async with connect(live) as client:
        assert await client.call("track:vehicle", ["v1", "v2", "unknown"]) == SUCCESS
        await client.next("location:update", 2)
        found = {update["entityId"]: update["location"]["speed"] for update in client.updates}
        assert found == {"v1": 2, "v2": 3}


async def test_fixes_of_the_same_second_follow_the_current_location(
    live: Live, connect: Connect
) -> None:
    """Devices with timestamps in whole seconds may send several positions with one timestamp."""
    noon = "2026-01-31T12:00:00Z"
    await live.publish("v1", speed=1, timestamp=noon)
    async with connect(live) as client:
        await client.call("track:vehicle", "v1")
        for speed in (2, 3):
            await live.publish("v1", speed=speed, timestamp=noon)
        await client.next("location:update", 3)
        assert [update["location"]["speed"] for update in client.updates] == [1, 2, 3]


async def test_unauthenticated_sockets_are_refused(live: Live, connect: Connect) -> None:
    await live.publish("v1")
    async with connect(live, user=None) as client, watching(live, "v1") as witness:
        await client.emit("track:vehicle", "v1")
        assert await client.next("error") == "Not authenticated"
        assert await client.call("track:vehicle", "v1") == {
            "success": False,
            "code": "not_authenticated",
            "message": "Not authenticated",
        }
        await live.publish("v1", speed=1)
        await until(lambda: witness.updates and "speed" in witness.updates[-1]["location"])
        assert await client.call("untrack:vehicle", "v1") == SUCCESS
        assert client.updates == []


async def test_the_subscription_limit(serve: Serve, connect: Connect) -> None:
    refused = {"success": False, "code": "subscription_limit", "message": "Subscription limit"}
    async with serve(max_subscriptions=3) as live, connect(live) as client:
        assert await client.call("track:vehicle", ["v1", "v2"]) == SUCCESS
        assert await client.call("track:vehicle", ["v3", "v4"]) == refused
        await client.emit("track:vehicle", ["v5", "v6"])
        assert await client.next("error", 2) == "Subscription limit"
        # a refused list joins nothing, and an entity that is tracked already is not counted twice
        assert await client.call("track:delivery", "d1") == SUCCESS
        assert await client.call("track:vehicle", ["v1", "v2"]) == SUCCESS
        assert await client.call("track:vehicle", "v3") == refused
        await client.emit("untrack:vehicle", "v2")
        assert await client.call("track:vehicle", "v3") == SUCCESS
        for entity_id in ("v4", "v5", "v2", "v3"):
            await live.publish(entity_id)
        assert (await client.next("location:update"))["entityId"] == "v3"
        assert len(client.updates) == 1


async def test_the_documented_limit_is_a_thousand(live: Live, connect: Connect) -> None:
    async with connect(live) as client:
        ids = [f"v{number}" for number in range(1_001)]
        assert (await client.call("track:vehicle", ids))["code"] == "subscription_limit"
        assert await client.call("track:vehicle", ids[:1_000]) == SUCCESS
        assert (await client.call("track:vehicle", ids[1_000]))["code"] == "subscription_limit"
        await live.publish(ids[1_000])
        await live.publish(ids[999])
        assert (await client.next("location:update"))["entityId"] == ids[999]


async def test_an_authorizer_refuses_known_and_unknown_entities_alike(
    serve: Serve, connect: Connect
) -> None:
    refused = {"success": False, "code": "unauthorized", "message": "Unauthorized"}
    async with (
        serve(extra_plugins=["tests.support.plugins.own_vehicles"]) as live,
        connect(live) as client,
    ):
        await live.server.tracking.publish_location_update(
            "vehicle",
            "u2-van",
            {
                "deviceId": "d",
                "userId": "u2",
                "latitude": 1,
                "longitude": 2,
                "timestamp": "2026-01-31T12:00:00Z",
            },
        )
        await client.emit("track:vehicle", "u2-van")
        assert await client.next("error") == "Unauthorized"
        assert await client.call("track:vehicle", "u2-van") == refused
        assert await client.call("track:vehicle", "u2-nothing") == refused
        assert await client.call("track:vehicle", ["u1-van", "u2-van"]) == refused
        await live.publish("u1-van")  # a refused list joins nothing
        assert await client.call("track:vehicle", "u1-car") == SUCCESS
        await live.publish("u1-car")
        assert (await client.next("location:update"))["entityId"] == "u1-car"
        assert len(client.updates) == 1


async def test_unknown_types_are_refused(live: Live, connect: Connect) -> None:
    async with connect(live) as client:
        for event in ("track:boat", "untrack:boat", "track:", "track:Vehicle", "track:vehicle:x"):
            answer = await client.call(event, "b1")
            assert (answer["success"], answer["code"]) == (False, "unknown_type"), event
        await client.emit("track:boat", "b1")
        said = "Unknown entity type 'boat'; known: delivery, vehicle"
        assert await client.next("error", 6) == said
        assert client.connected


BAD_TEXTS = ["", "a:b", "a\nb", "x" * 10_000, ["v1", ""]]
NO_TEXTS = [7, True, {}, [["v1"]], [7], ["v1", None]]


async def test_bad_ids_are_refused(live: Live, connect: Connect) -> None:
    refused = {
        "success": False,
        "code": "invalid_entity_id",
        "field": "entityId",
    }
    async with connect(live) as client:
        for count, bad in enumerate(BAD_TEXTS + NO_TEXTS, 1):
            message = "Invalid entity id" + (": it must be a string" if bad in NO_TEXTS else "")
            assert await client.call("track:vehicle", bad) == refused | {"message": message}, bad
            assert await client.next("error", count) == message
        assert await client.call("track:vehicle", "v2") == SUCCESS
        await live.publish("v1")
        await live.publish("v2")
        assert (await client.next("location:update"))["entityId"] == "v2"


async def test_a_missing_id_is_refused(live: Live, connect: Connect) -> None:
    async with connect(live) as client:
        for event in ("track:vehicle", "untrack:vehicle"):
            for arguments in ((), (None,)):
                answer = await client.call(event, *arguments)
                assert (answer["success"], answer["code"]) == (False, "bad_request")
                assert client.of("error")[-1] == answer["message"]

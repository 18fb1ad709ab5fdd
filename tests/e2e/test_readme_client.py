"""The documented TypeScript client and React hook run unchanged."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime import create_app
from tests.support.clients.node import script
from tests.support.servers.localhost import Recorder, serving_on_localhost
from tests.support.servers.serving import Live, config, serving, token, until

DOCUMENTED = {
    "client.ts": "32322a461b72b45c5361c12c518c438f0e04b2bd63f6d197edc4dd4e38b7ebee",
    "useVehicleTracking.ts": "fb3c81753f9219b5c4828c0dcd38fa67e310ec1e3e7dba78cde640fb789b19f7",
}

TYPESCRIPT = ("--import", "tsx")
"""Options of Node for importing TypeScript."""


def watched(live: Live) -> set[str]:
    """The rooms of the vehicles that are watched on a server."""
    rooms = live.server.socket_io.manager.rooms.get("/", {})
    return {room for room in rooms if room is not None and room.startswith("vehicle:")}


async def until_watched(live: Live, vehicle_id: str) -> None:
    """Wait until one vehicle is watched, and no other."""
    await until(lambda: watched(live) == {f"vehicle:{vehicle_id}"})


def location(speed: int, vehicle_id: str = "v1") -> dict[str, Any]:
    """The location that a client receives from :meth:`Live.publish`."""
    return {
        "deviceId": vehicle_id,
        "userId": "u1",
        "latitude": 52.6,
        "longitude": -8.6,
        "speed": speed,
        "timestamp": "2026-01-31T12:00:00.000Z",
    }


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_code_is_the_documented_code(node: Path, name: str) -> None:
    code = (node / "readme" / name).read_bytes()
    assert hashlib.sha256(code).hexdigest() == DOCUMENTED[name]


async def test_the_quick_start_client(node: Path, backend_url: str | None) -> None:
    """It connects to port 3001 of localhost, shows positions, and reconnects after a restart."""
    async with script(
        *TYPESCRIPT, "quick-start.mjs", AUTH_TOKEN=token(), VEHICLE_ID="v1"
    ) as client:
        for speed in (1, 2):
            app = create_app(config(redis_url=backend_url))
            client.printed.clear()
            async with serving_on_localhost(app, 3001) as live:
                await until_watched(live, "v1")
                await until(lambda: client.printed)
                assert client.printed[0] == ["Connected to tracking server"]
                await live.publish("v1", speed=speed, timestamp="2026-01-31T12:00:00Z")
                await live.publish("v2", speed=speed, timestamp="2026-01-31T12:00:00Z")
                await client.until_last_is(["New location:", location(speed)])


async def test_the_react_hook(node: Path, backend_url: str | None) -> None:
    app = Recorder(create_app(config(redis_url=backend_url)))
    async with (
        serving(app, portable=True) as live,  # the recorder sees what comes over ASGI
        script(*TYPESCRIPT, "hook.mjs", REACT_APP_WS_URL=live.url) as page,
    ):
        await page.send({"render": {"vehicleId": "v1", "token": token()}})
        await page.until_last_is({"location": None, "connected": True})
        await until_watched(live, "v1")
        assert live.server.connection_count == 1

        await live.publish("v1", speed=1, timestamp="2026-01-31T12:00:00Z")
        await page.until_last_is({"location": location(1), "connected": True})

        await page.send({"render": {"vehicleId": "v2", "token": token()}})
        await until_watched(live, "v2")
        await until(lambda: live.server.connection_count == 1)
        await live.publish("v1", speed=2, timestamp="2026-01-31T12:00:00Z")
        await live.publish("v2", speed=3, timestamp="2026-01-31T12:00:00Z")
        await page.until_last_is({"location": location(3, "v2"), "connected": True})

        app.sent.clear()
        await page.send({"unmount": True})
        await page.until_last_is(None)
        await until(lambda: live.server.connection_count == live.server.room_count == 0)
        sent = [each for each in app.sent if each != "5"]  # a slow machine upgrades late
        assert sent[:2] == ['42["untrack:vehicle","v2"]', "41"]


async def test_the_react_hook_shows_that_the_server_is_gone(
    node: Path, backend_url: str | None
) -> None:
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(serving(redis_url=backend_url))
        async with script(*TYPESCRIPT, "hook.mjs", REACT_APP_WS_URL=live.url) as page:
            await page.send({"render": {"vehicleId": "v1", "token": token()}})
            await until_watched(live, "v1")
            await live.publish("v1", speed=1, timestamp="2026-01-31T12:00:00Z")
            await page.until_last_is({"location": location(1), "connected": True})
            await stack.aclose()
            await page.until_last_is({"location": location(1), "connected": False})


async def test_the_react_hook_with_a_bad_token_is_disconnected(
    node: Path, backend_url: str | None
) -> None:
    async with (
        serving(redis_url=backend_url) as live,
        script(*TYPESCRIPT, "hook.mjs", REACT_APP_WS_URL=live.url) as page,
    ):
        await page.send({"render": {"vehicleId": "v1", "token": "letmein"}})
        incidents = live.server.incidents
        # once in the handshake and once with "authenticate"
        await until(lambda: incidents.counts.get("refused credentials", 0) >= 2)
        await until(lambda: live.server.connection_count == 0)
        await page.until_last_is({"location": None, "connected": False})
        assert watched(live) == set()

"""Which origins browsers may connect from, on sockets and over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDictProxy
from starlette.applications import Starlette
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from atriz_realtime import RealtimeExtension
from tests.support.clients.engineio import socket_url
from tests.support.clients.node import Node, js_connect
from tests.support.servers.serving import Live, config, serving, token

APP = "https://app.example"
OTHER = "https://evil.example"
LOCATION = "/api/tracking/location"
POLL = "/socket.io/?EIO=4&transport=polling"
UPDATE = {"vehicleId": "v1", "latitude": 52.6, "longitude": -8.6}

PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}

Headers = CIMultiDictProxy[str]


async def ask(
    live: Live, method: str, path: str, origin: str | None, headers: Mapping[str, str] = {}
) -> tuple[int, Headers]:
    """A browser's request; returns the status and the headers."""
    sent = {"Authorization": f"Bearer {token()}", **headers}
    if origin is not None:
        sent["Origin"] = origin
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method,
            live.url + path,
            headers=sent,
            json=UPDATE if (method, path) == ("POST", LOCATION) else None,
        ) as response,
    ):
        return response.status, response.headers


def allowed(headers: Headers) -> list[str]:
    """The origins that a response says may read it: none, or one."""
    return headers.getall("Access-Control-Allow-Origin", [])


async def test_http_allows_a_configured_origin() -> None:
    async with serving(cors_origin=[APP, "http://localhost:5173"]) as live:
        for origin in (APP, "http://localhost:5173"):
            status, headers = await ask(live, "POST", LOCATION, origin)
            assert (status, allowed(headers)) == (200, [origin])
            assert "Origin" in headers["Vary"]
            status, headers = await ask(live, "GET", "/api/tracking/boat", origin)
            assert (status, allowed(headers)) == (404, [origin])  # errors too
            status, headers = await ask(live, "OPTIONS", LOCATION, origin, PREFLIGHT)
            assert (status, allowed(headers)) == (200, [origin])
            assert "POST" in headers["Access-Control-Allow-Methods"]
            named = headers["Access-Control-Allow-Headers"].lower()
            assert "authorization" in named
            assert "content-type" in named


@pytest.mark.parametrize(
    "origin", [OTHER, "null", "https://app.example.evil", "http://app.example"]
)
async def test_http_does_not_allow_other_origins(origin: str) -> None:
    async with serving(cors_origin=APP) as live:
        status, headers = await ask(live, "POST", LOCATION, origin)
        assert (status, allowed(headers)) == (200, [])  # the browser does not let the page read it
        status, headers = await ask(live, "OPTIONS", LOCATION, origin, PREFLIGHT)
        assert (status, allowed(headers)) == (400, [])


async def test_requests_without_an_origin_are_served() -> None:
    async with serving(cors_origin=APP) as live:
        for path in (POLL, "/health/realtime"):
            status, headers = await ask(live, "GET", path, None)
            assert (status, allowed(headers)) == (200, [])


@pytest.mark.parametrize("configured", [APP, f"{APP}/", [APP], f"http://localhost:5173, {APP}"])
async def test_sockets_of_a_configured_origin_connect(
    configured: str | list[str], js: Node
) -> None:
    async with serving(cors_origin=configured) as live:
        status, headers = await ask(live, "GET", POLL, APP)
        assert (status, allowed(headers)) == (200, [APP])
        status, headers = await ask(live, "OPTIONS", POLL, APP, PREFLIGHT)
        assert (status, allowed(headers)) == (200, [APP])
        for transports in (["websocket"], ["polling"], ["polling", "websocket"]):
            connect = js_connect(js, transports=transports, extraHeaders={"Origin": APP})
            async with connect(live) as client:
                assert await client.call("track:vehicle", "v1") == {"success": True}


@pytest.mark.parametrize("origin", [OTHER, "null", "https://app.example.evil"])
async def test_sockets_of_other_origins_are_refused(origin: str, js: Node) -> None:
    async with serving(cors_origin=APP) as live:
        for method in ("GET", "POST", "OPTIONS"):
            status, headers = await ask(live, method, POLL, origin, PREFLIGHT)
            assert (status, allowed(headers)) == (403, ["*"])  # the page may read that, and no more
            assert "Access-Control-Allow-Credentials" not in headers
        with pytest.raises(InvalidStatus) as refused:
            await websocket(socket_url(live), origin=Origin(origin))
        assert refused.value.response.status_code == 403
        for transports in (["websocket"], ["polling"]):
            connect = js_connect(js, transports=transports, extraHeaders={"Origin": origin})
            async with connect(live, refused=True):
                pass
        assert not live.server.socket_io.eio.sockets


WRONG_PATH = f"/live{POLL}"


@pytest.mark.parametrize("settings", [{}, {"cors_origin": APP}, {"cors_origin": "*"}])
async def test_every_page_may_read_that_nobody_serves_a_path(settings: dict[str, Any]) -> None:
    async with serving(**settings) as live:
        for method in ("GET", "POST"):
            for origin in (APP, OTHER, "null", None):
                status, headers = await ask(live, method, WRONG_PATH, origin)
                assert (status, allowed(headers)) == (404, ["*"])
                assert "Access-Control-Allow-Credentials" not in headers
        url = socket_url(live).replace("/socket.io/", "/live/socket.io/")
        with pytest.raises(InvalidStatus) as refused:
            await websocket(url, origin=Origin(APP))
        assert refused.value.response.status_code == 403


async def test_a_host_answers_for_its_other_paths_itself() -> None:
    app = Starlette()
    app.state.realtime = RealtimeExtension(config(cors_origin=APP)).install(app)
    async with serving(app) as live:
        status, headers = await ask(live, "GET", WRONG_PATH, APP)
        assert (status, allowed(headers)) == (404, [])


async def test_a_star_allows_every_origin() -> None:
    async with serving(cors_origin="*") as live:
        for origin in (APP, OTHER, "null"):
            status, headers = await ask(live, "POST", LOCATION, origin)
            assert status == 200
            assert allowed(headers) in (["*"], [origin])
            status, headers = await ask(live, "GET", POLL, origin)
            assert status == 200
            assert allowed(headers) in (["*"], [origin])
            async with websocket(socket_url(live), origin=Origin(origin)) as raw:
                assert str(await raw.recv()).startswith("0{")


async def test_by_default_only_the_server_s_own_origin_is_allowed() -> None:
    async with serving() as live:
        status, headers = await ask(live, "GET", POLL, live.url)
        assert status == 200
        async with websocket(socket_url(live), origin=Origin(live.url)) as raw:
            assert str(await raw.recv()).startswith("0{")
        status, headers = await ask(live, "GET", POLL, OTHER)
        assert (status, allowed(headers)) == (403, ["*"])  # the page may read that, and no more
        with pytest.raises(InvalidStatus):
            await websocket(socket_url(live), origin=Origin(OTHER))
        status, headers = await ask(live, "POST", LOCATION, OTHER)
        assert (status, allowed(headers)) == (200, [])
        status, headers = await ask(live, "OPTIONS", LOCATION, OTHER, PREFLIGHT)
        assert (status, allowed(headers)) == (405, [])

"""What the routes of plugins read, and which methods pages may call them with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atriz_realtime import RealtimeExtension
from tests.support.plugins.files import Plugins
from tests.support.servers.serving import Live, config, serving

PAGE = "https://app.example"
LIMIT = 100_000

ROUTES = """
from starlette.responses import Response
from starlette.routing import Route

@hookimpl
def register_routes():
    async def put(request):
        return Response(str(len(await request.body())))
    async def echo(request):
        return Response(encode_json(await json_object_of(request)))
    return [
        Route("/notes/{name}", put, methods=["PUT", "PATCH"]),
        Route("/echo", echo, methods=["POST"]),
    ]
"""


@pytest.fixture(params=[False, True], ids=["fast", "portable"])
async def live(request: pytest.FixtureRequest, plugins: Plugins) -> AsyncIterator[Live]:
    """A server with a route that reads its body."""
    extra = [plugins.module("notes", ROUTES)]
    portable: bool = request.param
    async with serving(
        portable=portable, extra_plugins=extra, max_body=LIMIT, cors_origin=PAGE
    ) as live:
        yield live


async def chunks(size: int) -> AsyncIterator[bytes]:
    """A body without a length."""
    for _ in range(size // 1_000):
        yield bytes(1_000)


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_of_a_route_has_a_bound(
    live: Live, is_chunked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def put(size: int) -> tuple[int, bytes]:
        body = chunks(size) if is_chunked else bytes(size)
        async with session.put(f"{live.url}/notes/a", data=body) as answer:
            return answer.status, await answer.read()

    async with aiohttp.ClientSession() as session:
        assert await put(LIMIT) == (200, str(LIMIT).encode())
        status, text = await put(LIMIT + 1_000)
    assert status == 413
    assert b'"payload_too_large"' in text
    assert "refused payload_too_large" in caplog.text


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        (b'{"a":1}', 200, b'{"a":1}'),
        (b"[1]", 400, b"the body must be a JSON object"),
        (b"{", 400, b"broken JSON"),
        (b'{"a":NaN}', 400, b"broken JSON"),
        (b"", 400, b"broken JSON"),
        (bytes(LIMIT + 1), 413, b"payload_too_large"),
    ],
)
async def test_a_route_reads_a_json_object(
    live: Live, body: bytes, status: int, part: bytes
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{live.url}/echo", data=body) as answer,
    ):
        assert answer.status == status
        assert part in await answer.read()


async def test_the_host_s_own_routes_have_no_bound() -> None:
    async def put(request: Request) -> Response:
        return Response(str(len(await request.body())))

    app = Starlette(routes=[Route("/own", put, methods=["PUT"])])
    app.state.realtime = RealtimeExtension(config(max_body=10)).install(app)
    async with (
        serving(app) as live,
        aiohttp.ClientSession() as session,
        session.put(f"{live.url}/own", data=bytes(50_000)) as answer,
    ):
        assert await answer.text() == "50000"


async def preflight(live: Live, method: str, origin: str) -> tuple[int, str]:
    """Ask as a browser does; returns the status, and the methods that are allowed."""
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    async with (
        aiohttp.ClientSession() as session,
        session.options(f"{live.url}/notes/a", headers=headers) as answer,
    ):
        return answer.status, answer.headers.get("Access-Control-Allow-Methods", "")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_page_may_call_a_route_with_every_usual_method(live: Live, method: str) -> None:
    status, methods = await preflight(live, method, PAGE)
    assert status == 200
    assert method in methods.split(", ")


async def test_refused_preflights_are_logged(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    assert (await preflight(live, "PUT", "https://evil.example"))[0] == 400
    assert (await preflight(live, "PURGE", PAGE))[0] == 400
    assert "origin refused: 'https://evil.example'; client 127.0.0.1" in caplog.text
    refused = "no page may use the method 'PURGE'; client 127.0.0.1"
    assert f"preflight refused: '{PAGE}': {refused}" in caplog.text

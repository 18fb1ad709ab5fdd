"""A service with several workers of its own uvicorn, in the ways that the documents describe."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from atriz_realtime.testing import Live, token, until, watching
from tests.cli.processes import UVICORN, environment, serve, started

SERVICE = '''
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from atriz_realtime import Location, RealtimeExtension


class Marked:
    """Marks each answer that goes through the middleware."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def marked(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-marked", b"yes")]
            await send(message)

        await self.app(scope, receive, marked)


async def arrived(request):
    caller = await realtime.identity_of(request)
    stop = Location(
        device_id="stop",
        user_id=caller.user_id,
        latitude=52.659,
        longitude=-8.624,
        timestamp=datetime.now(UTC),
    )
    await realtime.tracking.publish_location_update("vehicle", request.path_params["bus"], stop)
    await realtime.send_to_user(caller.user_id, "arrived", {})
    return JSONResponse({})


app = Starlette(
    routes=[Route("/arrived/{bus}", arrived, methods=["POST"])], middleware=[Middleware(Marked)]
)
realtime = RealtimeExtension().install(app)
Http, Ws = realtime.http_protocol(), realtime.websocket_protocol()
'''

HEADERS = {"Authorization": f"Bearer {token()}"}


@asynccontextmanager
async def service(folder: Path, redis_url: str, *options: str) -> AsyncIterator[str]:
    """Two workers of the service; gives its URL."""
    (folder / "served.py").write_text(SERVICE)
    arguments = ("served:app", "--workers", "2", "--port", "0", *options)
    env = environment(REDIS_URL=redis_url)
    async with started(*arguments, env=env, cwd=folder, program=UVICORN) as command:
        said = re.search(r"http://[\d.]+:\d+", await command.until_said("Uvicorn running on"))
        assert said is not None
        try:
            await until(lambda: sum("startup complete" in line for line in command.err) == 2)
            yield said[0]
        finally:
            await command.ended(signal.SIGTERM)


async def test_workers_import_the_faster_protocols_by_name(tmp_path: Path, redis_url: str) -> None:
    faster = ("--http", "served:Http", "--ws", "served:Ws", "--timeout-graceful-shutdown", "3")
    async with AsyncExitStack() as open_now:
        url = await open_now.enter_async_context(service(tmp_path, redis_url, *faster))
        live = Live(None, int(url.rpartition(":")[2]))
        watchers = [await open_now.enter_async_context(watching(live, "bus-7")) for _ in range(4)]
        fix = {"vehicleId": "bus-7", "latitude": 52.6, "longitude": -8.6}
        async with aiohttp.ClientSession(headers=HEADERS) as session:
            async with session.post(url + "/api/tracking/location", json=fix) as answer:
                assert (answer.status, answer.headers.get("x-marked")) == (200, None)
            async with session.get(url + "/elsewhere") as answer:
                assert (answer.status, answer.headers.get("x-marked")) == (404, "yes")
        await until(lambda: all(watcher.updates for watcher in watchers))


async def test_a_live_server_beside_the_service_serves_polling_clients(
    tmp_path: Path, redis_url: str
) -> None:
    env = environment(REDIS_URL=redis_url)
    async with AsyncExitStack() as open_now:
        url = await open_now.enter_async_context(service(tmp_path, redis_url))
        served = await open_now.enter_async_context(serve("--workers", "2", env=env))
        await served.command.until_said('"event": "workers ready"')
        live = Live(None, served.port)
        watchers = [
            await open_now.enter_async_context(watching(live, "bus-7", polling=polling))
            for polling in (True, True, True, True, False)
        ]
        async with (
            aiohttp.ClientSession(headers=HEADERS) as session,
            session.post(url + "/arrived/bus-7") as answer,
        ):
            assert answer.status == 200
        await until(lambda: all(each.updates and each.of("arrived") for each in watchers))
        assert {each.updates[0]["location"]["deviceId"] for each in watchers} == {"stop"}

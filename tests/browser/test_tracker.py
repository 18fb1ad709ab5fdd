"""What a page is told that may not connect, whose browser hides the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from playwright.async_api import Page
from starlette.applications import Starlette

from atriz_realtime import RealtimeExtension
from atriz_realtime.testing.serving import free_port
from atriz_realtime.testing.web import on_uvicorn, port_of
from tests.browser.chromium import Complaints, leaving
from tests.browser.react import serving_it
from tests.support.clients.frontend_project import frontend_project, run
from tests.support.servers.serving import config, serving, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENTRY = """
import { createTracker } from '@atriz/realtime-client';

window.createTracker = createTracker;
window.connect = async (url, options) => {
  const tracker = createTracker(url, options);
  const errors = [];
  tracker.onError(({ code }) => errors.push(code));
  const reported = new Promise((resolve) => tracker.onError(resolve));
  const outcome = tracker.track('vehicle', 'v1').then(() => 'tracked', ({ code }) => code);
  await reported;
  const ended = options.awaited ? 'awaited' : await outcome;
  const { status } = tracker;
  tracker.close();
  return { errors, ended, status };
};
"""

TRANSPORTS = pytest.mark.parametrize("transports", [["polling", "websocket"], ["websocket"]])


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page's script that connects a tracker, and says what became of it."""
    folder = frontend_project(tmp_path_factory.mktemp("tracker"))
    (folder / "entry.js").write_text(ENTRY)
    return run(folder, "esbuild", "entry.js", "--bundle")


@asynccontextmanager
async def page_of(page: Page, script: str) -> AsyncIterator[str]:
    """Serve the page, and open it; yields its origin."""
    web = uvicorn.Config(serving_it(script), port=0, log_config=None)
    async with on_uvicorn(web) as server, leaving(page):
        origin = f"http://127.0.0.1:{port_of(server)}"
        await page.goto(origin)
        yield origin


async def outcome(page: Page, url: str, transports: list[str], **options: Any) -> Any:
    given = {"token": token(), "transports": transports, **options}
    return await page.evaluate("([url, options]) => connect(url, options)", [url, given])


@TRANSPORTS
async def test_a_page_of_another_origin_is_refused(
    page: Page, script: str, complaints: Complaints, transports: list[str]
) -> None:
    complaints.expect("403|WebSocket")
    async with serving() as live, page_of(page, script):
        assert await outcome(page, live.url, transports) == {
            "errors": ["origin_refused"],
            "ended": "origin_refused",
            "status": "refused",
        }
        assert live.server.incidents.counts["origin refused"] >= 2


@TRANSPORTS
async def test_a_wrong_path_is_refused(
    page: Page, script: str, complaints: Complaints, transports: list[str]
) -> None:
    complaints.expect("404|WebSocket")
    async with page_of(page, script) as own:
        assert await outcome(page, own, transports, path="/nowhere/") == {
            "errors": ["wrong_path"],
            "ended": "wrong_path",
            "status": "refused",
        }


@TRANSPORTS
@pytest.mark.parametrize("settings", [{"cors_origin": "*"}, {}], ids=["listed", "not listed"])
async def test_a_wrong_path_of_another_origin_is_refused(
    page: Page,
    script: str,
    complaints: Complaints,
    transports: list[str],
    settings: dict[str, Any],
) -> None:
    complaints.expect("404|WebSocket")
    async with serving(**settings) as live, page_of(page, script):
        assert await outcome(page, live.url, transports, path="/nowhere/") == {
            "errors": ["wrong_path"],
            "ended": "wrong_path",
            "status": "refused",
        }


@TRANSPORTS
async def test_an_answer_that_the_browser_hides_is_reported_and_awaited(
    page: Page, script: str, complaints: Complaints, transports: list[str]
) -> None:
    """A proxy may answer so while the server behind it is away."""
    complaints.expect("CORS|ERR_FAILED|404|WebSocket")
    async with on_uvicorn(uvicorn.Config(Starlette(), port=0, log_config=None)) as other:
        url = f"http://127.0.0.1:{port_of(other)}"
        async with page_of(page, script):
            assert await outcome(page, url, transports, awaited=True) == {
                "errors": ["unreadable"],
                "ended": "awaited",
                "status": "connecting",
            }


@TRANSPORTS
async def test_a_port_where_nothing_listens_is_unreachable(
    page: Page, script: str, complaints: Complaints, transports: list[str]
) -> None:
    complaints.expect("ERR_CONNECTION_REFUSED")
    async with page_of(page, script):
        url = f"http://127.0.0.1:{free_port()}"
        assert await outcome(page, url, transports, awaited=True) == {
            "errors": ["unreachable"],
            "ended": "awaited",
            "status": "connecting",
        }


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_page_without_a_network_says_so_at_once(
    page: Page, script: str, complaints: Complaints, host: str
) -> None:
    """Also if the server is on the same machine, as during development."""
    complaints.expect("ERR_INTERNET_DISCONNECTED")
    app = serving_it(script)
    app.state.realtime = RealtimeExtension(config()).install(app)
    async with serving(app) as live, leaving(page):
        await page.goto(f"http://{host}:{live.port}")
        await page.evaluate(
            "token => void (window.tracker = createTracker(location.origin, { token }))", token()
        )
        await page.wait_for_function("tracker.status === 'connected'")
        await page.context.set_offline(True)
        try:
            await page.wait_for_function("tracker.status === 'reconnecting'")
        finally:
            await page.context.set_offline(False)
        await page.wait_for_function("tracker.status === 'connected'")
        await page.evaluate("tracker.close()")

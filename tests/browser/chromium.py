"""Debian's Chromium under Playwright, and the errors of its pages."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Error,
    Page,
    Route,
    WebSocketRoute,
    async_playwright,
)

from tests.support.clients.node import JS, with_packages
from tests.support.servers.serving import TIMEOUT

NAMES = ("chromium", "chromium-browser", "google-chrome")

MISSING = "no Chromium: apt-get install --no-install-recommends chromium fonts-dejavu-core"

FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # other hosts do not resolve, so that a page that sends requests to them fails its test
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def executable() -> str:
    """The path of Chromium; without one the test fails, since browser tests are never skipped."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail(MISSING, pytrace=False)
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a browser."""
    path = executable()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path,
            args=FLAGS,
            chromium_sandbox=os.geteuid() != 0,  # as root Chromium starts only without it
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def leaving(page: Page) -> AsyncIterator[None]:
    """Leave a page at the end, so that it does not log errors when its server closes."""
    yield
    await page.goto("about:blank")


async def from_packages(route: Route) -> None:
    """Answer a request to unpkg.com with the file of the installed package."""
    found = re.fullmatch(r"https://unpkg\.com/([^@]+)@[^/]+/(.+)", route.request.url)
    assert found is not None, route.request.url
    await route.fulfill(
        path=with_packages(JS) / "node_modules" / found[1] / found[2],
        headers={"Access-Control-Allow-Origin": "*"},  # modules need it
    )


class Complaints:
    """Collects the errors of pages: uncaught exceptions, and errors on the console.

    A browser logs every response from status 400 on and every connection that fails, so a test
    that causes one declares it with :meth:`expect`.
    """

    def __init__(self) -> None:
        self._seen: list[str] = []
        self._expected: list[re.Pattern[str]] = []

    def expect(self, pattern: str) -> None:
        """Ignore errors in which a regular expression matches."""
        self._expected.append(re.compile(pattern))

    def listen(self, page: Page) -> None:
        """Collect the errors of a page."""
        page.set_default_timeout(TIMEOUT * 1_000)
        page.on("pageerror", self._raised)
        page.on("console", self._written)

    @property
    def unexpected(self) -> list[str]:
        """The errors that the test does not expect."""
        return [
            each
            for each in self._seen
            if not any(pattern.search(each) for pattern in self._expected)
        ]

    def _raised(self, error: Error) -> None:
        self._seen.append(error.stack or error.message)

    def _written(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            where = message.location.get("url", "")
            self._seen.append(f"{message.text} ({where})")


@asynccontextmanager
async def unanswered(page: Page, pattern: str | re.Pattern[str]) -> AsyncIterator[None]:
    """Let requests and WebSockets of a page wait; it is left at the end."""
    over = asyncio.Event()

    async def hold(route: Route) -> None:
        await over.wait()
        with suppress(Error):  # the page is gone
            await route.abort()

    def hold_socket(route: WebSocketRoute) -> None:
        if over.is_set():  # a route of WebSockets stays for as long as its page
            route.connect_to_server()

    await page.route(pattern, hold)
    await page.route_web_socket(pattern, hold_socket)
    try:
        yield
        await page.goto("about:blank")
    finally:
        over.set()
        await page.unroute_all(behavior="wait")

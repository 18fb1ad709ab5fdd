"""Debian's Chromium under Playwright, and pages that tell what goes wrong in them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright

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
    # whatever is not of this machine does not exist: a page that asks for it fails its test
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def executable() -> str:
    """Where Chromium is; without one the test fails, as no browser test is ever left out."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail(MISSING, pytrace=False)
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A running browser."""
    path = executable()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path,
            args=FLAGS,
            chromium_sandbox=os.geteuid() != 0,  # it refuses to start as root with one
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def leaving(page: Page) -> AsyncIterator[None]:
    """Leave a page at the end, so that it does not miss a server that is closed after."""
    yield
    await page.goto("about:blank")


class Complaints:
    """Errors of pages: exceptions that nobody caught, and what the console has as an error.

    A browser writes of every answer above 399, and of every connection that ends, so a test
    that brings one about says so.
    """

    def __init__(self) -> None:
        self._seen: list[str] = []
        self._expected: list[re.Pattern[str]] = []

    def expect(self, pattern: str) -> None:
        """Let errors pass that this regular expression finds something in."""
        self._expected.append(re.compile(pattern))

    def listen(self, page: Page) -> None:
        """Take down what goes wrong on a page."""
        page.set_default_timeout(TIMEOUT * 1_000)
        page.on("pageerror", self._raised)
        page.on("console", self._written)

    @property
    def unexpected(self) -> list[str]:
        """What no test has said would come."""
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

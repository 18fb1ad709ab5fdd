"""A browser for each test module, with a new profile for each test.

Objects of Playwright belong to one event loop, so a module of browser tests sets::

    pytestmark = pytest.mark.asyncio(loop_scope="module")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser.chromium import Complaints, chromium

NewPage = Callable[..., Awaitable[Page]]
"""Opens a page in a new profile; takes the arguments of ``Browser.new_context``."""

SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}

BOTH_SIZES = pytest.mark.parametrize("page", SIZES, indirect=True)
"""Runs a test that takes a page at both sizes."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium."""
    async with chromium() as browser:
        yield browser


@pytest.fixture
def complaints() -> Complaints:
    """Errors of pages; the test must expect them."""
    return Complaints()


@pytest_asyncio.fixture(loop_scope="module")
async def new_page(browser: Browser, complaints: Complaints) -> AsyncIterator[NewPage]:
    """Opens pages; the test fails when one has an unexpected error."""
    async with AsyncExitStack() as opened:

        async def new_page(**options: Any) -> Page:
            context = await browser.new_context(**options)
            opened.push_async_callback(context.close)
            page = await context.new_page()
            complaints.listen(page)
            return page

        yield new_page
    assert complaints.unexpected == []


@pytest_asyncio.fixture(loop_scope="module")
async def page(request: pytest.FixtureRequest, new_page: NewPage) -> Page:
    """A page of a common desktop size, or of the size that :data:`BOTH_SIZES` gives it."""
    return await new_page(**SIZES[getattr(request, "param", "desktop")])

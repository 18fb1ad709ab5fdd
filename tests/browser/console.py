"""Opens the live map in a browser, and reads the pixels of its canvas."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from playwright.async_api import Locator, Page, expect

from tests.support.servers.serving import TIMEOUT, Live, token

SLOW = 20_000
"""Milliseconds until a page that has just been opened is connected, on a busy machine."""

CONNECTED = re.compile("^(connected|delayed)$")

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
}

LANDSCAPE: dict[str, Any] = {**PHONE, "viewport": {"width": 844, "height": 390}}

PLACED = """rows => rows
    .sort((one, other) => one.ariaPosInSet - other.ariaPosInSet)
    .map(row => row.querySelector('.title').textContent)"""

ON = {"console": {"enabled": True}}
"""Plugin settings that enable the live map."""

SEEN = """() => {
    const canvas = document.querySelector('canvas.marks');
    const { width, height } = canvas;
    const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
    let [count, x, y, alpha] = [0, 0, 0, 0];
    for (let index = 3; index < data.length; index += 4) {
        if (data[index] === 0) continue;
        const pixel = (index - 3) / 4;
        count += 1;
        x += pixel % width;
        y += Math.floor(pixel / width);
        alpha = Math.max(alpha, data[index]);
    }
    return { count, x: x / count, y: y / count, alpha };
}"""


@attrs.frozen
class Seen:
    """The painted pixels: their number, their centre, and their highest alpha (255: opaque)."""

    count: int
    x: float
    y: float
    alpha: int


async def seen(page: Page) -> Seen:
    """Read the canvas."""
    return Seen(**await page.evaluate(SEEN))


async def until_seen(page: Page, condition: Callable[[Seen], bool]) -> Seen:
    """Wait until the canvas meets a condition."""
    async with asyncio.timeout(TIMEOUT):
        while not condition(found := await seen(page)):
            await page.evaluate("() => new Promise(requestAnimationFrame)")
    return found


async def open_console(page: Page, live: Live, user: str = "u1", **claims: Any) -> None:
    """Sign in with a token in the address, as the demo prints it, and wait for the connection."""
    await page.goto(f"{live.url}/console#token={token(user, **claims)}")
    await expect(page.locator("#status")).to_have_attribute("data-status", CONNECTED, timeout=SLOW)


async def open_link(page: Page, live: Live, fragment: str) -> None:
    """Open an address of the console in the tab that has signed in."""
    await page.goto("about:blank")
    await page.goto(f"{live.url}/console#{fragment}")
    await expect(page.locator("#status")).to_have_attribute("data-status", CONNECTED, timeout=SLOW)


def row(page: Page, entity_id: str) -> Locator:
    """The row of an entity in the list."""
    escaped = re.escape(entity_id).replace("/", r"\/")  # as JavaScript needs it
    return page.get_by_role("option", name=re.compile(f"^{escaped},"))


def card(page: Page, name: str) -> Locator:
    """The card of the chosen entity."""
    return page.get_by_role("region", name=name, exact=True)


async def listed(page: Page) -> list[str]:
    """What the visible rows are called, from the top."""
    rows = await page.locator(".row:not([hidden])").evaluate_all(PLACED)
    return [str(each) for each in rows]


async def set_preference(page: Page, *labels: str) -> None:
    """Check or clear controls of the settings menu, with a finger where there is one."""
    touches = await page.evaluate("navigator.maxTouchPoints > 0")
    menu = page.get_by_role("dialog", name="Settings")
    for control in (
        page.get_by_role("button", name="Settings"),
        *(menu.get_by_label(label, exact=True) for label in labels),
        menu.get_by_role("button", name="Done"),
    ):
        await (control.tap() if touches else control.click())


def ago(**length: float) -> str:
    """A timestamp in the past."""
    return (datetime.now(UTC) - timedelta(**length)).isoformat()

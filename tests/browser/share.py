"""Makes shares and opens their page in a browser."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.support.servers.serving import Live, until

SHARES = "/api/tracking/shares"

URL = {"url": "https://live.example.com"}

FIELDS = {
    "name": "order",
    "status": "status",
    "since": "since",
    "driver": "driver.name",
    "plate": "plate",
    "eta": "eta",
    "destination": "to",
}

CUSTOMER: dict[str, Any] = URL | {
    "fields": FIELDS,
    "brand_name": "Shannon Parcels",
    "brand_colour": "#ffcc00",
    "privacy_url": "https://www.example.com/privacy",
    "contact_url": "mailto:help@example.com",
}
"""The table of a company that shows its customers all there is."""

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
LANDSCAPE: dict[str, Any] = {"viewport": {"width": 844, "height": 390}, "has_touch": True}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}

NOT_FOUND = r"status of 40[14] .*/api/tracking/vehicle/"
"""What a browser logs when there is no position yet, or the link is no good."""

HERE = {"latitude": 52.66, "longitude": -8.63}
THERE = {"latitude": 52.675, "longitude": -8.6, "label": "12 Mill Road"}

MARKED = """() => {
  const canvas = document.querySelector('canvas.marks');
  if (canvas === null || canvas.width === 0) return false;
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  let [count, x, y] = [0, 0, 0];
  for (let at = 3; at < data.length; at += 4) {
    if (data[at] === 0) continue;
    const pixel = (at - 3) / 4;
    [count, x, y] = [count + 1, x + pixel % width, y + Math.floor(pixel / width)];
  }
  if (count === 0) return false;
  const { left, top } = canvas.getBoundingClientRect();
  return { x: left + x / count / devicePixelRatio, y: top + y / count / devicePixelRatio };
}"""
"""Where the marker is drawn, in the window; false: nowhere."""

CENTRED = """() => {
  const canvas = document.querySelector('canvas.marks');
  if (canvas === null || canvas.width === 0) return false;
  const middle = [canvas.width / 2 - 2, canvas.height / 2 - 2, 4, 4];
  return canvas.getContext('2d').getImageData(...middle).data.some((each) => each > 0);
}"""
"""Whether something is drawn in the centre of the map."""


async def shared(live: Live, entity_id: str, seconds: int = 5_400, **said: Any) -> dict[str, Any]:
    """Make a share of a vehicle."""
    body = {"type": "vehicle", "entityId": entity_id, "seconds": seconds, **said}
    status, made = await live.post(SHARES, body)
    assert status == 201, made
    found: dict[str, Any] = made
    return found


async def opened(page: Page, live: Live, share: dict[str, Any], query: str = "") -> None:
    """Open the page of a share, and wait until its entity is tracked."""
    rooms = live.server.socket_io.manager.rooms
    await page.goto(f"{live.url}/track/{query}#{share['token']}")
    await until(lambda: f"vehicle:{share['entityId']}" in rooms.get("/", {}))


async def moved(live: Live, entity_id: str, **fields: Any) -> None:
    """Publish a fix."""
    await live.publish(entity_id, **(HERE | {"speed": 42.3, "heading": 50} | fields))


async def ended(live: Live, share: dict[str, Any], reason: str | None = None) -> None:
    """End a share."""
    query = "" if reason is None else f"?reason={reason}"
    answer = await live.request("DELETE", f"{SHARES}/{share['id']}{query}")
    assert answer == (200, {"success": True})


async def connected(page: Page, state: str = "live") -> None:
    """Wait for a state of the page."""
    await expect(page.locator("#state")).to_have_attribute("data-state", state)


def fact(page: Page, name: str) -> Locator:
    """The value of a fact on the card."""
    return page.locator(f"#fact-{name} .value")

"""The page of a share with a link that somebody has changed, and around the edges of the world."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.chromium import Complaints, leaving, unanswered
from tests.browser.conftest import NewPage
from tests.browser.console import ON, open_console, open_link
from tests.browser.share import (
    CUSTOMER,
    MARKED,
    NOT_FOUND,
    connected,
    fact,
    moved,
    opened,
    shared,
)
from tests.support.servers.serving import Live, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

OVER = "This sharing has ended"


@pytest.fixture(autouse=True)
def not_found(complaints: Complaints) -> None:
    """Expect the refused requests of pages without a position, or with an invalid link."""
    complaints.expect(NOT_FOUND)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live() -> AsyncIterator[Live]:
    async with serving(plugins={"sharing": CUSTOMER}) as live:
        yield live


def changed(token: str, **claims: Any) -> str:
    """A token with other claims and the old signature."""
    header, body, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "==")) | claims
    encoded = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
    return f"{header}.{encoded}.{signature}"


async def test_nothing_of_a_link_is_shown_before_the_server_accepts_it(
    page: Page, live: Live
) -> None:
    share = await shared(live, "bait", name="Your parcel")
    place = {"latitude": 52.6, "longitude": -8.6, "label": "Evil Road"}
    said = {"name": "Pay at evil.example", "status": "Customs due", "driver": "Eve"}
    token = changed(share["token"], **said, destination=place)
    async with unanswered(page, "**/socket.io/**"):
        await page.goto(f"{live.url}/track/#{token}")
        await expect(page.locator("#end")).to_contain_text("Sharing ends")
        text = await page.locator("body").inner_text()
        assert not any(each in text for each in ("evil", "Evil", "Customs", "Eve"))
        assert "evil" not in await page.title()
        assert await page.locator(".leaflet-container").count() == 0
    await page.goto("about:blank")
    await page.goto(f"{live.url}/track/#{token}")
    await expect(page.get_by_role("heading", name=OVER)).to_be_focused()
    assert "evil" not in await page.locator("body").inner_text()


async def test_a_link_without_a_position_has_its_name_once_it_is_accepted(
    page: Page, live: Live
) -> None:
    place = {"latitude": 52.6, "longitude": -8.6, "label": "Mill Road"}
    await opened(page, live, await shared(live, "quiet", name="Your parcel", destination=place))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Your parcel")
    await expect(fact(page, "destination")).to_have_text("Mill Road")
    await expect(page.locator(".pin span")).to_have_text("Mill Road")


@pytest.mark.parametrize("end", [1e308, -1e308, 1e13])
async def test_a_link_that_ends_at_no_date_is_over(page: Page, live: Live, end: float) -> None:
    share = await shared(live, "endless")
    await page.goto(f"{live.url}/track/#{changed(share['token'], exp=end)}")
    await expect(page.get_by_role("heading", name=OVER)).to_be_visible()


async def test_a_step_is_a_word_and_no_property(page: Page) -> None:
    table = CUSTOMER | {"steps": ["constructor", "here"]}
    async with serving(plugins={"sharing": table}) as live, leaving(page):
        await moved(live, "v1", metadata={"status": "constructor"})
        await opened(page, live, await shared(live, "v1"))
        await expect(page.get_by_role("heading", level=1)).to_have_text("constructor")


async def test_the_time_of_a_status_is_not_that_of_the_next_one(page: Page, live: Live) -> None:
    old = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    await moved(live, "late", metadata={"status": "on_the_way", "since": old})
    await opened(page, live, await shared(live, "late"))
    await connected(page)
    now = datetime.now(UTC)
    await moved(live, "late", metadata={"status": "delivered"}, timestamp=now.isoformat())
    at = await page.evaluate(
        """at => new Intl.DateTimeFormat(navigator.language,
          {hour: 'numeric', minute: '2-digit'}).format(at)""",
        now.timestamp() * 1_000,
    )
    await expect(page.locator("#over h1")).to_have_text(f"Delivered at {at}")


async def test_a_link_without_the_status_ends_with_the_last_step(page: Page, live: Live) -> None:
    await moved(live, "named", metadata={"order": "Order 7", "status": "on_the_way"})
    await opened(page, live, await shared(live, "named", show=["name"]))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Order 7")
    await moved(live, "named", metadata={"order": "Order 7", "status": "delivered"})
    await expect(page.locator("#over h1")).to_contain_text("Delivered at")
    await page.reload()
    await expect(page.locator("#over h1")).to_contain_text("Delivered at")


@pytest.mark.parametrize(
    ("locale", "hour", "said"),
    [
        ("es-ES", 1, "a la 01:05"),
        ("es-ES", 14, "a las 14:05"),
        ("es-MX", 13, "a la 1:05"),
        ("pt-BR", 1, "à 01:05"),
        ("en-IE", 1, "at 01:05"),
    ],
)
async def test_one_o_clock_is_singular(
    new_page: NewPage, live: Live, locale: str, hour: int, said: str
) -> None:
    page = await new_page(locale=locale, timezone_id="UTC")
    share = await shared(live, f"one-{locale}-{hour}")
    ends = datetime.now(UTC).replace(hour=hour, minute=5, second=0, microsecond=0)
    async with unanswered(page, "**/socket.io/**"):
        token = changed(share["token"], exp=ends.timestamp())
        await page.goto(f"{live.url}/track/#{token}")
        await expect(page.locator("#end")).to_contain_text(said)


# -- the antimeridian ------------------------------------------------------------------------

IN_VIEW = """() => {
  const pin = document.querySelector('.pin svg').getBoundingClientRect();
  const map = document.querySelector('#map').getBoundingClientRect();
  return pin.left >= map.left && pin.right <= map.right;
}"""


@pytest.mark.parametrize("side", [1, -1])
async def test_marker_and_destination_on_both_sides_are_close(
    page: Page, live: Live, side: int
) -> None:
    ship = f"ship{side}"
    port = {"latitude": 0, "longitude": 179.99 * side, "label": "Port"}
    await moved(live, ship, latitude=0, longitude=179.97 * side)
    await opened(page, live, await shared(live, ship, destination=port))
    await page.wait_for_function(MARKED)
    await page.wait_for_function(IN_VIEW)
    await moved(live, ship, latitude=0, longitude=-179.999 * side)
    await expect(page.locator(".leaflet-control-scale")).to_have_text(re.compile("^[235]00 m$"))
    await page.wait_for_function(IN_VIEW)
    await page.wait_for_function(MARKED)


SPAN = """() => {
  const canvas = document.querySelector('canvas.marks');
  if (canvas === null || canvas.width === 0) return -1;
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  let [least, most] = [width, -1];
  for (let at = 3; at < data.length; at += 4) {
    if (data[at] === 0) continue;
    const x = ((at - 3) / 4) % width;
    [least, most] = [Math.min(least, x), Math.max(most, x)];
  }
  return (most - least) / devicePixelRatio;
}"""
"""How wide the part of the map is where a marker or its trail is drawn, in pixels."""

TWO_FRAMES = """() => new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(done));
})"""


async def test_a_trail_takes_the_shorter_way_round_the_world(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await moved(live, "ship", latitude=0, longitude=179.998)
        await open_console(page, live)
        await open_link(page, live, "vehicle/ship")
        await page.wait_for_function(f"() => ({SPAN})() > 0")
        await moved(live, "ship", latitude=0, longitude=-179.998)
        await expect(page.locator("#details")).to_contain_text("-179.998")
        await page.evaluate(TWO_FRAMES)
        span = await page.wait_for_function(f"() => [({SPAN})()].find((each) => each > 0)")
        assert await span.json_value() < 600

"""What a customer sees of a delivery: name, destination, progress, brand and language."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.chromium import Complaints, leaving
from tests.browser.conftest import BOTH_SIZES, NewPage
from tests.browser.share import (
    CUSTOMER,
    DESKTOP,
    HERE,
    LANDSCAPE,
    MARKED,
    NOT_FOUND,
    PHONE,
    THERE,
    URL,
    connected,
    ended,
    fact,
    moved,
    opened,
    shared,
)
from tests.support.servers.serving import Live, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCREENS = [
    pytest.param(PHONE, id="phone"),
    pytest.param(LANDSCAPE, id="landscape"),
    pytest.param(DESKTOP, id="desktop"),
]

FRENCH = {"locale": "fr-FR"}
IRISH = {"locale": "en-IE"}

BOXES = """() => Object.fromEntries(['#card', '#map', '#brand', '.pin svg'].map((each) => {
  const { left, top, right, bottom } = document.querySelector(each).getBoundingClientRect();
  return [each, [left, top, right, bottom]];
}))"""

SMALL = """() => [...document.querySelectorAll('button, a[href]')].filter((each) => {
  const { width, height } = each.getBoundingClientRect();
  const isSmall = width > 0 && (width < 44 || height < 44);
  return isSmall && each.closest('.leaflet-control-attribution') === null;
}).map((each) => each.outerHTML)"""
"""Controls that a finger misses; the attribution is for information."""

OUTSIDE = """() => [...document.querySelectorAll('#card *, #brand *')].filter((each) => {
  const { left, right, width } = each.getBoundingClientRect();
  return width > 1 && (left < 0 || right > innerWidth + 0.5);
}).map((each) => each.outerHTML)"""
"""What does not fit into the window."""


STARTS = """() => ['#state', '#headline', '#kicker', '#facts div'].map((each) => {
  const range = document.createRange();
  range.selectNodeContents(document.querySelector(each));
  const isRight = document.documentElement.dir === 'rtl';
  const { left, right } = each === '#state'
    ? document.querySelector(each).getBoundingClientRect() : range.getBoundingClientRect();
  return isRight ? right : left;
})"""
"""Where each line of the card starts."""


def metadata(status: str = "on_the_way", **fields: Any) -> dict[str, Any]:
    """What a courier's application reports, most of it nobody's business."""
    eta = datetime.now(UTC) + timedelta(minutes=25)
    return {
        "order": "Order 4711",
        "status": status,
        "driver": {"name": "Anna Smith", "phone": "+353 61 555 0100"},
        "plate": "12-L-4711",
        "eta": eta.isoformat(),
        "to": THERE,
        "margin": 0.4,
    } | fields


@pytest.fixture(autouse=True)
def not_found(complaints: Complaints) -> None:
    """Expect the refused requests of pages without a position."""
    complaints.expect(NOT_FOUND)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live() -> AsyncIterator[Live]:
    async with serving(plugins={"sharing": CUSTOMER}) as live:
        yield live


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_customer_sees_the_delivery_and_not_its_id(
    new_page: NewPage, live: Live, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen, **IRISH)
    await moved(live, "parcel-1", metadata=metadata())
    await opened(page, live, await shared(live, "parcel-1"))
    await connected(page)
    await expect(page.get_by_role("banner")).to_have_text("Shannon Parcels")
    await expect(page.get_by_role("heading", level=1)).to_have_text("On its way")
    await expect(page.locator("#kicker")).to_have_text("Order 4711")
    await expect(page.locator("#steps li span:first-child")).to_have_text(
        ["Accepted", "Picked up", "On its way", "Arriving", "Delivered"]
    )
    await expect(page.locator("[aria-current=step]")).to_have_text("On its way")
    await expect(fact(page, "distance")).to_have_text("2.6 km")
    await expect(page.locator("#fact-distance small")).to_have_text("in a straight line")
    await expect(fact(page, "destination")).to_have_text("12 Mill Road")
    await expect(fact(page, "driver")).to_have_text("Anna")
    await expect(fact(page, "plate")).to_have_text("12-L-4711")
    await expect(fact(page, "eta")).to_have_text(re.compile(r"\d:\d\d"))
    parts = ["On its way", "Order 4711", "Shannon Parcels"]
    assert (await page.title()).split(" \N{EN DASH} ") == parts
    text = await page.locator("body").inner_text()
    assert "parcel-1" not in text
    assert "Smith" not in text

    await moved(live, "parcel-1", metadata=metadata("arriving"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Arriving")
    await expect(page.locator("[aria-current=step]")).to_have_text("Arriving")


@pytest.mark.parametrize("screen", SCREENS)
async def test_vehicle_and_destination_are_both_in_view(
    new_page: NewPage, live: Live, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen)
    share = await shared(live, "parcel-2", name="Parcel", destination=THERE)
    await opened(page, live, share)
    await expect(page.locator(".pin")).to_contain_text("12 Mill Road")  # before there is a position
    for place in (HERE, {"latitude": 52.72, "longitude": -8.5}, {"latitude": 52.674}):
        await moved(live, "parcel-2", **place)
        await page.wait_for_function(
            f"""() => {{
              const mark = ({MARKED})();
              const boxes = ({BOXES})();
              const [left, top, right, bottom] = boxes['#map'];
              const [pinLeft, pinTop, pinRight, pinBottom] = boxes['.pin svg'];
              const [cardLeft, cardTop, cardRight, cardBottom] = boxes['#card'];
              const isCovered = (x, y) =>
                x > cardLeft && x < cardRight && y > cardTop && y < cardBottom;
              return mark && mark.x > left + 8 && mark.x < right - 8 && mark.y > top + 8 &&
                mark.y < bottom - 8 && !isCovered(mark.x, mark.y) &&
                pinLeft >= left && pinTop >= top && pinRight <= right && pinBottom <= bottom &&
                !isCovered((pinLeft + pinRight) / 2, pinBottom);
            }}"""
        )


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
@pytest.mark.parametrize("screen", SCREENS)
async def test_everything_fits_and_can_be_touched(
    new_page: NewPage, live: Live, screen: dict[str, Any], direction: str
) -> None:
    page = await new_page(**screen, locale="de-DE")
    await moved(live, "parcel-3", metadata=metadata())
    await opened(page, live, await shared(live, "parcel-3"))
    await page.evaluate("direction => { document.documentElement.dir = direction }", direction)
    await connected(page)
    await page.wait_for_function(MARKED)
    assert await page.evaluate(SMALL) == []
    assert await page.evaluate(OUTSIDE) == []
    start = await page.evaluate(STARTS)
    assert max(start) - min(start) < 3, start
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = await page.evaluate(BOXES)
    card, stage = boxes["#card"], boxes["#map"]
    if screen is PHONE:
        assert stage[3] - stage[1] > 0.3 * 844
        assert card[1] >= stage[1] + 100
    else:  # beside each other, the card first
        before, after = (card, stage) if direction == "ltr" else (stage, card)
        assert before[2] <= after[0]


async def test_what_the_link_says_comes_first(new_page: NewPage, live: Live) -> None:
    page = await new_page(**IRISH)
    await moved(live, "parcel-4", metadata=metadata())
    there = {"latitude": 52.7, "longitude": -8.63}
    share = await shared(live, "parcel-4", name="Your sofa", destination=there, show=["status"])
    await opened(page, live, share)
    await connected(page)
    await expect(page.locator("#kicker")).to_have_text("Your sofa")
    await expect(page.locator(".pin")).to_have_text("Destination")
    await expect(fact(page, "distance")).to_have_text("4.4 km")
    for hidden in ("driver", "plate", "eta", "destination"):
        await expect(page.locator(f"#fact-{hidden}")).to_be_hidden()


async def test_miles_are_for_those_who_drive_them(new_page: NewPage, live: Live) -> None:
    page = await new_page(locale="en-GB")
    await moved(live, "parcel-5", metadata=metadata())
    await opened(page, live, await shared(live, "parcel-5"))
    await expect(fact(page, "distance")).to_have_text("1.6 mi")
    await expect(fact(page, "speed")).to_have_text("26 mph")


SMALL_SCREENS = [(320, 568), (360, 740), (568, 320), (667, 375), (844, 390), (1280, 800)]

CUT_OFF = """() => {
  const card = document.querySelector('#card');
  const isSeen = (each) => each.checkVisibility() && !each.matches('.unseen');
  const parts = [...card.children].filter(isSeen);
  const boxes = parts.map((each) => each.getBoundingClientRect());
  const isOver = (each, at) => at > 0 && each.top < boxes[at - 1].bottom - 0.5;
  const overlapping = parts.filter((each, at) => isOver(boxes[at], at)).map((each) => each.id);
  const spilling = parts.filter((each) => each.scrollHeight > each.clientHeight + 1);
  const wider = card.scrollWidth - card.clientWidth;
  return [wider, ...overlapping, ...spilling.map((each) => each.id)];
}"""
"""By how much the card is wider than its place, and its parts that overlap."""


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "pt"])
async def test_every_language_fits(new_page: NewPage, live: Live, language: str) -> None:
    page = await new_page(has_touch=True)
    old = datetime.now(UTC) - timedelta(seconds=60)
    await moved(live, f"fit-{language}", metadata=metadata(), timestamp=old.isoformat())
    await opened(page, live, await shared(live, f"fit-{language}"), f"?lang={language}")
    await connected(page, "stale")
    for width, height in SMALL_SCREENS:
        await page.set_viewport_size({"width": width, "height": height})
        assert await page.evaluate(CUT_OFF) == [0], (width, height)


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_delivery_that_has_arrived_is_shown_as_delivered(
    new_page: NewPage, live: Live, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen, **IRISH)
    await moved(live, "parcel-6", metadata=metadata())
    share = await shared(live, "parcel-6")
    await opened(page, live, share)
    await connected(page)
    since = datetime.now(UTC) - timedelta(seconds=90)
    await moved(live, "parcel-6", metadata=metadata("delivered", since=since.isoformat()))
    heading = page.get_by_role("heading", name="Delivered at")
    await expect(heading).to_be_focused()
    at = await page.evaluate(
        "at => new Intl.DateTimeFormat('en-IE', {hour: '2-digit', minute: '2-digit'}).format(at)",
        since.timestamp() * 1_000,
    )
    await expect(heading).to_have_text(f"Delivered at {at}")
    await expect(page.locator("#over-kicker")).to_have_text("Order 4711")
    assert await page.locator("#live, canvas, .leaflet-container").count() == 0
    await page.reload()
    await expect(heading).to_be_visible()


@pytest.mark.parametrize(
    ("reason", "said", "finish"),
    [
        ("delivered", "Delivered at", "good"),
        ("arrived", "Arrived at", "good"),
        ("cancelled", "Cancelled at", "bad"),
        ("failed", "Not delivered at", "bad"),
    ],
)
@BOTH_SIZES
async def test_the_reason_for_an_end_is_told(
    page: Page, live: Live, reason: str, said: str, finish: str
) -> None:
    share = await shared(live, "parcel-7", name="Your sofa")
    await moved(live, "parcel-7")
    await opened(page, live, share)
    await connected(page)
    await ended(live, share, reason)
    heading = page.get_by_role("heading", name=re.compile(rf"^{said} \d+:\d\d"))
    await expect(heading).to_be_focused()
    await expect(page.locator("#over")).to_have_attribute("data-finish", finish)
    await expect(page.locator("#over-kicker")).to_have_text("Your sofa")
    await page.reload()
    await expect(heading).to_be_visible()
    await expect(page.get_by_role("link", name="Contact")).to_have_count(1)


@pytest.mark.parametrize(
    ("locale", "query", "said"),
    [
        ("en-IE", "", ("en", "On its way", "Live", "2.6 km", "Privacy")),
        ("de-AT", "", ("de", "Unterwegs", "Live", "2,6 km", "Datenschutz")),
        ("fr-CA", "", ("fr", "En route", "En direct", "2,6 km", "Confidentialité")),
        ("es-MX", "", ("es", "En camino", "En directo", "2.6 km", "Privacidad")),
        ("pt-BR", "", ("pt", "A caminho", "Ao vivo", "2,6 km", "Privacidade")),
        ("ja-JP", "", ("en", "On its way", "Live", "2.6 km", "Privacy")),
        ("en-IE", "?lang=fr", ("fr", "En route", "En direct", "2,6 km", "Confidentialité")),
        ("de-DE", "?lang=xx", ("de", "Unterwegs", "Live", "2,6 km", "Datenschutz")),
    ],
)
async def test_the_page_speaks_the_customer_s_language(
    new_page: NewPage, live: Live, locale: str, query: str, said: tuple[str, ...]
) -> None:
    page = await new_page(locale=locale)
    await moved(live, "parcel-8", metadata=metadata())
    await opened(page, live, await shared(live, "parcel-8"), query)
    language, step, state, distance, privacy = said
    await expect(page.locator("html")).to_have_attribute("lang", language)
    await expect(page.locator("html")).to_have_attribute("dir", "ltr")
    await expect(page.get_by_role("heading", level=1)).to_have_text(step)
    await expect(page.locator("#state")).to_have_text(state)
    await expect(fact(page, "distance")).to_have_text(distance)
    await expect(page.get_by_role("link", name=privacy, exact=True)).to_be_visible()


async def test_a_path_keeps_the_forced_language(page: Page, live: Live) -> None:
    await moved(live, "parcel-9", metadata=metadata())
    share = await shared(live, "parcel-9")
    await page.goto(f"{live.url}/track/{share['token']}?lang=es")
    await expect(page.locator("#state")).to_have_text("En directo")
    assert page.url == f"{live.url}/track/?lang=es#{share['token']}"


@BOTH_SIZES
async def test_the_language_and_the_steps_are_configured(page: Page) -> None:
    table = CUSTOMER | {
        "language": "de",
        "steps": ["packed", "on_the_way", "here"],
        "step_names": {"de": {"packed": "Verpackt", "here": "Da"}},
    }
    async with serving(plugins={"sharing": table}) as live, leaving(page):
        await moved(live, "parcel-1", metadata=metadata("packed"))
        await opened(page, live, await shared(live, "parcel-1"), "?lang=fr")
        await expect(page.locator("#steps li")).to_have_text(["Verpackt", "Unterwegs", "Da"])
        await moved(live, "parcel-1", metadata=metadata("unheard of"))
        await moved(live, "parcel-1", metadata=metadata("on_the_way"))
        await expect(page.get_by_role("heading", level=1)).to_have_text("Unterwegs")
        await moved(live, "parcel-1", metadata=metadata("here"))
        heading = page.get_by_role("heading", level=1)
        await expect(heading).to_have_text(re.compile("^Da um .* Uhr$"))


@BOTH_SIZES
async def test_the_logo_and_the_colours_are_the_brand_s(page: Page, tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="120" height="40">'
        '<rect width="120" height="40" fill="#d40511"/></svg>'
    )
    table = CUSTOMER | {"brand_logo": str(logo)}
    async with serving(plugins={"sharing": table}) as live, leaving(page):
        await moved(live, "parcel-1", metadata=metadata())
        await opened(page, live, await shared(live, "parcel-1"))
        image = page.get_by_role("img", name="Shannon Parcels")
        await expect(image).to_be_visible()
        assert await image.evaluate("image => image.naturalWidth") == 120
        colours = await page.locator("#brand").evaluate(
            "each => [getComputedStyle(each).backgroundColor, getComputedStyle(each).color]"
        )
        assert colours == ["rgb(255, 204, 0)", "rgb(0, 0, 0)"]


async def test_the_card_is_there_before_any_script(new_page: NewPage, live: Live) -> None:
    page = await new_page(**PHONE, java_script_enabled=False)
    await page.goto(f"{live.url}/track/#x")
    await expect(page.get_by_role("banner")).to_have_text("Shannon Parcels")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Live tracking")
    await expect(page.locator("#state")).to_have_text("Connecting…")
    await expect(page.locator("#calm svg")).to_be_visible()


async def test_a_page_without_a_brand_has_no_banner(page: Page) -> None:
    async with serving(plugins={"sharing": URL}) as live, leaving(page):
        await opened(page, live, await shared(live, "bus-1"))
        await expect(page.locator("#brand")).to_be_hidden()
        await expect(page.locator("nav")).to_have_count(2)
        await expect(page.locator("#card nav")).to_be_hidden()

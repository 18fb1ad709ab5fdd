"""What the live map draws of many entities: clusters, labels, and how old each is."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from playwright.async_api import Page, Position, expect

from tests.browser.chromium import leaving
from tests.browser.conftest import NewPage
from tests.browser.console import (
    PHONE,
    ago,
    card,
    open_console,
    open_link,
    row,
    set_preference,
    until_seen,
)
from tests.browser.pictures import COLOURS
from tests.support.servers.serving import TIMEOUT, Live, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}

SCREENS = [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone")]

SLOWLY_OLD: dict[str, Any] = {"console": {"enabled": True, "stale_after": 90}}
"""On a slow machine a test takes longer than the default."""

GROUP = "Group what is close together"

TOGETHER = "30 entities: 18 live, 8 no news, 4 offline"

RECORD = """
  window.drawn = [];
  const { clearRect, drawImage } = CanvasRenderingContext2D.prototype;
  const isMarks = ({ canvas }) => canvas.classList?.contains('marks');
  CanvasRenderingContext2D.prototype.clearRect = function (...box) {
    if (isMarks(this)) window.drawn = [];
    return clearRect.apply(this, box);
  };
  CanvasRenderingContext2D.prototype.drawImage = function (image, left, top, width, height) {
    if (isMarks(this)) {
      const isLabel = image.width !== image.height;
      window.drawn.push({ isLabel, box: [left, top, left + width, top + height] });
    }
    return drawImage.call(this, image, left, top, width, height);
  };
"""
"""Records what the last frame has drawn: markers and clusters are square, labels are not."""

PAINTED = """([colours, near]) => {
    const canvas = document.querySelector('canvas.marks');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const parsed = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const wanted = colours.map(parsed);
    const counts = colours.map(() => 0);
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] !== 255) continue;
        wanted.forEach((colour, index) => {
            const apart = colour.map((part, channel) => Math.abs(data[at + channel] - part));
            if (Math.max(...apart) <= near) counts[index] += 1;
        });
    }
    return counts;
}"""
"""The number of pixels of markers and clusters that have given colours."""

MARKER = "kind-1"
"""The colour of the markers of deliveries, which nothing else has."""

Box = tuple[float, float, float, float]


async def painted(page: Page, *names: str, near: int = 2) -> list[int]:
    """How many pixels of the markers and clusters have colours of the theme, or similar ones."""
    colours = await page.evaluate(COLOURS, list(names))
    counts: list[int] = await page.evaluate(PAINTED, [colours, near])
    return counts


async def until_painted(page: Page, *names: str, without: str = "") -> None:
    """Wait until some pixels have each of the colours, and none has another one."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            counts = await painted(page, *names)
            others = await painted(page, without) if without else [0]
            if min(counts) > 5 and others == [0]:
                return
            await page.wait_for_timeout(100)


async def together(live: Live) -> None:
    """Publish thirty vehicles within a few hundred metres, of which some are old."""
    old = {n: ago(minutes=2) for n in range(18, 26)} | {n: ago(hours=1) for n in range(26, 30)}
    updates = [
        {
            "deliveryId": f"v{n}",
            "latitude": 52.6 + (n % 6) / 5_000,
            "longitude": -8.6 + (n // 6) / 3_000,
            **({"timestamp": old[n]} if n in old else {}),
        }
        for n in range(30)
    ]
    assert (await live.post("/api/tracking/batch", {"updates": updates}))[0] == 200


async def grid(live: Live, size: int = 64) -> None:
    """Publish vehicles whose labels do not all fit between them."""
    updates = [
        {
            "vehicleId": f"vehicle-{n}",
            "latitude": 52.6 + (n % 8) * 0.0018,
            "longitude": -8.6 + (n // 8) * 0.0026,
            "heading": 7 * n,
        }
        for n in range(size)
    ]
    assert (await live.post("/api/tracking/batch", {"updates": updates}))[0] == 200


async def drawn(page: Page, *, labels: bool) -> list[Box]:
    """The boxes of the labels, or of everything else, in the last frame."""
    found = await page.evaluate("window.drawn")
    return [tuple(each["box"]) for each in found if each["isLabel"] == labels]


def overlap(one: Box, other: Box, inset: float) -> bool:
    """Whether two boxes overlap, the second without its margin."""
    left, top, right, bottom = other
    return (
        one[0] < right - inset
        and one[2] > left + inset
        and one[1] < bottom - inset
        and one[3] > top + inset
    )


@pytest.mark.parametrize("screen", SCREENS)
async def test_what_is_close_together_is_a_cluster_that_opens(
    new_page: NewPage, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen)
    async with serving(plugins=SLOWLY_OLD) as live, leaving(page):
        await together(live)
        await open_console(page, live)
        await expect(page.locator("#count")).to_have_text("30 on the map")
        # the ring has arcs for the states; no marker is beside it
        await until_painted(page, "good", "warn", without=MARKER)
        ratio = await page.evaluate("devicePixelRatio")
        found = await until_seen(page, lambda found: found.count > 100)
        at = Position(x=found.x / ratio, y=found.y / ratio)
        if screen is DESKTOP:
            await page.locator("#map").hover(position=at)
            await expect(page.locator("#map")).to_have_attribute("title", TOGETHER)
            await page.locator("#map").click(position=at)
        else:
            await page.locator("#map").tap(position=at)
        await expect(page.locator("#announcement")).to_have_text(TOGETHER)
        await until_painted(page, MARKER)  # some are apart now
        await expect(page.locator("#details")).to_be_hidden()


async def test_enter_opens_the_cluster_in_the_middle(page: Page) -> None:
    async with serving(plugins=SLOWLY_OLD) as live, leaving(page):
        await together(live)
        await open_console(page, live)
        await until_painted(page, "good", without="focus")
        await page.keyboard.press("Tab")
        await page.locator("#map").focus()
        await until_painted(page, "focus")  # a ring says which
        await page.keyboard.press("Enter")
        await expect(page.locator("#announcement")).to_have_text(TOGETHER)
        await until_painted(page, MARKER)


@pytest.mark.parametrize("screen", SCREENS)
async def test_what_is_chosen_is_never_in_a_cluster(
    new_page: NewPage, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen)
    await page.add_init_script(RECORD)
    async with serving(plugins=SLOWLY_OLD) as live, leaving(page):
        await together(live)
        await open_console(page, live)
        await until_painted(page, "good", without=MARKER)
        assert await drawn(page, labels=True) == []
        await row(page, "v0").click()
        await expect(card(page, "v0")).to_be_visible()
        await until_painted(page, MARKER)
        assert len(await drawn(page, labels=True)) == 1
        await until_painted(page, MARKER, "good")  # the others still are in one


async def test_what_is_pointed_to_in_the_list_is_shown(page: Page) -> None:
    await page.add_init_script(RECORD)
    async with serving(plugins=SLOWLY_OLD) as live, leaving(page):
        await together(live)
        await open_console(page, live)
        await until_painted(page, "good", without=MARKER)
        await row(page, "v3").hover()
        await until_painted(page, MARKER)
        assert len(await drawn(page, labels=True)) == 1
        await page.get_by_label("Search").hover()
        await page.wait_for_function("() => window.drawn.every(({ isLabel }) => !isLabel)")


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_setting_turns_clusters_off(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=SLOWLY_OLD) as live, leaving(page):
        await together(live)
        await open_console(page, live)
        await until_painted(page, "good", without=MARKER)
        await set_preference(page, GROUP)
        await until_painted(page, MARKER, without="good")
        await page.reload()
        await until_painted(page, MARKER)
        await set_preference(page, GROUP)
        await until_painted(page, "good")  # the pointer may be on a row, whose marker stays apart


async def test_streets_tell_markers_apart_without_clusters(page: Page) -> None:
    async with serving(plugins=SLOWLY_OLD) as live, leaving(page):
        await together(live)
        await open_console(page, live)
        await open_link(page, live, "@52.6005,-8.5993,15")
        await until_painted(page, MARKER, without="good")


@pytest.mark.parametrize("screen", SCREENS)
async def test_labels_cover_neither_each_other_nor_markers(
    new_page: NewPage, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen)
    await page.add_init_script(RECORD)
    async with serving(plugins=SLOWLY_OLD) as live, leaving(page):
        await grid(live)
        await open_console(page, live)
        await open_link(page, live, "@52.6063,-8.5909,15")
        await page.wait_for_function(
            "() => window.drawn.filter(({ isLabel }) => isLabel).length > 8"
        )
        labels, others = await drawn(page, labels=True), await drawn(page, labels=False)
        assert len(others) > len(labels) > 8
        for one, other in itertools.combinations(labels, 2):
            assert not overlap(one, other, 0)
        for one, other in itertools.product(labels, others):
            assert not overlap(one, other, 4)
        # what moves takes no label from what has one
        for n in range(4):
            await live.publish("vehicle-0", latitude=52.6 + n * 0.00001, longitude=-8.6)
            await page.wait_for_timeout(200)
        now = await drawn(page, labels=True)
        assert len(set(labels) & set(now)) >= len(labels) - 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_is_old_has_another_shape_and_is_legible(new_page: NewPage, scheme: str) -> None:
    page = await new_page(**DESKTOP, color_scheme=scheme)
    async with serving(plugins=SLOWLY_OLD) as live, leaving(page):
        await live.publish("v1", latitude=52.6, timestamp=ago(minutes=2), heading=90)
        await live.publish("v2", latitude=52.61, timestamp=ago(hours=2), heading=90)
        await open_console(page, live)
        await expect(row(page, "v1")).to_have_attribute("data-state", "stale")
        await expect(row(page, "v2")).to_have_attribute("data-state", "offline")
        found = await until_seen(page, lambda found: found.count > 100)
        assert found.alpha == 255
        await until_painted(page, "kind-0")
        for colour in await painted(page, "warn", "muted", near=24):  # thin lines are blended
            assert colour > 5

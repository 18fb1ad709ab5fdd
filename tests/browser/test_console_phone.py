"""The live map on a phone, upright and on its side."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.chromium import leaving
from tests.browser.conftest import NewPage
from tests.browser.console import (
    LANDSCAPE,
    ON,
    PHONE,
    Seen,
    card,
    open_console,
    row,
    seen,
    until_seen,
)
from tests.support.servers.serving import Live, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCREENS = [pytest.param(PHONE, id="portrait"), pytest.param(LANDSCAPE, id="landscape")]

SHARING: dict[str, Any] = {**ON, "sharing": {"url": "https://live.example.com"}}

SMALL = """() => [...document.querySelectorAll('button, input, select, a, [role=option]')]
    .filter((each) => each.checkVisibility() && !each.closest('.leaflet-control-attribution'))
    .filter((each) => !each.matches('.choice input'))
    .map((each) => [each.getBoundingClientRect(), each])
    .filter(([{ width, height }]) => width > 0 && (width < 44 || height < 44))
    .map(([{ width, height }, each]) => `${width} x ${height}: ${each.outerHTML.slice(0, 80)}`)"""
"""The visible controls that are smaller than a finger tip."""


ACROSS = """() => {
    const canvas = document.querySelector('canvas.marks');
    const { width, height } = canvas;
    const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
    const painted = new Set();
    for (let index = 3; index < data.length; index += 4) {
        if (data[index] > 0) painted.add(((index - 3) / 4) % width);
    }
    const [left, right] = [Math.min(...painted), Math.max(...painted)];
    return painted.size > 0 && right - left > 200 * devicePixelRatio;
}"""
"""Whether markers are painted that are far from each other."""


async def many(live: Live, size: int = 40) -> None:
    updates = [
        {"vehicleId": f"v{n}", "latitude": 52.6 + n / 1_000, "longitude": -8.6, "heading": 0}
        for n in range(size)
    ]
    assert (await live.post("/api/tracking/batch", {"updates": updates}))[0] == 200


async def free(page: Page) -> Seen:
    """Read the canvas while one marker is alone on it."""
    return await until_seen(page, lambda found: found.count > 100)


@pytest.mark.parametrize("screen", [*SCREENS, pytest.param({}, id="desktop")])
async def test_the_card_does_not_cover_what_is_followed(
    new_page: NewPage, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen, device_scale_factor=1) if screen else await new_page()
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", latitude=52.6, longitude=-8.6, heading=0)
        await open_console(page, live)
        await row(page, "v1").click()
        await expect(card(page, "v1")).to_be_visible()
        found = await free(page)
        box = await page.locator("#map").bounding_box()
        over = await page.locator("#details").bounding_box()
        assert box is not None
        assert over is not None
        ratio = await page.evaluate("devicePixelRatio")
        x, y = box["x"] + found.x / ratio, box["y"] + found.y / ratio
        beside = x < over["x"] or x > over["x"] + over["width"]
        assert beside or y < over["y"] or y > over["y"] + over["height"]
        assert box["x"] + 40 < x < box["x"] + box["width"] - 40
        assert box["y"] + 40 < y < box["y"] + box["height"] - 40


@pytest.mark.parametrize("screen", SCREENS)
async def test_controls_are_large_enough(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=SHARING) as live, leaving(page):
        await many(live)
        await page.goto(f"{live.url}/console")
        await expect(page.get_by_label("Access token")).to_be_visible()
        assert await page.evaluate(SMALL) == []
        await open_console(page, live)
        await expect(row(page, "v0")).to_be_visible()
        assert await page.evaluate(SMALL) == []
        await row(page, "v0").click()
        details = card(page, "v0")
        await details.get_by_role("button", name="Share").click()
        await details.get_by_role("button", name="Make a link").click()
        await expect(details.get_by_label("Link")).to_be_visible()
        assert await page.evaluate(SMALL) == []
        await page.get_by_role("button", name="Close").click()
        await page.get_by_role("button", name="Settings").click()
        assert await page.evaluate(SMALL) == []


@pytest.mark.parametrize(
    ("screen", "left", "rows"),
    [pytest.param(PHONE, 480, 5, id="portrait"), pytest.param(LANDSCAPE, 190, 2, id="landscape")],
)
async def test_the_list_is_above_the_keyboard(
    new_page: NewPage, screen: dict[str, Any], left: int, rows: int
) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON) as live, leaving(page):
        await many(live)
        await open_console(page, live)
        await expect(row(page, "v0")).to_be_visible()
        await page.get_by_label("Search").tap()
        # a keyboard leaves so much of the window
        await page.set_viewport_size({"width": screen["viewport"]["width"], "height": left})
        await page.get_by_label("Search").fill("v")
        for n in range(rows):
            box = await row(page, f"v{n}").bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= left
        await row(page, "v1").tap()
        await expect(card(page, "v1")).to_be_visible()
        await page.set_viewport_size(screen["viewport"])
        await until_seen(page, lambda found: found.count > 100)


@pytest.mark.parametrize("screen", SCREENS)
async def test_nothing_is_wider_than_the_phone(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON) as live, leaving(page):
        await many(live)
        await open_console(page, live)
        await row(page, "v0").click()
        await expect(page.locator("#connection")).to_be_in_viewport()
        width = screen["viewport"]["width"]
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        assert (await seen(page)).count > 100


async def test_turning_the_phone_keeps_following(new_page: NewPage) -> None:
    page = await new_page(**PHONE)
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", heading=0)
        await open_console(page, live)
        await row(page, "v1").click()
        await free(page)
        await page.set_viewport_size(LANDSCAPE["viewport"])
        box = await page.locator("#map").bounding_box()
        assert box is not None
        ratio = await page.evaluate("devicePixelRatio")
        middle = box["width"] / 2, box["height"] / 2
        await until_seen(
            page,
            lambda found: (
                abs(found.x / ratio - middle[0]) < 60 and abs(found.y / ratio - middle[1]) < 40
            ),
        )


@pytest.mark.parametrize("screen", [*SCREENS, pytest.param({}, id="desktop")])
async def test_several_are_selected_without_a_keyboard(
    new_page: NewPage, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON) as live, leaving(page):
        await many(live, 4)
        await open_console(page, live)
        await row(page, "v0").wait_for()
        select = page.get_by_role("button", name="Select several")
        await select.click()
        await expect(select).to_have_attribute("aria-pressed", "true")
        chosen = page.get_by_role("group", name="What is selected")
        await expect(chosen).to_contain_text("None selected")
        await expect(chosen.get_by_role("button", name="Show")).to_be_disabled()
        await row(page, "v0").click()
        await row(page, "v1").click()
        await row(page, "v1").click()
        await expect(chosen).to_contain_text("1 selected")
        await expect(page.locator("#announcement")).to_have_text("1 selected")
        await expect(row(page, "v0")).to_have_attribute("aria-selected", "true")
        await expect(row(page, "v1")).to_have_attribute("aria-selected", "false")
        await expect(page.locator("#details")).to_be_hidden()
        await chosen.get_by_role("button", name="Select all that are listed").click()
        await expect(chosen).to_contain_text("4 selected")
        async with page.expect_download() as saved:
            await chosen.get_by_role("button", name="Save the selected as CSV").click()
        assert (await saved.value).suggested_filename.endswith(".csv")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        await select.click()
        await expect(chosen).to_be_hidden()
        await expect(row(page, "v0")).to_have_attribute("aria-selected", "false")
        await row(page, "v1").click()
        await expect(card(page, "v1")).to_be_visible()


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_long_touch_selects(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON) as live, leaving(page):
        await many(live, 3)
        await open_console(page, live)
        await row(page, "v1").wait_for()
        await touch(page, row(page, "v0"))
        chosen = page.get_by_role("group", name="What is selected")
        await expect(chosen).to_contain_text("1 selected")
        await row(page, "v1").tap()
        await expect(chosen).to_contain_text("2 selected")
        await touch(page, row(page, "v1"))
        await expect(chosen).to_contain_text("1 selected")
        await expect(page.locator("#details")).to_be_hidden()
        await chosen.get_by_role("button", name="Select nothing").tap()
        await row(page, "v0").tap()
        await expect(card(page, "v0")).to_be_visible()


async def touch(page: Page, place: Locator) -> None:
    """Touch an element for long."""
    before = await place.get_attribute("aria-selected")
    box = await place.bounding_box()
    assert box is not None
    at = {"x": box["x"] + 100, "y": box["y"] + 20}
    finger = await page.context.new_cdp_session(page)
    await finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
    await expect(place).not_to_have_attribute("aria-selected", str(before))
    await finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    await finger.detach()


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_fleet_all_over_the_world_is_in_view(
    new_page: NewPage, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("west", latitude=0, longitude=-170)
        await live.publish("east", latitude=0, longitude=170)
        await open_console(page, live)
        await expect(row(page, "east")).to_be_visible()
        await page.get_by_role("button", name="Show all").tap()
        await page.wait_for_function(ACROSS)

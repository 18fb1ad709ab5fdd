"""Finding entities on the live map: search, filters, columns, order and selection."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.chromium import leaving
from tests.browser.conftest import BOTH_SIZES, NewPage
from tests.browser.console import (
    ON,
    PHONE,
    ago,
    card,
    listed,
    open_console,
    row,
    set_preference,
    until_seen,
)
from tests.support.servers.serving import Live, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIELDS: dict[str, Any] = {
    "console": {"enabled": True, "fields": {"name": "label", "driver": "who", "group": ""}}
}


async def fleet(live: Live) -> None:
    """Publish three vehicles in Ireland and a tram in New Zealand."""
    await live.publish("bus-2", speed=40, metadata={"name": "Red", "driver": "Ann"})
    await live.publish("bus-10", latitude=52.7, speed=60, metadata={"name": "Blue"})
    await live.publish("car-1", latitude=52.65, timestamp=ago(minutes=2), speed=90)
    await live.publish("tram-1", latitude=-41.3, longitude=174.8, metadata={"plate": "KIWI"})


@BOTH_SIZES
async def test_what_is_followed_stays_visible_when_a_search_hides_it(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await fleet(live)
        await open_console(page, live)
        await row(page, "car-1").click()
        await page.get_by_label("Search").fill("bus")
        await page.get_by_label("Search").blur()  # on a phone, the map is hidden until then
        await expect(page.locator("#count")).to_have_text("2 of 4 on the map, and car-1")
        details = card(page, "car-1")
        await expect(details.get_by_role("button", name="Following")).to_be_visible()
        await until_seen(page, lambda found: found.count > 100)
        await page.get_by_role("button", name="Close").click()
        await expect(page.locator("#count")).to_have_text("2 of 4 on the map")


@pytest.mark.parametrize("size", ["desktop", "phone"])
async def test_enter_chooses_the_first_that_a_search_finds(new_page: NewPage, size: str) -> None:
    page = await new_page(**(PHONE if size == "phone" else {}))
    async with serving(plugins=ON) as live, leaving(page):
        await fleet(live)
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(4)
        await page.get_by_label("Search").fill("tram")
        await page.get_by_label("Search").press("Enter")
        await expect(card(page, "tram-1")).to_be_visible()


@BOTH_SIZES
async def test_show_all_shows_what_the_filters_show(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await fleet(live)
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(4)
        scale = page.locator(".leaflet-control-scale-line")
        await page.get_by_role("button", name="Show all").click()
        await expect(scale).to_have_text(re.compile("^[35]000 km$"))
        await page.get_by_label("Search").fill("bus")
        await page.get_by_label("Search").blur()
        await page.get_by_role("button", name="Show all").click()
        await expect(scale).to_have_text(re.compile("^[23] km$"))
        await until_seen(page, lambda found: found.count > 100)


@BOTH_SIZES
async def test_a_new_search_begins_at_the_top(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        updates = [
            {"vehicleId": f"bus-{n}", "latitude": 50 + n / 1_000, "longitude": -8}
            for n in range(300)
        ]
        assert (await live.post("/api/tracking/batch", {"updates": updates}))[0] == 200
        await open_console(page, live)
        await expect(page.locator("#shown")).to_have_text("300")
        box = page.get_by_role("listbox")
        await box.focus()
        await page.keyboard.press("End")
        await expect(row(page, "bus-299")).to_be_visible()
        await page.get_by_label("Search").fill("bus-1")
        await expect(row(page, "bus-1")).to_be_in_viewport()
        assert await box.evaluate("box => box.scrollTop") == 0


@BOTH_SIZES
async def test_names_of_the_metadata_are_shown_and_searched(page: Page) -> None:
    async with serving(plugins=FIELDS) as live, leaving(page):
        await live.publish("v1", metadata={"label": "Van 12", "who": "Ann Lee", "plate": 4411})
        await live.publish("v2", metadata={"label": ["no text"], "who": {}, "group": "unread"})
        await open_console(page, live)
        await expect(row(page, "Van 12")).to_have_accessible_name("Van 12, v1, vehicle, Live")
        await expect(row(page, "Van 12")).to_contain_text("4411 · Ann Lee")
        await expect(row(page, "v2")).to_be_visible()
        for text in ("van", "lee 44", "v1"):
            await page.get_by_label("Search").fill(text)
            await expect(page.get_by_role("option")).to_have_count(1)
            await expect(row(page, "Van 12")).to_be_visible()
        await row(page, "Van 12").click()
        await expect(card(page, "Van 12")).to_contain_text("vehicle · v1")
        await expect(card(page, "Van 12").get_by_role("definition").first).to_have_text("4411")
        await page.get_by_label("Search").fill("unread")
        await expect(page.get_by_role("option")).to_have_count(0)
        await page.get_by_role("button", name="Clear the search and the filters").click()
        await page.get_by_label("Search").blur()
        await expect(page.get_by_role("option")).to_have_count(2)
        # a report without metadata does not take the name away
        await live.publish("v1", latitude=52.7)
        await expect(card(page, "Van 12")).to_contain_text("52.70000")
        await expect(row(page, "Van 12")).to_be_visible()


@BOTH_SIZES
async def test_the_list_is_sorted_by_its_columns(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await fleet(live)
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(4)
        assert await listed(page) == ["Blue", "car-1", "Red", "tram-1"]
        order = page.get_by_role("group", name="Sort by")
        await order.get_by_role("button", name="Name").click()
        await expect(order.get_by_role("button", name="Name, descending")).to_be_focused()
        assert await listed(page) == ["tram-1", "Red", "car-1", "Blue"]
        await order.get_by_role("button", name="Speed").click()
        await order.get_by_role("button", name="Speed").click()
        # the speed of the car, which has not reported for two minutes, is not known
        assert await listed(page) == ["Blue", "Red", "car-1", "tram-1"]
        await order.get_by_role("button", name="Seen").click()
        await order.get_by_role("button", name="Seen").click()
        assert (await listed(page))[0] == "car-1"

        await set_preference(page, "Status", "Driver", "Seen")
        await expect(order.get_by_role("button")).to_have_text(
            ["Name", "Driver", "Status", "Speed"]
        )
        await expect(row(page, "car-1")).to_contain_text("No news for 2 min")
        await order.get_by_role("button", name="Status").click()
        assert (await listed(page))[-1] == "car-1"
        await page.reload()
        await expect(order.get_by_role("button", name="Status, ascending")).to_be_visible()


async def test_several_are_selected_shown_and_saved(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await fleet(live)
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(4)
        await row(page, "Red").click(modifiers=["ControlOrMeta"])
        await row(page, "Blue").click(modifiers=["ControlOrMeta"])
        await expect(page.locator("#selected-count")).to_have_text("2 selected")
        await row(page, "tram-1").click(modifiers=["Shift"])
        await expect(page.locator("#selected-count")).to_have_text("4 selected")
        await row(page, "car-1").click(modifiers=["ControlOrMeta"])
        await expect(page.locator("#selected-count")).to_have_text("3 selected")
        await expect(row(page, "car-1")).to_have_attribute("aria-selected", "false")

        await page.keyboard.press("Home")
        await page.keyboard.press("Space")
        await expect(page.locator("#selected-count")).to_have_text("2 selected")
        await page.keyboard.press("Shift+ArrowDown")
        await expect(row(page, "Blue")).to_have_attribute("aria-selected", "true")
        await expect(row(page, "car-1")).to_have_attribute("aria-selected", "true")
        await expect(page.locator("#selected-count")).to_have_text("2 selected")
        group = page.get_by_role("group", name="What is selected")
        await group.get_by_role("button", name="Show").click()
        await expect(page.locator(".leaflet-control-scale-line")).to_have_text("1 km")
        table = await saved(page, "Save the selected as CSV")
        assert [line["id"] for line in table] == ["bus-10", "car-1"]
        await page.get_by_role("listbox").press("Escape")
        await expect(group).to_be_hidden()


async def test_the_list_is_saved_without_formulas(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish(
            "v1",
            speed=12.5,
            metadata={"name": "=cmd()", "driver": '@a, "b"', "plate": "-1", "group": "x;y"},
        )
        await live.publish("v2", timestamp="2026-01-31T12:00:00.000Z")
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(2)
        one, two = sorted(await saved(page, "Save as CSV"), key=lambda line: line["id"])
        assert one["name"] == "'=cmd()"
        assert one["driver"] == '\'@a, "b"'
        assert one["plate"] == "'-1"
        assert one["group"] == "x;y"
        assert (one["status"], one["speed_kmh"], one["longitude"]) == ("live", "12.5", "-8.6")
        assert (two["status"], two["timestamp"]) == ("offline", "2026-01-31T12:00:00.000Z")


async def saved(page: Page, name: str) -> list[dict[str, str]]:
    """Press a button, and read the file that the browser saves."""
    async with page.expect_download() as started:
        await page.get_by_role("button", name=name).click()
    download = await started.value
    assert download.suggested_filename.startswith("live-map-")
    text = await asyncio.to_thread(Path(await download.path()).read_text, "utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


async def test_what_has_no_value_comes_last_in_either_order(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", metadata={"plate": "A"})
        await live.publish("v2", metadata={"plate": "B"})
        await live.publish("v3")
        await open_console(page, live)
        await set_preference(page, "Plate")
        await expect(page.get_by_role("option")).to_have_count(3)
        head = page.get_by_role("button", name="Plate")
        await head.click()
        assert await listed(page) == ["v1", "v2", "v3"]
        await head.click()
        assert await listed(page) == ["v2", "v1", "v3"]


async def test_a_name_is_one_line_that_can_be_seen(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", metadata={"name": "\u200b\u3164\ufeff"})
        await live.publish("v2", metadata={"name": "Van\u00a0\n\u202e21"})
        await live.publish("v3", metadata={"name": "y" * 79 + "\U0001f600" * 2})
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(3)
        assert await listed(page) == ["v1", "Van 21", "y" * 79 + "\U0001f600"]
        await expect(page.get_by_role("option", name="Van 21, v2, vehicle, Live")).to_be_visible()

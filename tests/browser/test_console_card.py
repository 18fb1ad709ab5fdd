"""The card of the chosen entity, and the settings of what it shows."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.chromium import Complaints, leaving
from tests.browser.conftest import BOTH_SIZES, SIZES, NewPage
from tests.browser.console import ON, PHONE, card, open_console, row, set_preference
from tests.support.servers.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHARING: dict[str, Any] = {**ON, "sharing": {"url": "https://live.example.com"}}

CLIPBOARD = "navigator.clipboard.readText()"


@pytest.mark.parametrize("size", ["desktop", "phone"])
async def test_an_entity_is_shared_from_its_card(new_page: NewPage, size: str) -> None:
    page = await new_page(**(PHONE if size == "phone" else {}))
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    async with serving(plugins=SHARING) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await row(page, "v1").click()
        details = card(page, "v1")
        await details.get_by_role("button", name="Share").click()
        await details.get_by_label("For").select_option("1 hour")
        await details.get_by_role("button", name="Make a link").click()
        link = details.get_by_label("Link")
        await expect(link).to_be_focused()
        url = await link.input_value()
        assert url.startswith("https://live.example.com/track/#")
        await expect(details.locator("#share-until")).to_have_text(
            re.compile(r"^Whoever has this link sees the position until .*\d:\d\d")
        )
        await details.get_by_role("button", name="Copy", exact=True).click()
        await expect(details.get_by_role("button", name="Copied")).to_be_visible()
        assert await page.evaluate(CLIPBOARD) == url

        share = {"Authorization": f"Bearer {url.partition('#')[2]}"}
        assert (await live.get("/api/tracking/vehicle/v1", headers=share))[0] == 200
        await details.get_by_role("button", name="End it now").click()
        await expect(details.locator("#share-note")).to_have_text("The link has ended.")
        assert (await live.get("/api/tracking/vehicle/v1", headers=share))[0] == 401


@pytest.mark.parametrize("size", ["desktop", "phone"])
async def test_a_link_says_what_the_user_lets_it_say(new_page: NewPage, size: str) -> None:
    page = await new_page(**(PHONE if size == "phone" else {}))
    place = {"latitude": 52.7, "longitude": -8.5, "label": "12 Mill Road"}
    async with serving(plugins=SHARING) as live, leaving(page):
        await live.publish("v1", metadata={"name": "Van 12", "destination": place})
        await live.publish("v2", metadata={"destination": "home"})
        await open_console(page, live)
        await row(page, "Van 12").click()
        details = card(page, "Van 12")
        await live.publish("v1", latitude=52.7)  # not each report repeats the metadata
        await expect(details.locator("#facts")).to_contain_text("52.70000")
        await expect(details.locator("#facts")).to_contain_text("12 Mill Road")
        await details.get_by_role("button", name="Share").click()
        name = details.get_by_label("Shown as")
        await expect(name).to_have_value("Van 12")
        leads = details.get_by_label("With its destination, 12 Mill Road")
        await expect(leads).to_be_checked()
        await name.fill("Your sofa")
        said = await claims(details)
        assert (said["name"], said["destination"]) == ("Your sofa", place)
        until = details.locator("#share-until")
        await expect(until).to_contain_text("Whoever has this link sees Your sofa until")

        await details.get_by_role("button", name="End it now").click()
        await expect(details.get_by_role("button", name="Make a link")).to_be_focused()
        await name.fill("")
        await leads.uncheck()
        assert not {"name", "destination"} & (await claims(details)).keys()

        await page.get_by_role("button", name="Close").click()
        await row(page, "v2").click()
        details = card(page, "v2")
        await details.get_by_role("button", name="Share").click()
        await expect(details.get_by_label("Shown as")).to_have_value("")
        await expect(details.get_by_label("Shown as")).to_have_attribute("placeholder", "v2")
        await expect(details.get_by_label("With its destination")).to_be_hidden()


async def claims(details: Locator) -> dict[str, Any]:
    """Make a link, and read what it says."""
    await details.get_by_role("button", name="Make a link").click()
    link = details.get_by_label("Link", exact=True)
    await expect(link).to_be_focused()
    _, payload, _ = (await link.input_value()).partition("#")[2].split(".")
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * 3))
    return said


@pytest.mark.parametrize(
    ("max_life", "offered", "chosen"),
    [
        (3_600, ["15 minutes", "1 hour"], "3600"),
        (120, ["2 minutes"], "120"),
        (86_400, None, "7200"),
    ],
)
async def test_the_lives_that_the_server_allows_are_offered(
    page: Page, max_life: int, offered: list[str] | None, chosen: str
) -> None:
    sharing = {**SHARING["sharing"], "max_life": max_life}
    async with serving(plugins={**SHARING, "sharing": sharing}) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await row(page, "v1").click()
        details = card(page, "v1")
        await details.get_by_role("button", name="Share").click()
        await expect(details.get_by_label("For")).to_have_value(chosen)
        if offered is not None:
            assert await details.locator("#share-time option").all_text_contents() == offered
        await claims(details)


async def test_a_share_that_is_refused_says_so(page: Page, complaints: Complaints) -> None:
    complaints.expect("429")
    sharing = {**SHARING["sharing"], "max_created": 1}
    async with serving(plugins={**SHARING, "sharing": sharing}) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await row(page, "v1").click()
        details = card(page, "v1")
        await details.get_by_role("button", name="Share").click()
        await claims(details)
        await details.get_by_role("button", name="End it now").click()
        await details.get_by_role("button", name="Make a link").click()
        note = details.locator("#share-note")
        await expect(note).to_have_text("You have made or ended too many links. Try again later.")


@pytest.mark.parametrize(
    ("name", "label", "said"),
    [
        ("Van\u00a012", "12 Mill Road\nLimerick", ("Van 12", "12 Mill Road Limerick")),
        ("\u7530\u4e2d\u3000\u592a\u90ce", "\u202e21", ("\u7530\u4e2d \u592a\u90ce", "21")),
        ("y" * 79 + "\U0001f600", "a" * 99 + "\U0001f600b", None),
    ],
)
async def test_any_text_of_a_device_can_be_shared(
    page: Page, name: str, label: str, said: tuple[str, str] | None
) -> None:
    place = {"latitude": 52.7, "longitude": -8.5, "label": label}
    async with serving(plugins=SHARING) as live, leaving(page):
        await live.publish("v1", metadata={"name": name, "destination": place})
        await open_console(page, live)
        await page.get_by_role("option").click()
        details = page.locator("#details")
        await details.get_by_role("button", name="Share").click()
        found = await claims(details)
        expected = said or (name, label[:-1])
        assert (found["name"], found["destination"]["label"]) == expected


async def test_the_destination_of_a_link_can_be_renamed(page: Page) -> None:
    place = {"latitude": 52.7, "longitude": -8.5, "label": "12 Mill Road"}
    async with serving(plugins=SHARING) as live, leaving(page):
        await live.publish("v1", metadata={"destination": place})
        await open_console(page, live)
        await row(page, "v1").click()
        details = card(page, "v1")
        await details.get_by_role("button", name="Share").click()
        label = details.get_by_label("Destination", exact=True)
        await expect(label).to_have_value("12 Mill Road")
        await label.fill("Your door")
        await expect(details.get_by_label("With its destination, Your door")).to_be_checked()
        assert (await claims(details))["destination"] == {**place, "label": "Your door"}


async def test_a_link_that_has_expired_is_no_longer_offered(page: Page) -> None:
    sharing = {**SHARING["sharing"], "max_life": 2}
    async with serving(plugins={**SHARING, "sharing": sharing}) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await row(page, "v1").click()
        details = card(page, "v1")
        await details.get_by_role("button", name="Share").click()
        await claims(details)
        await expect(details.get_by_role("button", name="Make a link")).to_be_visible()
        await expect(details.get_by_label("Link", exact=True)).to_be_hidden()


async def test_escape_leaves_a_field_of_the_card_and_not_the_card(page: Page) -> None:
    async with serving(plugins=SHARING) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await row(page, "v1").click()
        details = card(page, "v1")
        share = details.get_by_role("button", name="Share")
        await share.click()
        name = details.get_by_label("Shown as")
        await name.fill("Your sofa")
        await page.keyboard.press("Escape")
        await expect(share).to_be_focused()
        await expect(name).to_have_value("Your sofa")
        await page.keyboard.press("Escape")
        await expect(details).to_be_hidden()
        await expect(page.locator("#list")).to_be_focused()


async def test_metadata_never_replaces_what_the_server_says(page: Page) -> None:
    told = {"Speed": "0 km/h", "Position": "0.00000, 0.00000", "built": "2019-03-05T10:00:00Z"}
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", speed=72, metadata=told)
        await open_console(page, live)
        await row(page, "v1").click()
        facts = page.locator("#facts")
        await expect(facts).to_contain_text("Speed72 km/h")
        await expect(facts).to_contain_text("Position52.60000, -8.60000")
        await expect(facts).to_contain_text("Speed0 km/h")
        await expect(facts).to_contain_text("2019")
        term = await facts.locator("dt").first.element_handle()
        await expect(facts).to_contain_text(re.compile(r"Seen[2-9] s ago"))
        assert term is not None
        assert await term.evaluate("element => element.isConnected")


@BOTH_SIZES
async def test_who_may_not_share_has_no_button_then(page: Page, complaints: Complaints) -> None:
    complaints.expect("403")
    rules = {"drivers": {"claim": "role", "values": ["viewer"], "hide": ["speed"]}}
    plugins = {**SHARING, "privacy": {"rules": rules}}
    async with serving(plugins=plugins) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live, role="viewer")
        await row(page, "v1").click()
        details = card(page, "v1")
        await details.get_by_role("button", name="Share").click()
        await details.get_by_role("button", name="Make a link").click()
        await expect(details.locator("#share-note")).to_have_text("You may not share this.")
        await expect(details.get_by_role("button", name="Share")).to_be_hidden()


async def test_there_is_no_share_where_sharing_is_off(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await row(page, "v1").click()
        await expect(card(page, "v1").get_by_role("button", name="Follow")).to_be_visible()
        await expect(card(page, "v1").get_by_role("button", name="Share")).to_be_hidden()


@pytest.mark.parametrize("size", SIZES)
async def test_the_position_is_copied_and_opened_elsewhere(new_page: NewPage, size: str) -> None:
    page = await new_page(**SIZES[size])
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", latitude=52.66, longitude=-8.63)
        await open_console(page, live)
        await row(page, "v1").click()
        details = card(page, "v1")
        await details.get_by_role("button", name="Copy position").click()
        await expect(details.get_by_role("button", name="Copied")).to_be_visible()
        assert await page.evaluate(CLIPBOARD) == "52.66000, -8.63000"
        link = details.get_by_role("link", name="Open on openstreetmap.org")
        await expect(link).to_have_attribute(
            "href",
            "https://www.openstreetmap.org/?mlat=52.66&mlon=-8.63#map=16/52.66/-8.63",
        )
        await expect(link).to_have_attribute("rel", "noopener noreferrer")
        await expect(link).to_have_attribute("target", "_blank")


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("https://maps.example.com/@{latitude},{longitude}", "Open on maps.example.com"),
        ("", None),
    ],
)
async def test_the_other_map_is_configured(page: Page, template: str, name: str | None) -> None:
    table = {"enabled": True, "external_map": template}
    async with serving(plugins={"console": table}) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await row(page, "v1").click()
        links = card(page, "v1").get_by_role("link")
        await expect(links).to_have_text([name] if name else [])


@pytest.mark.parametrize("size", SIZES)
async def test_speeds_and_times_are_as_the_user_prefers(new_page: NewPage, size: str) -> None:
    page = await new_page(**SIZES[size], timezone_id="Europe/Dublin", locale="en-GB")
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", speed=100)
        await live.publish("v2", timestamp="2026-01-31T12:00:00.000Z")
        await open_console(page, live)
        await expect(row(page, "v1")).to_contain_text("100 km/h")
        await expect(row(page, "v2")).to_contain_text("Offline since 31 Jan")
        await row(page, "v2").click()
        await expect(card(page, "v2")).to_contain_text("31 Jan, 12:00")
        close = page.get_by_role("button", name="Close")
        await close.click()
        await set_preference(page, "mph", "Time of day")
        await expect(row(page, "v1")).to_contain_text("62 mph")
        await expect(row(page, "v1")).to_contain_text(re.compile(r"\d:\d\d"))
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_label("Time zone").select_option("Asia/Tokyo")
        await page.keyboard.press("Escape")
        await row(page, "v2").click()
        await expect(card(page, "v2")).to_contain_text("31 Jan, 21:00")
        await close.click()
        await row(page, "v1").click()
        await expect(card(page, "v1")).to_contain_text("62 mph")

        await page.reload()  # the browser remembers
        await expect(row(page, "v1")).to_contain_text("62 mph")
        await page.go_back()
        await page.go_back()
        await expect(card(page, "v2")).to_contain_text("31 Jan, 21:00")


@BOTH_SIZES
async def test_what_is_remembered_wrongly_does_no_harm(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", speed=100)
        await page.goto(f"{live.url}/console")
        stored = '{"speed": "knots", "zone": "Mars/Olympus", "columns": ["x", "speed"], "sort": 1}'
        await page.evaluate(
            "text => localStorage.setItem('atriz-realtime-preferences', text)", stored
        )
        await open_console(page, live)
        await expect(row(page, "v1")).to_contain_text("100 km/h")


@BOTH_SIZES
async def test_it_fills_the_screen(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await open_console(page, live)
        button = page.get_by_role("button", name="Full screen")
        await button.click()
        await expect(button).to_have_attribute("aria-pressed", "true")
        await button.click()
        await expect(button).to_have_attribute("aria-pressed", "false")

"""The address of the live map says what one sees, and leads back to it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.chromium import leaving
from tests.browser.conftest import NewPage
from tests.browser.console import (
    ON,
    PHONE,
    SLOW,
    card,
    listed,
    open_console,
    open_link,
    row,
)
from tests.support.servers.serving import Live, serving, token

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def fleet(live: Live) -> None:
    await live.publish("v1", latitude=52.6)
    await live.publish("a/b @c", latitude=52.7)
    await live.post(
        "/api/tracking/location", {"deliveryId": "d1", "latitude": 52.65, "longitude": -8.6}
    )


@pytest.mark.parametrize("size", ["desktop", "phone"])
async def test_a_link_leads_to_an_entity_and_back(new_page: NewPage, size: str) -> None:
    page = await new_page(**(PHONE if size == "phone" else {}))
    async with serving(plugins=ON) as live, leaving(page):
        await fleet(live)
        await open_console(page, live)
        await row(page, "v1").click()
        await expect(page).to_have_url(f"{live.url}/console#vehicle/v1")
        await page.get_by_role("button", name="Close").click()
        await row(page, "a/b @c").click()
        await expect(page).to_have_url(f"{live.url}/console#vehicle/a%2Fb%20%40c")
        await page.go_back()
        await expect(card(page, "a/b @c")).to_be_hidden()
        await page.go_back()
        await expect(card(page, "v1")).to_be_visible()
        await page.go_back()
        await expect(page.locator("#details")).to_be_hidden()
        await page.go_forward()
        await expect(card(page, "v1")).to_be_visible()

        await open_link(page, live, "vehicle/a%2Fb%20%40c")
        details = card(page, "a/b @c")
        await expect(details.get_by_role("button", name="Following")).to_be_visible()


async def test_a_link_has_the_search_the_filters_and_the_view(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await fleet(live)
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(3)
        assert page.url == f"{live.url}/console"
        await page.get_by_role("button", name="delivery 1").click()
        await page.get_by_label("Search").fill("v & 1")
        await expect(page).to_have_url(f"{live.url}/console#?search=v%20%26%201&types=vehicle")
        await page.get_by_label("Search").fill("v")
        await page.mouse.move(900, 300)
        await page.mouse.down()
        await page.mouse.move(800, 350, steps=4)
        await page.mouse.up()
        await expect(page).to_have_url(
            re.compile(r"/console#@52\.\d{5},-8\.\d{5},\d+\?search=v&types=vehicle$")
        )
        fragment = page.url.partition("#")[2]
        await open_link(page, live, fragment)
        await expect(page.get_by_role("option")).to_have_count(1)
        assert await listed(page) == ["v1"]
        await expect(page.get_by_label("Search")).to_have_value("v")
        assert page.url.partition("#")[2] == fragment

        await open_link(page, live, "vehicle/v1@10.00000,20.00000,5?status=live,stale")
        details = card(page, "v1")
        await expect(details.get_by_role("button", name="Follow", exact=True)).to_be_visible()
        offline = page.get_by_role("button", name="Offline 0")
        await expect(offline).to_have_attribute("aria-pressed", "false")


async def test_a_link_to_what_is_not_known_says_so(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await fleet(live)
        await open_console(page, live)
        await open_link(page, live, "vehicle/gone")
        await expect(page.locator("#notice")).to_have_text("Nothing is known of vehicle gone")
        await live.publish("gone")
        await expect(card(page, "gone")).to_be_visible(timeout=SLOW)
        await expect(page.locator("#notice")).to_be_hidden()


@pytest.mark.parametrize(
    "fragment", ["%E0%A4%A/x", "vehicle/v1/x", "@1,2", "@x,y,z", "?status=gone,&types=", "/@?"]
)
async def test_a_wrong_address_does_no_harm(page: Page, fragment: str) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await open_link(page, live, fragment)
        await expect(page.locator("#shown")).to_have_text("1")


async def test_an_awaited_entity_leaves_what_the_user_does_alone(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("bus1")
        await live.publish("bus2")
        await open_console(page, live)
        await open_link(page, live, "vehicle/late")
        await page.get_by_label("Search").fill("bus1")
        await expect(page).to_have_url(re.compile("#vehicle/late.*search=bus1$"))
        await live.publish("late")
        await expect(card(page, "late")).to_be_visible(timeout=15_000)
        await expect(page.get_by_label("Search")).to_have_value("bus1")
        await expect(page).to_have_url(re.compile("#vehicle/late.*search=bus1$"))


async def test_only_an_address_that_begins_with_a_token_signs_in(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await open_link(page, live, "vehicle/v1?search=v&token=zzz")
        await expect(card(page, "v1")).to_be_visible()


async def test_signing_out_clears_the_address(page: Page) -> None:
    async with serving(plugins=ON) as live:
        await live.publish("secret1")
        await open_console(page, live)
        await open_link(page, live, "vehicle/secret1?search=secret")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Access token")).to_be_visible()
        await expect(page).to_have_url(f"{live.url}/console")


@pytest.mark.parametrize(
    "script",
    [
        "Object.defineProperty(window, 'sessionStorage', "
        "{ get() { throw new DOMException('', 'SecurityError'); } })",
        "Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }",
    ],
    ids=["refused", "full"],
)
async def test_a_tab_that_stores_nothing_signs_in(page: Page, script: str) -> None:
    await page.add_init_script(script)
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await expect(row(page, "v1")).to_be_visible()
        await page.reload()
        await page.get_by_label("Access token").fill(token("u1"))
        await page.get_by_role("button", name="Sign in").click()
        await expect(row(page, "v1")).to_be_visible()

"""Checks a page for accessibility with axe-core."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from playwright.async_api import Page

from tests.support.clients.node import JS, with_packages

RUN = "async () => (await axe.run()).violations"

SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")


@cache
def _source() -> str:
    return (with_packages(JS) / "node_modules" / "axe-core" / "axe.min.js").read_text()


async def violations(page: Page) -> list[str]:
    """Return what axe-core objects to, in light and dark: the rule, and the elements at fault."""
    # evaluated by the debugger, since the page's policy allows no further script
    await page.evaluate(_source())
    found: list[str] = []
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        rules: list[dict[str, Any]] = await page.evaluate(RUN)
        found += [
            f"{scheme}: {each['id']}: {node['html']}: {node['failureSummary']}"
            for each in rules
            for node in each["nodes"]
        ]
    await page.emulate_media(color_scheme="light")
    return found

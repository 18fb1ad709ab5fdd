"""Checks a page for accessibility with axe-core."""

from __future__ import annotations

from functools import cache
from typing import Any

from playwright.async_api import Page

from tests.support.clients.node import JS, with_packages

RUN = "async () => (await axe.run()).violations"


@cache
def _source() -> str:
    return (with_packages(JS) / "node_modules" / "axe-core" / "axe.min.js").read_text()


async def violations(page: Page) -> list[str]:
    """Return what axe-core objects to: the rule, and the elements with what is wrong."""
    # evaluated by the debugger, since the page's policy allows no further script
    await page.evaluate(_source())
    found: list[dict[str, Any]] = await page.evaluate(RUN)
    return [
        f"{each['id']}: {node['html']}: {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
    ]

"""What a page looks like: the colours of its map."""

from __future__ import annotations

import base64
import time

from playwright.async_api import Page

from tests.support.servers.serving import TIMEOUT

SHARES = """async ([picture, colours]) => {
  const image = new Image();
  image.src = `data:image/png;base64,${picture}`;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  const found = colours.map(() => 0);
  const parsed = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const wanted = colours.map(parsed);
  for (let at = 0; at < data.length; at += 4) {
    wanted.forEach(([red, green, blue], index) => {
      const apart = [data[at] - red, data[at + 1] - green, data[at + 2] - blue].map(Math.abs);
      if (Math.max(...apart) <= 2) found[index] += 1;
    });
  }
  return found.map((each) => each / (data.length / 4));
}"""
"""The shares of a picture that have given colours."""

COLOURS = """(names) => names.map((name) => {
  const context = new OffscreenCanvas(1, 1).getContext('2d');
  const style = getComputedStyle(document.documentElement);
  context.fillStyle = style.getPropertyValue(`--${name}`).trim();
  return context.fillStyle;
})"""
"""The values of colours of the theme."""


async def painted(page: Page, colours: list[str]) -> list[float]:
    """The shares of the map that have given colours, such as `#0c141d`."""
    picture = base64.b64encode(await page.locator("#map").screenshot()).decode()
    found: list[float] = await page.evaluate(SHARES, [picture, colours])
    return found


async def shares(page: Page, *names: str) -> dict[str, float]:
    """The shares of the map that have given colours of the theme."""
    colours = await page.evaluate(COLOURS, list(names))
    return dict(zip(names, await painted(page, colours), strict=True))


async def until_drawn(page: Page, **least: float) -> None:
    """Wait until colours of the theme cover at least these shares of the map."""
    names = {name.replace("_", "-"): share for name, share in least.items()}
    end = time.monotonic() + TIMEOUT
    while True:
        found = await shares(page, *names)
        if all(found[name] >= share for name, share in names.items()):
            return
        assert time.monotonic() < end, f"{found}, wanted {names}"
        await page.wait_for_timeout(100)

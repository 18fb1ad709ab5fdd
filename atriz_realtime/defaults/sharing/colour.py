"""A brand's colour on the page: text that can be read on it, and its shade on light and dark.

Contrast is that of WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio.
"""

from __future__ import annotations

import re

COLOUR = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)
"""A colour as CSS writes it in hexadecimal."""

VISIBLE = 3.0
"""The contrast of a control or a mark and its ground, at least (success criterion 1.4.11)."""

LIGHT, DARK = "#ffffff", "#141c26"
"""The ground of the page's card in the light and in the dark scheme: `--surface` of `theme.css`."""

_STEPS = 20

Rgb = tuple[int, int, int]


def style(colour: str) -> str:
    """The style of a page in a brand's colour.

    Every colour has a contrast of 4.6 or more to either black or white.
    """
    brand = _rgb(colour)
    on_brand = max("#000000", "#ffffff", key=lambda text: contrast(_rgb(text), brand))
    light, dark = visible(brand, LIGHT), visible(brand, DARK)
    return (
        f":root{{--brand:{_text(brand)};--on-brand:{on_brand};{_accent(light)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{_accent(dark)}}}}}"
    )


def visible(colour: Rgb, ground: str) -> Rgb:
    """The shade of a colour next to it that stands out from a ground."""
    behind = _rgb(ground)
    towards = (0, 0, 0) if luminance(behind) > 0.5 else (255, 255, 255)
    for step in range(_STEPS):
        mixed = _mixed(colour, towards, step / _STEPS)
        if contrast(mixed, behind) >= VISIBLE:
            return mixed
    return towards


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast of two colours, from 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: Rgb) -> float:
    """The relative luminance of a colour, from 0 (black) to 1 (white)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (each / 255 for each in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _accent(colour: Rgb) -> str:
    on_accent = max("#000000", "#ffffff", key=lambda text: contrast(_rgb(text), colour))
    return f"--accent:{_text(colour)};--on-accent:{on_accent};--kind-0:{_text(colour)}"


def _mixed(colour: Rgb, other: Rgb, part: float) -> Rgb:
    red, green, blue = (
        round(one + (two - one) * part) for one, two in zip(colour, other, strict=True)
    )
    return red, green, blue


def _rgb(colour: str) -> Rgb:
    digits = colour[1:] if len(colour) == 7 else "".join(each * 2 for each in colour[1:])
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def _text(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)

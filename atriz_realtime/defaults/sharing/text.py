"""Lines of text that a page shows, from whatever a device or a caller has written."""

from __future__ import annotations

import re
import unicodedata

MAX_TEXT = 100
"""Characters of a text that a link, or a location's `metadata`, gives the page of a share."""

_JOINERS = "\u200c\u200d"
"""The zero-width non-joiner and joiner, which emoji and the scripts of Persia and India need."""

_BLANK = re.compile("[\x00-\x1f\x7f-\x9f\u180e\u200b\u2800\u3164\ufeff\uffa0]+")
"""Characters that show nothing and that :meth:`str.split` does not know: controls, the zero-width
space, fillers."""

_SKIN = re.compile("[\U0001f3fb-\U0001f3ff]")
"""Emoji modifiers, which belong to the character before them."""

_BETWEEN_NAMES = re.compile("[ ,\uff0c\u3001\u30fb]+")
"""What stands between the names of a person: also the commas of China and Japan, and the dot
between foreign names in Japanese."""


def text_of(value: object) -> str | None:
    """A value, which is a string or a number, as a line of text that can be seen, or ``None``.

    A run of space, of any kind and with line breaks, becomes one space.  Invisible characters that
    change how a text reads, such as those that reverse its direction, are left out.  A longer text
    is cut after a whole character.
    """
    line = line_of(value)
    return None if line is None else _cut(line)


def line_of(value: object) -> str | None:
    """The same as :func:`text_of` without the cut."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    words = _BLANK.sub(" ", str(value)).split()
    line = "".join(each for each in " ".join(words) if each.isprintable() or each in _JOINERS)
    return line if any(unicodedata.category(each)[0] in "LNPS" for each in line) else None


def first_name(line: str) -> str | None:
    """The first word of a person's name."""
    words = [each for each in _BETWEEN_NAMES.split(line) if each]
    return words[0] if words else None


def _cut(line: str) -> str:
    """The first characters of a line, without a part of one at the end."""
    end = MAX_TEXT
    while 0 < end < len(line) and (_continues(line[end]) or line[end - 1] == _JOINERS[1]):
        end -= 1
    return line[: end or MAX_TEXT].rstrip()


def _continues(character: str) -> bool:
    """Whether a character belongs to the one before it."""
    is_mark = unicodedata.category(character)[0] == "M"
    return is_mark or character in _JOINERS or _SKIN.match(character) is not None

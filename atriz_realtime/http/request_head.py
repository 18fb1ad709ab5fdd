"""What the front door reads of a request's head before anybody has parsed it."""

from __future__ import annotations

import re

import httptools

END = b"\r\n\r\n"
"""Where a head ends."""

MAX_REPEATED = 4_096
"""Bytes of a head that is kept to be known again."""

MAX_DIGITS = 9
"""Digits of a body's length in a head that is known again."""

UNUSUAL = frozenset({b"origin", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers that make a call somebody else's: CORS, 100-continue, chunks, upgrades."""

_UNUSUAL = re.compile(rb"\n(?:%b):" % b"|".join(sorted(UNUSUAL)), re.IGNORECASE)

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n")


def is_unusual(data: bytes, end: int) -> bool:
    """Whether the head that ends there has such a header."""
    return _UNUSUAL.search(data, 0, end) is not None


def is_whole(data: bytes) -> bool:
    """Whether these bytes are one whole ordinary request and nothing else.

    When in doubt they are not: whoever takes them for whole would take what follows for
    another request.
    """
    head_end = data.find(END)
    if head_end < 0:
        return False
    head = data[: head_end + 2].lower()
    if b"\ntransfer-encoding" in head or b"\nupgrade:" in head or b"\nexpect:" in head:
        return False
    declared = head.count(b"content-length")
    if declared > 1:
        return False
    found = _LENGTH.search(head)
    if declared and found is None:
        return False
    length = int(found[1]) if found is not None else 0
    return len(data) == head_end + len(END) + length


class HeadCache:
    """A request's head that was parsed once, to be known by its bytes when it comes again.

    A device sends the same head with every fix, but for the digits of the body's length.

    :param before: the head up to those digits.
    :param after: the rest of it.
    """

    __slots__ = ("_after", "_before")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after

    @classmethod
    def of(cls, data: bytes) -> HeadCache | None:
        """The head of one whole request that says how long it is; ``None`` for anything else."""
        end = data.find(END) + len(END)
        found = _LENGTH.search(data[:end].lower()) if end <= MAX_REPEATED else None
        if found is None or not is_whole(data):
            return None
        return cls(data[: found.start(1)], data[found.end(1) : end])

    def body(self, data: bytes, most: int) -> bytes | None:
        """The body of a whole request with this head; ``None`` for any other.

        :param most: bytes that a body may have.
        """
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(after, start, start + MAX_DIGITS + len(after))
        digits = data[start:end]
        if end < 0 or not digits.isdigit():
            return None
        begins, length = end + len(after), int(digits)
        return data[begins:] if len(data) - begins == length <= most else None


def is_handshake(data: bytes) -> bool:
    """Whether these bytes are a websocket handshake and nothing else, a header to each line."""
    if not data.endswith(END) or data.count(END) != 1:
        return False
    if _FOLDED.search(data) or data.count(b"\n") != data.count(b"\r\n"):
        return False
    try:
        httptools.HttpRequestParser(_NOBODY).feed_data(data)
    except httptools.HttpParserUpgrade:
        upgrades: list[bytes] = _UPGRADE.findall(data)
        return len(upgrades) == 1 and upgrades[0].lower() == b"websocket"
    except httptools.HttpParserError:
        pass
    return False


_FOLDED = re.compile(rb"\n[ \t]")

_UPGRADE = re.compile(rb"\nupgrade:[ \t]*(.*?)[ \t]*\r", re.IGNORECASE)

_NOBODY = object()
"""Takes nothing off a parser, which only has to agree."""

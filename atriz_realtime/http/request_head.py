"""What the raw bytes of a request say before, or instead of, parsing them."""

from __future__ import annotations

import re

from atriz_realtime.engine.request.header_fields import MAX_LENGTH
from atriz_realtime.engine.request.request import MAX_HEAD

END = b"\r\n\r\n"
"""The end of a request head."""

PIECE = 16_384
"""Bytes of a read that are parsed before the bounds of a request are looked at again."""

MAX_CACHED_HEAD = 4_096
"""Bytes of a request head that is cached."""

MAX_CACHED_HEADS = 33_554_432
"""Bytes of all cached heads together; beyond, no further one is cached. Their parsed headers take a
few times as much."""

MAX_DIGITS = 9
"""Digits of the content length that a cached head may be completed with."""

FALLBACK_HEADERS = frozenset({b"origin", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers that uvicorn's own protocol has to handle: CORS, 100-continue, chunks, upgrades."""

FALLBACK_HEADER = re.compile(rb"\n(?:%b):" % b"|".join(sorted(FALLBACK_HEADERS)), re.IGNORECASE)
"""Finds one of them in the bytes of a request head."""

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,%d})[ \t]*\r\n" % MAX_LENGTH)

_LINE = re.compile(rb'(?:GET|POST) [!"$-~]+ HTTP/1\.1(?=\r\n)')


def end_of_head(data: bytes) -> int:
    """Return where the head that the bytes begin with ends; -1: not within the allowed size."""
    return data.find(END, 0, MAX_HEAD)


def pieces(data: bytes) -> list[bytes]:
    """Split a read, which may have far more bytes than a head."""
    if len(data) <= PIECE:
        return [data]
    return [data[start : start + PIECE] for start in range(0, len(data), PIECE)]


def is_whole(data: bytes) -> bool:
    """Return whether the bytes are exactly one request, with its body, beyond doubt.

    A wrong yes would let a part of one request be read as another (request smuggling).
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


def split(data: bytes) -> tuple[bytes, bytes] | None:
    """Split a read into the head of a GET or POST, without its last line, and what follows it.

    The read has the end of a head.

    :returns: ``None`` when the request line is unusual in any way.
    """
    if _LINE.match(data) is None:
        return None
    end = data.find(END)
    return data[: end + 2], data[end + len(END) :]


class HeadCache:
    """The bytes of a parsed request head, to recognise the next request that has the same.

    A device sends the same head with every fix, except for the digits of the content length.

    :param before: the head up to those digits.
    :param after: the rest of the head.
    """

    __slots__ = ("_after", "_before", "size")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after
        self.size = len(before) + len(after)

    @classmethod
    def of(cls, data: bytes) -> HeadCache | None:
        """Cache the head of a whole request with a content length; ``None`` for anything else."""
        end = data.find(END) + len(END)
        found = _LENGTH.search(data[:end].lower()) if end <= MAX_CACHED_HEAD else None
        if found is None or not is_whole(data):
            return None
        return cls(data[: found.start(1)], data[found.end(1) : end])

    def body(self, data: bytes, max_body: int) -> bytes | None:
        """Return the body of a whole request that has this head; ``None`` for any other bytes.

        :param max_body: bytes that the body may have.
        """
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(after, start, start + MAX_DIGITS + len(after))
        digits = data[start:end]
        if end < 0 or not digits.isdigit():
            return None
        body_start, length = end + len(after), int(digits)
        return data[body_start:] if len(data) - body_start == length <= max_body else None

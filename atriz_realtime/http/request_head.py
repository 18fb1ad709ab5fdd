"""What the raw bytes of a request say before, or instead of, parsing them."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

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

MAX_LENGTH = 18
"""Digits of a content length."""

MAX_DIGITS = 9
"""Digits of the content length that a cached head may be completed with."""

FALLBACK_HEADERS = frozenset({b"origin", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers that uvicorn's own protocol has to handle: CORS, 100-continue, chunks, upgrades."""

FALLBACK_HEADER = re.compile(rb"\n(?:%b):" % b"|".join(sorted(FALLBACK_HEADERS)), re.IGNORECASE)
"""Finds one of them in the bytes of a request head."""

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,%d})[ \t]*\r\n" % MAX_LENGTH)

MAX_HEADERS = 2_048
"""Bytes of the headers of a request that are remembered with what they say about its length: a
browser sends the same with each poll."""

MAX_REMEMBERED = 512
"""Such headers of different requests; beyond, those that came longest ago are read again."""

_LINE = re.compile(rb"(?:GET|POST) [!-~]+ HTTP/1\.1(?=\r\n)")

_HEADERS = re.compile(rb"\r\n(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[^\0-\x08\n-\x1f\x7f]*\r\n)*+\r\n")
"""What follows a request line, as RFC 9112 has it, without anything that a lenient reader might
accept."""

_FRAMING = re.compile(
    rb"\n(connection|content-length|expect|transfer-encoding|upgrade):[ \t]*+([^\r]*)",
    re.IGNORECASE,
)
"""The headers that say where a request ends, and how the connection goes on."""

_UNDERSTOOD = {b"connection", b"content-length"}

_SESSION = re.compile(rb"[A-Z]+ [^ \r\n?]*\?(?:[^ \r\n]*&)?sid=([^& \r\n]*)")


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


def _plain_head(data: bytes) -> tuple[int, Mapping[bytes, bytes]] | None:
    """Return where a plain head ends, and its headers that matter here, in lower case.

    ``None`` for any other bytes, and when one of those headers is repeated.
    """
    line = _LINE.match(data)
    if line is None:
        return None
    end = data.find(END) + len(END)
    headers = data[line.end() : end]
    read = _framing if len(headers) <= MAX_HEADERS else _framing.__wrapped__
    fields = read(headers)
    return None if fields is None else (end, fields)


@functools.lru_cache(MAX_REMEMBERED)
def _framing(headers: bytes) -> Mapping[bytes, bytes] | None:
    """Return the headers that say where a request ends; ``None`` when they may be misread."""
    if _HEADERS.fullmatch(headers) is None:
        return None
    lines = _FRAMING.findall(headers)
    fields = {name.lower(): value.rstrip(b" \t").lower() for name, value in lines}
    return fields if len(fields) == len(lines) else None


def is_handshake(data: bytes) -> bool:
    """Return whether the bytes are exactly one websocket handshake."""
    plain = _plain_head(data)
    if plain is None:
        return False
    end, fields = plain
    return (
        end == len(data)
        and fields.keys() == {b"connection", b"upgrade"}
        and fields[b"upgrade"] == b"websocket"
        and b"upgrade" in [wish.strip(b" \t") for wish in fields[b"connection"].split(b",")]
    )


def session_of(data: bytes) -> str | None:
    """Return the session that a request of Socket.IO names; ``None``: it names none."""
    found = _SESSION.match(data)
    return found[1].decode("latin-1") if found is not None else None


def plain_request(data: bytes) -> tuple[bytes, bytes, bool] | None:
    """Split the bytes of one ordinary GET or POST; ``None`` for any other bytes.

    :returns: the head without its last line, the body, and whether the connection stays open.
    """
    plain = _plain_head(data)
    if plain is None:
        return None
    end, fields = plain
    wish, length = fields.get(b"connection", b""), fields.get(b"content-length", b"0")
    if fields.keys() - _UNDERSTOOD or wish not in (b"", b"keep-alive", b"close"):
        return None
    if not length.isdigit() or len(length) > MAX_LENGTH or len(data) != end + int(length):
        return None
    return data[: end - 2], data[end:], wish != b"close"


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

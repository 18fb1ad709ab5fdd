"""What the headers of a request say: each value, and where the request ends.

A client that polls sends the same headers with each request. What they say is therefore remembered,
for as long as others do not take their place: they may hold tokens.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import attrs

MAX_LINES = 128
"""Headers that a request may have; one that has more is refused.  Browsers send about 20.  Another
ASGI server than uvicorn with ``http_protocol()`` bounds requests to HTTP endpoints itself."""

MAX_SIZE = 2_048
"""Bytes of the headers of a request that are remembered. What they say takes up to ten times as
much."""

MAX_REMEMBERED = 256
"""Headers of different requests that are remembered; those that came longest ago are forgotten."""

MAX_HANDSHAKES = 32
"""The same for handshakes of websockets, of which no two are alike: only the questions about one
handshake need not read it again."""

MAX_LENGTH = 18
"""Digits of a content length."""

_LINES = re.compile(rb"(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[^\0-\x08\n-\x1f\x7f]*\r\n)*+")
"""Headers as RFC 9112 has them, without anything that a lenient reader might accept."""

_FRAMING = frozenset(
    {b"connection", b"content-length", b"expect", b"transfer-encoding", b"upgrade"}
)
"""The headers that say where a request ends, and how the connection goes on."""

_CONNECTION = frozenset({None, "keep-alive", "close"})

_HANDSHAKE = b"ocket-"
"""Part of the header that makes a handshake unlike any other, however clients and proxies write
``Sec-WebSocket-Key``."""


@attrs.frozen(kw_only=True)
class HeaderFields:
    """The headers of one request."""

    first: Mapping[bytes, str] = attrs.field(repr=False)  # it shows tokens
    """The first value of each header; names in lower case."""
    are_too_many: bool
    """Whether there are more than ``MAX_LINES``, none of which was read."""
    is_forwarded: bool
    """Whether a proxy says on whose behalf it asks."""
    body_size: int
    """Bytes of the body; -1: it has to be found by a parser, or the request is no ordinary one."""
    keep_alive: bool
    """Whether the connection stays open after an ordinary request."""
    opens_websocket: bool
    """Whether these are the headers of a websocket handshake, beyond doubt."""


_TOO_MANY = HeaderFields(
    first={},
    are_too_many=True,
    is_forwarded=False,
    body_size=-1,
    keep_alive=False,
    opens_websocket=False,
)


def header_fields(block: bytes) -> HeaderFields:
    """Read headers.

    :param block: the headers as they came, each line ending in CR LF.
    """
    if len(block) > MAX_SIZE:
        return _read(block)
    return _of_handshakes(block) if _HANDSHAKE in block else _remembered(block)


def _read(block: bytes) -> HeaderFields:
    if block.count(b"\n") > MAX_LINES:
        return _TOO_MANY
    lines = [line.partition(b":") for line in block.split(b"\r\n") if line]
    named = [(name.lower(), value.strip().decode("latin-1")) for name, _, value in lines]
    first = dict(reversed(named))
    framing = [name for name, _ in named if name in _FRAMING]
    is_plain = len(framing) == len(set(framing)) and _LINES.fullmatch(block) is not None
    return HeaderFields(
        first=first,
        are_too_many=False,
        is_forwarded=any(name.startswith(b"x-forwarded-") for name in first),
        body_size=_body_size(first, framing) if is_plain else -1,
        keep_alive=_lower(first, b"connection") != "close",
        opens_websocket=is_plain and _opens_websocket(first, framing),
    )


_remembered = functools.lru_cache(MAX_REMEMBERED)(_read)
_of_handshakes = functools.lru_cache(MAX_HANDSHAKES)(_read)


def _body_size(first: Mapping[bytes, str], framing: list[bytes]) -> int:
    length = first.get(b"content-length", "0")
    if {b"expect", b"transfer-encoding", b"upgrade"}.intersection(framing):
        return -1
    if _lower(first, b"connection") not in _CONNECTION:
        return -1
    is_number = length.isascii() and length.isdigit() and len(length) <= MAX_LENGTH
    return int(length) if is_number else -1


def _opens_websocket(first: Mapping[bytes, str], framing: list[bytes]) -> bool:
    wishes = first.get(b"connection", "").lower().split(",")
    return (
        set(framing) == {b"connection", b"upgrade"}
        and first[b"upgrade"].lower() == "websocket"
        and "upgrade" in [wish.strip(" \t") for wish in wishes]
    )


def _lower(first: Mapping[bytes, str], name: bytes) -> str | None:
    value = first.get(name)
    return None if value is None else value.lower()

"""What the headers of a request say."""

from __future__ import annotations

import pytest

from atriz_realtime.engine.request import header_fields as module
from atriz_realtime.engine.request.header_fields import (
    MAX_HANDSHAKES,
    MAX_LENGTH,
    MAX_LINES,
    MAX_REMEMBERED,
    MAX_SIZE,
    header_fields,
)


def test_the_first_value_of_a_header_counts() -> None:
    fields = header_fields(b"X-Two: 1\r\nx-two:2\r\nHost:\t here \r\nEmpty:\r\n")
    assert dict(fields.first) == {b"x-two": "1", b"host": "here", b"empty": ""}


def test_no_headers() -> None:
    fields = header_fields(b"")
    assert (dict(fields.first), fields.body_size, fields.keep_alive) == ({}, 0, True)
    assert not fields.opens_websocket


@pytest.mark.parametrize(
    ("name", "is_forwarded"),
    [(b"X-Forwarded-For", True), (b"x-forwarded-host", True), (b"Forwarded", False)],
)
def test_what_a_proxy_adds(name: bytes, is_forwarded: bool) -> None:
    assert header_fields(b"%b: a\r\n" % name).is_forwarded is is_forwarded


@pytest.mark.parametrize(
    ("length", "size"),
    [
        (b"0", 0),
        (b" 12 ", 12),
        (b"007", 7),
        (b"9" * MAX_LENGTH, int("9" * MAX_LENGTH)),
        (b"9" * (MAX_LENGTH + 1), -1),
        (b"", -1),
        (b"+1", -1),
        (b"1_0", -1),
        (b"\xb2", -1),  # a digit to str.isdigit
        (b"1, 1", -1),
    ],
)
def test_the_size_of_a_body(length: bytes, size: int) -> None:
    assert header_fields(b"Content-Length:%b\r\n" % length).body_size == size


@pytest.mark.parametrize("header", [b"", b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n"])
def test_a_handshake_needs_both_headers(header: bytes) -> None:
    assert not header_fields(header).opens_websocket


def test_too_many_are_not_read() -> None:
    assert not header_fields(b"X: x\r\n" * MAX_LINES).are_too_many
    fields = header_fields(b"X: x\r\n" * (MAX_LINES + 1))
    assert fields.are_too_many
    assert (fields.first, fields.body_size, fields.opens_websocket) == ({}, -1, False)


def test_a_repr_shows_no_token() -> None:
    assert "secret" not in repr(header_fields(b"Authorization: Bearer secret\r\n"))


def test_handshakes_take_the_place_of_no_other_headers() -> None:
    polls = header_fields(b"X-Poll: 1\r\n")
    for number in range(MAX_REMEMBERED + 1):
        block = b"Upgrade: websocket\r\nSec-WebSocket-Key: %d\r\n" % number
        assert header_fields(block) is header_fields(block)
    assert header_fields(b"X-Poll: 1\r\n") is polls
    assert module._of_handshakes.cache_info().currsize == MAX_HANDSHAKES


def test_equal_headers_are_read_once() -> None:
    block = b"X-Once: 1\r\n"
    assert header_fields(block) is header_fields(bytes(bytearray(block)))


def test_long_headers_are_not_remembered() -> None:
    longest = b"X-Long: %b\r\n" % (b"x" * (MAX_SIZE - 10))
    assert len(longest) == MAX_SIZE
    assert header_fields(longest) is header_fields(longest)
    longer = b"X" + longest
    assert header_fields(longer) == header_fields(longer)
    assert header_fields(longer) is not header_fields(longer)


def test_a_bounded_number_is_remembered() -> None:
    for number in range(MAX_REMEMBERED + 1):
        header_fields(b"X-Number: %d\r\n" % number)
    assert module._remembered.cache_info().currsize == MAX_REMEMBERED

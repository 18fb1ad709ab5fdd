"""Websocket frames, encoded and parsed in pieces of any size: RFC 6455, section 5."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atriz_realtime.engine.protocol import frames
from atriz_realtime.engine.protocol.frames import (
    Control,
    Fragment,
    FrameError,
    FrameReader,
    Received,
)
from tests.support.clients.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close,
    frame,
)

LIMIT = 100_000


def read(*parts: bytes, limit: int = LIMIT) -> list[Received]:
    """The output of a new reader that is fed these parts one by one, without fragments."""
    reader = FrameReader(limit)
    found = [received for part in parts for received in reader.feed(part)]
    return [received for received in found if not isinstance(received, Fragment)]


def refusal(*parts: bytes, limit: int = LIMIT) -> int:
    """The close code with which a new reader refuses these parts."""
    with pytest.raises(FrameError) as error:
        read(*parts, limit=limit)
    return error.value.code


# -- whole frames ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, LIMIT])
def test_a_message_of_any_length(size: int) -> None:
    text = "x" * size
    assert read(frame(TEXT, text)) == [text]
    assert read(frame(BINARY, text)) == [text.encode()]


def test_text_is_utf_8() -> None:
    assert read(frame(TEXT, "飛行機 🚚")) == ["飛行機 🚚"]
    assert refusal(frame(TEXT, b"\xff")) == frames.INVALID_TEXT
    assert read(frame(BINARY, b"\xff")) == [b"\xff"]


def test_control_frames() -> None:
    sent = frame(PING, b"a") + frame(PONG) + frame(PING, b"x" * 125) + close(1000, "bye")
    assert read(sent) == [
        Control(PING, b"a"),
        Control(PONG, b""),
        Control(PING, b"x" * 125),
        Control(CLOSE, b"\x03\xe8bye"),
    ]


# -- fragments ------------------------------------------------------------------------------


def test_fragments_make_one_message() -> None:
    parts = [
        frame(TEXT, b"\xe2\x82", fin=False),  # half a character
        frame(CONTINUATION, b"", fin=False),
        frame(CONTINUATION, b"\xac uro"),
        frame(BINARY, b"", fin=False),
        frame(CONTINUATION, b""),
    ]
    assert read(*parts) == ["€ uro", b""]
    assert read(b"".join(parts)) == ["€ uro", b""]


def test_control_frames_stand_between_fragments() -> None:
    parts = [frame(TEXT, "a", fin=False), frame(PING, "p"), frame(CONTINUATION, "b"), close()]
    assert read(*parts) == [Control(PING, b"p"), "ab", Control(CLOSE, b"")]


def test_fragments_of_invalid_text() -> None:
    parts = frame(TEXT, b"\xe2", fin=False), frame(CONTINUATION, b"x")
    assert refusal(*parts) == frames.INVALID_TEXT


# -- limits ---------------------------------------------------------------------------------


def test_the_limit_holds_for_a_whole_message() -> None:
    whole = frame(TEXT, "x" * 10)
    assert read(whole, limit=10) == ["x" * 10]
    assert refusal(frame(TEXT, "x" * 11), limit=10) == frames.TOO_BIG
    parts = [frame(BINARY, "x" * 4, fin=False), frame(CONTINUATION, "x" * 4, fin=False)]
    assert read(*parts, frame(CONTINUATION, "x" * 2), whole, limit=10) == [b"x" * 10, "x" * 10]
    assert refusal(*parts, frame(CONTINUATION, "x" * 3), limit=10) == frames.TOO_BIG


def test_control_frames_do_not_count_towards_the_limit() -> None:
    assert read(frame(TEXT, "xx", fin=False), frame(PING, "x" * 99), limit=2) == [
        Control(PING, b"x" * 99)
    ]


@pytest.mark.parametrize("size", [11, 126, 70_000, 1 << 40, (1 << 64) - 1])
def test_a_message_that_is_too_big_is_refused_by_its_header(size: int) -> None:
    head = frame(TEXT, size=size)
    assert refusal(head, limit=10) == frames.TOO_BIG


def test_a_frame_in_many_parts_takes_linear_time() -> None:
    """The time grows with the size, not with its square, and the buffer is released."""

    def seconds(size: int) -> float:
        reader, sent = FrameReader(size), frame(BINARY, bytes(size))
        started = time.process_time()
        found = [each for n in range(0, len(sent), 50) for each in reader.feed(sent[n : n + 50])]
        assert found == [bytes(size)]
        assert reader._buffer is None
        return time.process_time() - started

    small = min(seconds(200_000) for _ in range(3))
    assert (
        seconds(3_200_000) < 16 * max(small, 0.002) * 6
    )  # quadratic time would be 256 times as long


# -- errors --------------------------------------------------------------------------

WRONG = {
    "reserved bit 1": (frame(TEXT, reserved=4), frames.PROTOCOL_ERROR),
    "reserved bit 2": (frame(TEXT, reserved=2), frames.PROTOCOL_ERROR),
    "reserved bit 3": (frame(PING, reserved=1), frames.PROTOCOL_ERROR),
    "no mask": (frame(TEXT, "x", masked=False), frames.PROTOCOL_ERROR),
    "data opcode": (frame(3), frames.PROTOCOL_ERROR),
    "control opcode": (frame(11), frames.PROTOCOL_ERROR),
    "long ping": (frame(PING, "x" * 126), frames.PROTOCOL_ERROR),
    "fragmented ping": (frame(PING, fin=False), frames.PROTOCOL_ERROR),
    "nothing to continue": (frame(CONTINUATION), frames.PROTOCOL_ERROR),
    "continued twice": (
        frame(TEXT, fin=False) + frame(CONTINUATION) + frame(CONTINUATION),
        frames.PROTOCOL_ERROR,
    ),
    "message in a message": (frame(TEXT, fin=False) + frame(TEXT), frames.PROTOCOL_ERROR),
    "fragment in a message": (
        frame(TEXT, fin=False) + frame(BINARY, fin=False),
        frames.PROTOCOL_ERROR,
    ),
    "half a close code": (frame(CLOSE, b"\x03"), frames.PROTOCOL_ERROR),
    "close reason": (frame(CLOSE, b"\x03\xe8\xff"), frames.INVALID_TEXT),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_each_error_has_its_close_code(wrong: str) -> None:
    sent, code = WRONG[wrong]
    assert refusal(sent) == code
    assert refusal(*(sent[n : n + 1] for n in range(len(sent)))) == code


def test_messages_before_an_error_are_read() -> None:
    reader = FrameReader(LIMIT)
    feed = reader.feed(frame(TEXT, "good") + frame(3))
    assert next(feed) == "good"
    with pytest.raises(FrameError):
        next(feed)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
)
def test_a_valid_close_code(code: int) -> None:
    assert read(close(code)) == [Control(CLOSE, code.to_bytes(2))]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])
def test_an_invalid_close_code(code: int) -> None:
    assert refusal(close(code)) == frames.PROTOCOL_ERROR


# -- in any pieces --------------------------------------------------------------------------

messages = st.lists(st.text(max_size=300) | st.binary(max_size=300), max_size=8)
pieces = st.lists(st.integers(1, 400), min_size=1, max_size=20)


def sent(message: str | bytes, sizes: list[int]) -> bytes:
    """The frames of a message, in fragments of these sizes with a ping after each."""
    opcode = TEXT if isinstance(message, str) else BINARY
    data = message.encode() if isinstance(message, str) else message
    found = b""
    for size in sizes:
        found += frame(opcode, data[:size], fin=False) + frame(PING)
        opcode, data = CONTINUATION, data[size:]
    return found + frame(opcode, data)


@settings(max_examples=60)
@given(messages, pieces, pieces)
def test_any_messages_in_any_pieces(
    given_messages: list[str | bytes], fragments: list[int], sizes: list[int]
) -> None:
    data = b"".join(sent(each, fragments[:3]) for each in given_messages)
    parts, turn = [], 0
    while data:
        size = sizes[turn % len(sizes)]
        parts.append(data[:size])
        data, turn = data[size:], turn + 1
    assert [each for each in read(*parts) if not isinstance(each, Control)] == given_messages


@settings(max_examples=60)
@given(st.binary(max_size=200), pieces)
def test_any_bytes_are_read_alike_whole_and_in_pieces(data: bytes, sizes: list[int]) -> None:
    def outcome(*parts: bytes) -> tuple[list[Received], int | None]:
        reader, found = FrameReader(100), []
        try:
            for part in parts:
                found += list(reader.feed(part))
        except FrameError as error:
            return [], error.code
        return found, None

    assert outcome(data) == outcome(*(data[n : n + 1] for n in range(len(data))))


# -- encoding --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_is_encoded(size: int, head: bytes) -> None:
    payload = bytes(size)
    assert frames.encode(frames.TEXT, payload) == head + payload
    assert frames.encode(frames.BINARY, payload)[0] == 0x82


def test_a_close_frame_is_encoded() -> None:
    assert frames.encode_close(1000) == b"\x88\x02\x03\xe8"
    assert frames.encode_close(1002, "no") == b"\x88\x04\x03\xeano"
    truncated = frames.encode_close(1002, "é" * 100)
    assert len(truncated) == 2 + 2 + 122  # no half of a character
    assert truncated[4:].decode() == "é" * 61

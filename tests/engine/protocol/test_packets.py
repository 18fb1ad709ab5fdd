"""Engine.IO packets, encoded and parsed."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import (
    InvalidPacket,
    Packet,
    message,
    parse,
    parse_payload,
)


@pytest.mark.parametrize(
    ("packet", "text", "frame"),
    [
        (message("hi"), "4hi", b"\x81\x034hi"),
        (message("é"), "4é", b"\x81\x034\xc3\xa9"),
        (message(b"\x01\x02"), "bAQI=", b"\x82\x02\x01\x02"),
        (packets.PING_PACKET, "2", b"\x81\x012"),
        (packets.PROBE_ANSWER, "3probe", b"\x81\x063probe"),
        (packets.CLOSE_PACKET, "1", b"\x81\x011"),
        (packets.NOOP_PACKET, "6", b"\x81\x016"),
    ],
)
def test_a_packet_on_either_transport(packet: Packet, text: str, frame: bytes) -> None:
    assert packet.text == text
    assert packet.text is packet.text
    assert packet.frame == frame


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("4hi", ("4", "hi")),
        ("4", ("4", "")),
        ("2probe", ("2", "probe")),
        ("5", ("5", "")),
        ("bAQI=", ("4", b"\x01\x02")),
        ("b", ("4", b"")),
    ],
)
def test_a_packet_is_parsed(text: str, packet: tuple[str, str | bytes]) -> None:
    assert parse(text) == packet


@pytest.mark.parametrize("text", ["", "7", "x", " 4hi", "٤hi", "b!", "bAQI", "b AQI=", "bé", "b🚚"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidPacket):
        parse(text)


@given(st.text() | st.binary())
def test_a_message_survives_encoding_and_parsing(data: str | bytes) -> None:
    assert parse(message(data).text) == ("4", data)


@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        kind, _ = parse(text)
    except InvalidPacket:
        return
    assert kind in packets.TYPES


def test_a_payload() -> None:
    binary = "b" + base64.b64encode(b"x").decode()
    assert parse_payload(f"4a\x1e{binary}\x1e2".encode(), limit=3) == [
        ("4", "a"),
        ("4", b"x"),
        ("2", ""),
    ]


@pytest.mark.parametrize("body", [b"", b"\xff", b"4a\x1e", b"\x1e4a", b"4a\x1e\x1e4b"])
def test_an_invalid_payload_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidPacket):
        parse_payload(body, limit=3)

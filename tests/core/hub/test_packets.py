"""Socket.IO packets on strict JSON, and frames that are only spliced."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import socketio.packet

from atriz_realtime.core.hub.packets import SocketIOPacket as Packet
from atriz_realtime.core.hub.packets import StrictJson, is_too_deep, location_packet
from atriz_realtime.testing import event, location, moment, payload


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        (["e", {"a": [1, 2.5, None, True]}], '2["e",{"a":[1,2.5,null,true]}]'),
        (["e", "ü🚚"], '2["e","ü🚚"]'),
        (["e", moment()], '2["e","2026-01-31T12:00:00.000Z"]'),
    ],
)
def test_packets_are_compact_and_times_are_javascript_s(data: Any, encoded: str) -> None:
    assert Packet(socketio.packet.EVENT, data=data).encode() == encoded


def test_positions_can_be_sent_as_they_are() -> None:
    sent = ["e", location(), event()]
    encoded = Packet(socketio.packet.EVENT, data=sent).encode()
    assert json.loads(encoded[1:]) == ["e", location().to_wire(), event().to_wire()]


def test_what_has_no_json_form_cannot_be_sent() -> None:
    with pytest.raises(TypeError):
        Packet(socketio.packet.EVENT, data=["e", object()]).encode()


@pytest.mark.parametrize(
    "text", ['2["e",NaN]', '2["e",1e400]', '2["e","\\ud800"]', "2[[[[", "2" + "[" * 10_000]
)
def test_what_is_not_strict_json_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Packet(encoded_packet=text)


@pytest.mark.parametrize(
    ("text", "namespace", "number", "data"),
    [
        ('0/admin?token=1,{"a":1}', "/admin", None, {"a": 1}),
        ('2/admin,7["e",1]', "/admin", 7, ["e", 1]),
        ("1/admin,", "/admin", None, None),
        ("1/admin", "/admin", None, None),
        ('2["e"]', None, None, ["e"]),
    ],
)
def test_a_packet_names_its_namespace(
    text: str, namespace: str | None, number: int | None, data: Any
) -> None:
    packet = Packet(encoded_packet=text)
    assert (packet.namespace, packet.id, packet.data) == (namespace, number, data)


def test_attachments_are_bytes_and_have_their_places() -> None:
    text = '52-["e",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]'
    packet = Packet(encoded_packet=text)
    with pytest.raises(ValueError, match="text"):
        packet.add_attachment("one")
    assert [packet.add_attachment(part) for part in (b"one", b"two")] == [False, True]
    assert packet.data == ["e", b"two", b"one"]


@pytest.mark.parametrize("number", ["1", "-1", "true", '"0"', "0.0", "null"])
def test_a_placeholder_for_nothing_is_refused(number: str) -> None:
    packet = Packet(encoded_packet=f'51-["e",{{"_placeholder":true,"num":{number}}}]')
    with pytest.raises(ValueError, match="placeholder"):
        packet.add_attachment(b"one")


def test_a_disconnection_has_no_payload() -> None:
    with pytest.raises(ValueError, match="payload"):
        Packet(encoded_packet='1{"a":1}')


def test_packets_are_read() -> None:
    packet = Packet(encoded_packet='2["e",{"a":1}]')
    assert packet.data == ["e", {"a": 1}]


def test_a_location_frame_is_the_packet_that_an_emit_would_make() -> None:
    fix = payload(metadata={"ü": [1]})
    spliced = location_packet(fix.event)
    made = Packet(socketio.packet.EVENT, data=["location:update", json.loads(fix.event)]).encode()
    assert spliced.text == f"4{made}"


@pytest.mark.parametrize(
    ("text", "too_deep"),
    [
        ("[[1]]", False),
        ("[[[1]]]", True),
        ('[{"a":[]}]', True),
        ('["[[[","{{{",[]]', False),
        ('["\\"[[[",[]]', False),
        ("[[],[],[],[]]", False),
        ("[[[", True),
        ('["' + "[" * 60_000, False),
        ('"' + '\\"' * 30_000 + "[" * 3, False),
    ],
    ids=lambda value: str(value)[:16],
)
def test_depth_is_that_of_arrays_and_objects(text: str, too_deep: bool) -> None:
    assert is_too_deep(text, 2) is too_deep


def test_a_time_without_a_time_zone_is_not_guessed_at() -> None:
    moment = datetime(2026, 1, 31, 12)  # noqa: DTZ001
    assert (
        StrictJson.dumps({"at": moment.replace(tzinfo=UTC)}) == '{"at":"2026-01-31T12:00:00.000Z"}'
    )
    with pytest.raises(TypeError) as error:
        StrictJson.dumps({"at": moment})
    assert str(error.value.__cause__) == "a time without a time zone"

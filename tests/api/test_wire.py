"""The names of the wire contract, and the bytes of events."""

from __future__ import annotations

import json
import random
import subprocess
from typing import Any

import pytest
from hypothesis import given

from atriz_realtime.api import (
    CacheTTL,
    EntityRef,
    InvalidLocation,
    InvalidRequest,
    LocationEvent,
    Payload,
    RedisChannels,
    Rooms,
    SocketEvents,
    decode_event,
    decode_json,
    decode_location,
    encode,
    encode_json,
    event_json,
    tracking_stats,
)
from atriz_realtime.api.wire import is_json_object, track_event, untrack_event
from atriz_realtime.testing import event, location
from tests.api.test_model import locations, quick

VEHICLE = EntityRef("vehicle", "v1")


def test_the_names_of_the_wire_contract() -> None:
    assert {member.name: member.value for member in SocketEvents} == {
        "CONNECT": "connect",
        "DISCONNECT": "disconnect",
        "AUTHENTICATE": "authenticate",
        "AUTHENTICATED": "authenticated",
        "TRACK_VEHICLE": "track:vehicle",
        "UNTRACK_VEHICLE": "untrack:vehicle",
        "TRACK_DELIVERY": "track:delivery",
        "UNTRACK_DELIVERY": "untrack:delivery",
        "LOCATION_UPDATE": "location:update",
        "TOKEN_EXPIRING": "token:expiring",
        "ERROR": "error",
    }
    assert (track_event("drone"), untrack_event("drone")) == ("track:drone", "untrack:drone")
    assert (Rooms.vehicle("1"), Rooms.delivery("1")) == ("vehicle:1", "delivery:1")
    assert (Rooms.user("u1"), Rooms.entity(VEHICLE)) == ("user:u1", "vehicle:v1")
    assert RedisChannels.vehicle("1") == "tracking:vehicle:1"
    assert RedisChannels.delivery("1") == "tracking:delivery:1"
    assert RedisChannels.entity(VEHICLE) == "tracking:vehicle:v1"
    assert RedisChannels.PREFIX + Rooms.entity(VEHICLE) == RedisChannels.entity(VEHICLE)
    assert RedisChannels.ALL == "tracking:*"
    assert RedisChannels.current_location(VEHICLE) == "location:current:vehicle:v1"
    assert RedisChannels.last_known_location(VEHICLE) == "location:last:vehicle:v1"
    assert RedisChannels.last_known_index("vehicle") == "location:last-index:vehicle"
    assert (CacheTTL.CURRENT_LOCATION, CacheTTL.SESSION) == (300, 3600)


def test_an_event_byte_for_byte() -> None:
    full = event(
        latitude=40.7128,
        longitude=-74.0,
        speed=65.0,
        heading=180,
        accuracy=10.25,
        altitude=-0.0,
        metadata={"ü": [1, None]},
    )
    encoded = encode(full)
    assert (
        encoded.location
        == (
            '{"deviceId":"v1","userId":"u1","latitude":40.7128,"longitude":-74,"speed":65,'
            '"heading":180,"accuracy":10.25,"altitude":0,"timestamp":"2026-01-31T12:00:00.000Z",'
            '"metadata":{"ü":[1,null]}}'
        ).encode()
    )
    assert encoded.event == (
        b'{"type":"vehicle","entityId":"v1","location":' + encoded.location + b"}"
    )
    assert encoded.channel == "tracking:vehicle:v1"
    assert encoded.timestamp == "2026-01-31T12:00:00.000Z"
    assert encoded.entity == VEHICLE


def test_a_payload_is_not_printed_with_its_bytes() -> None:
    assert "latitude" not in repr(encode(event()))
    assert encode(event()) != encode(event())  # payloads are compared by identity


@quick
@given(locations)
def test_encoding_and_decoding(position: Any) -> None:
    sent = LocationEvent(EntityRef("vehicle", 'a"b\\c'), position)
    encoded: Payload = encode(sent)
    assert decode_event(encoded.event) == sent
    assert decode_location(encoded.location) == position
    assert event_json(sent.entity, encoded.location) == encoded.event
    assert json.loads(encoded.event) == sent.to_wire()


def test_javascript_would_write_the_same_bytes() -> None:
    chance = random.Random(1)
    lines = [
        encode(
            event(
                seconds=chance.uniform(-1e9, 1e9),
                latitude=round(chance.uniform(-90, 90), chance.randint(0, 15)),
                longitude=chance.uniform(-180, 180),
                speed=chance.choice([0.0, 1e-5, 65, 65.0, 1e14, chance.uniform(0, 1e6)]),
                heading=float(chance.randint(0, 360)),
                accuracy=chance.uniform(0, 1e4),
                altitude=chance.choice([None, -0.0, -430.5, chance.uniform(-500, 9000)]),
            )
        ).event.decode()
        for _ in range(500)
    ]
    script = """
        const lines = JSON.parse(require('fs').readFileSync(0, 'utf8'))
        const rewrite = (line) => {
          const event = JSON.parse(line)
          event.location.timestamp = new Date(event.location.timestamp)
          return JSON.stringify(event)
        }
        process.stdout.write(JSON.stringify(lines.map(rewrite)))
    """
    written = subprocess.run(
        ["node", "-e", script], input=json.dumps(lines), capture_output=True, text=True, check=True
    )
    assert json.loads(written.stdout) == lines


# -- strict JSON ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nope",
        b"NaN",
        b"[Infinity]",
        b"1e400",
        b'"\\ud800"',
        b'"\xff"',
        b"{'a': 1}",
        b"[1,]",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"{}{}",
    ],
    ids=lambda text: text[:12].decode(errors="replace"),
)
def test_json_that_is_not_strict_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_json(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{}", True),
        (b' {"a": {"b": []}}\n', True),
        (b'{"a":"\\ud800"}', True),  # JavaScript writes and reads it
        (b'{"a":1e400}', True),
        (b'"a"', False),
        (b"[]", False),
        (b"", False),
        (b"{}{}", False),
        (b'{"a":NaN}', False),
        (b'{"a":-Infinity}', False),
        (b'{"a":"\xff"}', False),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, False),
    ],
    ids=lambda value: value[:12].decode(errors="replace") if isinstance(value, bytes) else "",
)
def test_what_every_client_reads_as_an_object(text: bytes, expected: bool) -> None:
    assert is_json_object(text) is expected


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, b"bytes", "\ud800", 2**65])
def test_a_value_without_a_json_form_is_refused_or_null(value: Any) -> None:
    try:
        encoded = encode_json(value)
    except InvalidRequest:
        return
    assert encoded == b"null"  # as JavaScript writes NaN


@pytest.mark.parametrize("data", [b"[]", b"1", b"null", b'"text"'])
def test_an_event_is_an_object(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_event(data)
    with pytest.raises(InvalidRequest):
        decode_location(data)


def test_an_invalid_location_is_refused_by_the_decoder() -> None:
    wire = location().to_wire() | {"latitude": 91}
    with pytest.raises(InvalidLocation):
        decode_location(encode_json(wire))


def test_the_documented_statistics() -> None:
    assert tracking_stats({"vehicle": 2, "delivery": 3, "drone": 4}) == {
        "activeVehicles": 2,
        "activeDeliveries": 3,
        "totalTracking": 9,
    }
    assert tracking_stats({}) == {"activeVehicles": 0, "activeDeliveries": 0, "totalTracking": 0}

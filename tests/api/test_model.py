"""Locations and entities: refusals that name the field, and lossless encoding."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atriz_realtime.api import (
    LOCATION_FIELDS,
    Credentials,
    EntityRef,
    Identity,
    InvalidEntityId,
    InvalidLocation,
    InvalidRequest,
    Location,
    LocationEvent,
    format_timestamp,
    parse_timestamp,
)
from atriz_realtime.api.model import MAX_ID_LENGTH, MAX_METADATA_DEPTH, MAX_METADATA_VALUES
from atriz_realtime.testing import moment

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

GOOD: dict[str, Any] = {
    "deviceId": "v1",
    "userId": "u1",
    "latitude": 40.7128,
    "longitude": -74.006,
    "speed": 65,
    "heading": 180,
    "accuracy": 10,
    "altitude": 12.5,
    "timestamp": "2026-01-31T12:00:00.000Z",
    "metadata": {"any": "JSON"},
}
REQUIRED = ("deviceId", "userId", "latitude", "longitude", "timestamp")
NUMBERS = ("latitude", "longitude", "speed", "heading", "accuracy", "altitude")


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_the_documented_location_is_valid() -> None:
    location = Location.from_wire(GOOD)
    assert location == Location(
        device_id="v1",
        user_id="u1",
        latitude=40.7128,
        longitude=-74.006,
        speed=65,
        heading=180,
        accuracy=10,
        altitude=12.5,
        timestamp=datetime(2026, 1, 31, 12, tzinfo=UTC),
        metadata={"any": "JSON"},
    )
    assert location.to_wire() == GOOD
    assert set(GOOD) == LOCATION_FIELDS


def test_optional_fields_are_omitted_rather_than_null() -> None:
    least = {name: GOOD[name] for name in REQUIRED}
    assert Location.from_wire(least).to_wire() == least


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("latitude", -90),
        ("latitude", 90),
        ("latitude", -0.0),
        ("longitude", -180),
        ("longitude", 180.0),
        ("speed", 0),
        ("heading", 0),
        ("heading", 360),
        ("accuracy", 0),
        ("altitude", -430.5),
        ("deviceId", "飛行機 🚚"),
        ("userId", "x" * MAX_ID_LENGTH),
        ("metadata", {}),
        ("metadata", {"deep": nested(MAX_METADATA_DEPTH - 1)}),
        ("metadata", {"many": [[1]] * (MAX_METADATA_VALUES // 2 - 1)}),
        ("metadata", {"": [None, True, -(2**63) + 1, 2**63 - 1, 1.5, "ü", {"a": []}]}),
        ("timestamp", "1970-01-01T00:00:00Z"),
    ],
)
def test_valid_boundary_values(field: str, value: Any) -> None:
    location = Location.from_wire(GOOD | {field: value})
    assert Location.from_wire(location.to_wire()) == location


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("latitude", 91),
        ("latitude", 90.00000000000001),
        ("latitude", -90.00000000000001),
        ("longitude", 181),
        ("longitude", -180.00000000000003),
        ("speed", -1),
        ("speed", -5e-324),
        ("heading", 361),
        ("heading", -0.1),
        ("accuracy", -5),
        ("deviceId", ""),
        ("deviceId", 7),
        ("deviceId", "a\nb"),
        ("deviceId", "\x00"),
        ("deviceId", "\ud800"),
        ("deviceId", "x" * (MAX_ID_LENGTH + 1)),
        ("userId", ["u1"]),
        ("userId", "\x7f"),
        ("metadata", []),
        ("metadata", "text"),
        ("metadata", {"n": float("nan")}),
        ("metadata", {"n": [float("-inf")]}),
        ("metadata", {"n": 2**63}),
        ("metadata", {"n": -(10**101)}),
        ("metadata", {"s": "\ud800"}),
        ("metadata", {"\udfff": 1}),
        ("metadata", {1: "key"}),
        ("metadata", {"o": object()}),
        ("metadata", {"b": b"bytes"}),
        ("metadata", {"deep": nested(MAX_METADATA_DEPTH)}),
        ("metadata", {"many": [[1]] * (MAX_METADATA_VALUES // 2)}),
        ("metadata", dict.fromkeys(map(str, range(MAX_METADATA_VALUES + 1)))),
        ("timestamp", 1_769_860_800_000),
        ("timestamp", "2026-01-31T12:00:00.000"),
        ("timestamp", "2026-01-31"),
        ("timestamp", "2026-02-30T12:00:00Z"),
        ("timestamp", "2026-01-31T25:00:00Z"),
        ("timestamp", "0001-01-01T00:00:00+14:00"),
        ("timestamp", "yesterday"),
        ("timestamp", ""),
        ("timestamp", {}),
    ],
)
def test_a_refusal_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidLocation) as refusal:
        Location.from_wire(GOOD | {field: value})
    assert refusal.value.field == field
    assert refusal.value.to_wire()["code"] == "invalid_location"


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize(
    "value",
    [
        True,
        "1",
        [1],
        float("nan"),
        float("inf"),
        float("-inf"),
        10**101,
        2**63,
        1e19,
        1j,
    ],
    ids=str,
)
def test_a_number_is_a_finite_json_number(field: str, value: Any) -> None:
    with pytest.raises(InvalidLocation) as refusal:
        Location.from_wire(GOOD | {field: value})
    assert refusal.value.field == field


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(InvalidLocation, match="is required") as refusal:
        Location.from_wire({name: value for name, value in GOOD.items() if name != field})
    assert refusal.value.field == field


@pytest.mark.parametrize("field", sorted(LOCATION_FIELDS))
def test_null_is_refused(field: str) -> None:
    with pytest.raises(InvalidLocation) as refusal:
        Location.from_wire(GOOD | {field: None})
    assert refusal.value.field == field


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(InvalidLocation) as refusal:
        Location.from_wire(GOOD | {"latitud": 1})
    assert refusal.value.field == "latitud"
    assert refusal.value.message == (
        "unknown field 'latitud'; fields of your own belong in metadata"
    )


def test_a_huge_unknown_field_is_not_echoed() -> None:
    with pytest.raises(InvalidLocation) as refusal:
        Location.from_wire(GOOD | {"x" * 10_000: 1})
    assert len(refusal.value.message) < 150
    assert refusal.value.field == "x" * 64


@pytest.mark.parametrize(
    ("name", "value"),
    [("timestamp", moment().replace(tzinfo=None)), ("timestamp", None), ("speed", "1")],
)
def test_a_location_is_validated_however_it_is_constructed(name: str, value: Any) -> None:
    with pytest.raises(InvalidLocation) as refusal:
        attrs.evolve(Location.from_wire(GOOD), **{name: value})
    assert refusal.value.field == name


# -- lossless encoding ---------------------------------------------------------------------

quick = settings(max_examples=50, deadline=None)

identifiers = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.just(" "),
    min_size=1,
    max_size=MAX_ID_LENGTH,
).filter(str.isprintable)  # which depends on Python's Unicode version
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.builds(
    lambda milliseconds, offset: (EPOCH + timedelta(milliseconds=milliseconds)).astimezone(offset),
    st.integers(-62_135_400_000_000, 253_402_200_000_000),  # the years 1 to 9999
    offsets,
)


def measures(low: float | None = None, high: float | None = None) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False) | st.integers(
        None if low is None else int(low), None if high is None else int(high)
    )


locations = st.builds(
    Location,
    device_id=identifiers,
    user_id=identifiers,
    latitude=measures(-90, 90),
    longitude=measures(-180, 180),
    timestamp=moments,
    speed=st.none() | measures(0, 2**53),
    heading=st.none() | measures(0, 360),
    accuracy=st.none() | measures(0, 1e9),
    altitude=st.none() | measures(-1e9, 1e9),
    metadata=st.none() | st.dictionaries(st.text(), json_values, max_size=3),
)


@quick
@given(locations)
def test_a_location_is_encoded_losslessly(location: Location) -> None:
    assert Location.from_wire(location.to_wire()) == location


@quick
@given(st.builds(LocationEvent, st.builds(EntityRef, identifiers, identifiers), locations))
def test_an_event_is_encoded_losslessly(event: LocationEvent) -> None:
    assert LocationEvent.from_wire(event.to_wire()) == event


@quick
@given(moments)
def test_a_timestamp_is_encoded_losslessly(when: datetime) -> None:
    text = format_timestamp(when)
    assert parse_timestamp(text) == when
    assert len(text) == len("2026-01-31T12:00:00.000Z")
    assert text.endswith("Z")


@quick
@given(moments, moments)
def test_timestamps_sort_like_their_text(one: datetime, other: datetime) -> None:
    assert (one < other) == (format_timestamp(one) < format_timestamp(other))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T14:30:00+02:30", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00.123999Z", "2026-01-31T12:00:00.123Z"),
        ("2026-01-31T23:59:59.999-00:01", "2026-02-01T00:00:59.999Z"),
    ],
)
def test_timestamps_are_normalized(text: str, expected: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == expected


# -- entities, events, identities ----------------------------------------------------------


@pytest.mark.parametrize(("kind", "entity_id"), [("", "1"), ("vehicle", ""), (1, "1"), ("v", None)])
def test_an_entity_has_a_type_and_an_id(kind: Any, entity_id: Any) -> None:
    with pytest.raises(InvalidEntityId):
        EntityRef(kind, entity_id)


def test_an_entity_is_hashable() -> None:
    assert {EntityRef("vehicle", "1"): 1}[EntityRef("vehicle", "1")] == 1
    assert EntityRef("vehicle", "1") != EntityRef("delivery", "1")
    assert str(EntityRef("vehicle", "1")) == "vehicle:1"


def test_an_event_names_its_entity() -> None:
    event = LocationEvent.from_wire({"type": "vehicle", "entityId": "v1", "location": GOOD})
    assert (event.type, event.entity_id) == ("vehicle", "v1")
    assert event.to_wire() == {"type": "vehicle", "entityId": "v1", "location": GOOD}


@pytest.mark.parametrize("location", [None, [], "x", 1])
def test_an_event_without_a_location_is_refused(location: Any) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        LocationEvent.from_wire({"type": "vehicle", "entityId": "v1", "location": location})
    assert refusal.value.field == "location"


@pytest.mark.parametrize("event", [{"location": GOOD}, {"type": [], "location": GOOD}])
def test_an_event_without_an_entity_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(InvalidEntityId):
        LocationEvent.from_wire(event)


def test_no_representation_shows_a_secret() -> None:
    credentials = Credentials(
        token="secret-1", headers={"authorization": "secret-2"}, auth={"token": "secret-3"}
    )
    identity = Identity(user_id="u1", claims={"key": "secret-4"})
    assert "secret" not in f"{credentials!r} {identity!r} {credentials} {identity}"
    assert "u1" in repr(identity)


def test_a_token_has_no_whitespace_around_it() -> None:
    assert Credentials(token=" a.b.c\n").token == "a.b.c"
    assert Credentials(token=" \n").token is None
    for header, bearer in (("Bearer  a.b.c ", "a.b.c"), ("bearer ", None), ("Basic a.b.c", None)):
        assert Credentials.from_http({"authorization": header}, None).token == bearer


def test_metadata_of_too_many_values_is_refused_before_they_are_looked_at() -> None:
    class Unread(list[object]):
        def __iter__(self) -> Iterator[object]:
            raise AssertionError("it is looked at")

    with pytest.raises(InvalidLocation, match="metadata has more than 4,096 values") as refused:
        Location.from_wire(GOOD | {"metadata": {"many": Unread([1] * 250_000)}})
    assert refused.value.field == "metadata"


def test_the_user_of_an_identity_is_a_string() -> None:
    assert Identity(user_id=cast("Any", 42)).user_id == "42"
    with pytest.raises(TypeError, match="must be a string or an integer, not NoneType"):
        Identity(user_id=cast("Any", None))

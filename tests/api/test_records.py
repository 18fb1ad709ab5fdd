"""The records that registration hooks return."""

from __future__ import annotations

import math
import re
from typing import Any

import attrs
import pytest

from atriz_realtime import api
from atriz_realtime.api import (
    DEFAULT_ID_PATTERN,
    Credentials,
    Endpoint,
    EntityType,
    Headers,
    HttpAnswer,
    HttpCall,
    Observer,
    Recorder,
    Verdict,
)


async def nothing(*_: Any) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    "name", ["", "Vehicle", "1st", "a b", "a:b", "ä", "x" * 33, "-a", "vehicle\n", "a.b", "a/b"]
)
def test_a_type_name_unfit_for_rooms_channels_and_paths_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        EntityType(name)


@pytest.mark.parametrize("name", ["a", "vehicle", "e-bike_2", "x" * 32])
def test_valid_type_names(name: str) -> None:
    assert EntityType(name).name == name


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_cache_ttl_is_positive_and_finite(ttl: float) -> None:
    with pytest.raises(ValueError, match="cache_ttl"):
        EntityType("van", cache_ttl=ttl)


@pytest.mark.parametrize("ttl", [-1, float("nan"), float("inf")])
def test_a_last_known_ttl_is_finite_and_may_be_0(ttl: float) -> None:
    assert EntityType("van", last_known_ttl=0).last_known_ttl == 0
    with pytest.raises(ValueError, match="last_known_ttl"):
        EntityType("van", last_known_ttl=ttl)


@pytest.mark.parametrize("setting", [{"queue_size": 0}, {"timeout": 0}, {"timeout": -1.0}])
def test_an_observer_s_limits_are_positive(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Observer("x", nothing, **setting)


@pytest.mark.parametrize(
    "setting",
    [
        {"batch_size": 0},
        {"batch_size": 10_001},
        {"batch_interval": 0},
        {"timeout": -1.0},
        {"timeout": float("nan")},
    ],
)
def test_a_recorder_s_limits_are_positive(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Recorder("x", nothing, **setting)


@pytest.mark.parametrize("types", ["vehicle", 5, [5]])
def test_a_recorder_s_entity_types_are_a_collection_of_names(types: Any) -> None:
    with pytest.raises(TypeError, match="entity_types"):
        Recorder("x", nothing, entity_types=types)


@pytest.mark.parametrize(
    ("entity_id", "fits"),
    [
        ("v1", True),
        ("飛行機 🚚", True),
        ("x" * 128, True),
        ("a/b?c#d%20", True),
        ("", False),
        ("x" * 129, False),
        ("a:b", False),
        ("a\tb", False),
        ("a\x85b", False),
        ("\u2029", False),
        ("\udfff", False),
    ],
)
def test_the_default_pattern_of_ids(entity_id: str, fits: bool) -> None:
    assert bool(re.fullmatch(DEFAULT_ID_PATTERN, entity_id)) is fits


RECORDS = [
    record
    for name in api.__all__
    if attrs.has(record := getattr(api, name)) and record.__module__ == "atriz_realtime.api.records"
]


@pytest.mark.parametrize("record", RECORDS)
def test_records_are_compared_by_identity(record: type[Any]) -> None:
    """Records are keys by which the plugin that registered one is looked up."""
    fields: Any = attrs.fields(record)
    assert fields[0].name in ("name", "path")
    required = [field for field in fields if field.default is attrs.NOTHING]
    first = "/x" if record is Endpoint else "x"
    one, twin = (record(first, *["x" for _ in required[1:]]) for _ in range(2))
    assert one != twin
    assert {one: "mine", twin: "other"}[one] == "mine"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.name = "y"


@pytest.mark.parametrize("record", [each for each in RECORDS if each is not Endpoint])
@pytest.mark.parametrize("name", ["", None, 5])
def test_a_name_is_a_string_that_is_not_empty(record: type[Any], name: Any) -> None:
    fields: Any = attrs.fields(record)
    required = [field for field in fields if field.default is attrs.NOTHING]
    with pytest.raises(ValueError, match="name"):
        record(name, *[nothing for _ in required[1:]])


@pytest.mark.parametrize("record", [each for each in RECORDS if hasattr(each, "order")])
@pytest.mark.parametrize("order", ["first", None, True, float("nan")])
def test_an_order_is_a_number(record: type[Any], order: Any) -> None:
    fields: Any = attrs.fields(record)
    required = [field for field in fields if field.default is attrs.NOTHING]
    with pytest.raises(ValueError, match=f"{record.__name__} 'z': order must be a number, not"):
        record("z", *[print for _ in required[1:]], order=order)


@pytest.mark.parametrize(
    ("field", "value", "must"),
    [
        ("id_pattern", None, "a regular expression, not NoneType"),
        ("id_pattern", b".*", "a regular expression, not bytes"),
        ("throttle", ["latest"], "the name of a policy, not list"),
        ("throttle_options", [5], "a mapping, not list"),
    ],
)
def test_an_entity_type_of_wrong_values_is_refused(field: str, value: Any, must: str) -> None:
    with pytest.raises(TypeError, match=f"EntityType 'boat': {field} must be {must}"):
        EntityType("boat", **{field: value})


@pytest.mark.parametrize("size", ["5", 1.5])
def test_an_observer_s_queue_has_a_whole_number_of_events(size: Any) -> None:
    with pytest.raises(TypeError, match="Observer 'x': queue_size must be a whole number"):
        Observer("x", nothing, queue_size=size)


def test_a_verdict_has_one_of_three_outcomes() -> None:
    outcome: Any = "passs"
    with pytest.raises(ValueError, match=r"'outcome' must be in \('pass', 'drop', 'hold'\)"):
        Verdict(outcome)


@pytest.mark.parametrize("delay", [math.nan, math.inf, -math.inf, -0.1])
def test_a_verdict_s_delay_is_a_time_to_wait(delay: float) -> None:
    with pytest.raises(ValueError, match="delay must be a finite number of seconds from 0 on"):
        Verdict("hold", delay)


# -- calls and answers of endpoints --------------------------------------------------------


def test_headers_are_read_by_name_without_a_copy() -> None:
    headers = Headers([(b"host", b"here"), (b"x-a", b"1"), (b"x-a", b"2"), (b"x-odd", b"caf\xe9")])
    assert headers["x-a"] == "1"
    assert headers.get("x-odd") == "café"
    assert headers.get("X-A") is None
    assert "é🚚" not in headers
    assert dict(headers) == {"host": "here", "x-a": "1", "x-odd": "café"}
    assert len(headers) == 3


def test_the_representation_of_a_call_has_no_body() -> None:
    call = HttpCall(Headers([]), b"secret", "127.0.0.1")
    assert (call.body, call.address, len(call.headers)) == (b"secret", "127.0.0.1", 0)
    assert "secret" not in repr(call)


def test_credentials_come_from_the_headers_or_are_given() -> None:
    headers = Headers([(b"authorization", b"bearer secret")])
    call = HttpCall(headers, b"{}", "127.0.0.1")
    assert call.credentials() == Credentials(token="secret", headers=headers, address="127.0.0.1")
    known = Credentials(token="secret")
    assert HttpCall(headers, b"[]", "127.0.0.1", offered=known).credentials() is known
    assert "secret" not in repr(HttpCall(headers, b"", None, offered=known))


def test_the_default_status_of_an_answer_is_200() -> None:
    assert HttpAnswer(b"{}").status == 200
    assert HttpAnswer(b"{}", status=202).body == b"{}"


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 204, 205, 304, 600])
def test_an_answer_s_status_must_allow_a_body(status: int) -> None:
    """With another status, a client would read the body as the next response."""
    with pytest.raises(ValueError, match="no body"):
        HttpAnswer(b"{}", status)


@pytest.mark.parametrize("body", ["{}", None, {}])
def test_an_answer_s_body_is_bytes(body: Any) -> None:
    with pytest.raises(TypeError, match="body"):
        HttpAnswer(body)


async def answers(call: HttpCall) -> HttpAnswer:
    return HttpAnswer(call.body)


@pytest.mark.parametrize("path", ["ep", "", "/ep/{id}", "/ep?x=1", "/a b", "/a#b", None])
def test_an_endpoint_has_one_path(path: Any) -> None:
    with pytest.raises(ValueError, match="path must be a whole path such as '/api/boats'"):
        Endpoint(path, answers)


@pytest.mark.parametrize("method", ["post", "", None, "GET POST"])
def test_an_endpoint_s_method_is_in_capitals(method: Any) -> None:
    with pytest.raises(ValueError, match="Endpoint '/ep': method must be in capitals"):
        Endpoint("/ep", answers, method=method)


def test_the_default_method_of_an_endpoint_is_post() -> None:
    assert Endpoint("/api/x", answers).method == "POST"
    assert Endpoint("/api/x", answers, method="GET").handle is answers

"""The form of a key, its record, and its scopes."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import tomllib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from atriz_realtime.api import ConfigurationError, EntityRef
from atriz_realtime_apikey import keys
from atriz_realtime_apikey.commands import as_toml
from atriz_realtime_apikey.keys import ApiKey, hash_key, hash_matches, new_key
from atriz_realtime_apikey.store import FIELDS, decode, encode

KEY_ID, KEY = new_key()
GOOD: dict[str, Any] = {"hash": hash_key(KEY), "publish": ["vehicle:bus-*"]}


def key(**table: Any) -> ApiKey:
    return ApiKey.from_table(KEY_ID, GOOD | table)


# -- the key ---------------------------------------------------------------------------------


def test_keys_have_the_documented_form_and_are_all_different() -> None:
    made = [new_key() for _ in range(100)]
    for key_id, text in made:
        form = keys.KEY_FORM.fullmatch(text)
        assert form is not None
        assert form["id"] == key_id
        assert len(form["secret"]) * 6 >= 256  # bits, six to a base64 character
    assert len({key_id for key_id, _ in made}) == len({text for _, text in made}) == 100


@pytest.mark.parametrize(
    "text",
    [
        KEY + "\n",
        KEY.replace("ak_", "AK_"),
        KEY.upper(),
        f"ak_{KEY_ID}",
        f"ak_{KEY_ID}_" + "a" * 42,
        f"ak_{KEY_ID}_" + "a" * 129,
        f"ak_{KEY_ID}_" + "é" * 43,
        f"ak_{'0' * 33}_" + "a" * 43,
        "ak__" + "a" * 43,
    ],
    ids=itertools.count(),
)
def test_other_text_is_no_key(text: str) -> None:
    assert keys.KEY_FORM.fullmatch(text) is None


def test_the_hash_is_sha256_of_the_whole_key() -> None:
    assert hash_key(KEY) == "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()
    assert hash_matches(KEY, hash_key(KEY))
    assert not hash_matches(KEY[:-1] + ("A" if KEY[-1] != "A" else "B"), hash_key(KEY))
    assert not hash_matches(KEY.replace(KEY_ID, "0" * 16), hash_key(KEY))
    assert not hash_matches(KEY, keys.NO_HASH)


def test_hashes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    really = hmac.compare_digest

    def spy(one: str, other: str) -> bool:
        compared.append((one, other))
        return really(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert hash_matches(KEY, hash_key(KEY))
    assert not hash_matches(KEY, keys.NO_HASH)
    assert compared == [(hash_key(KEY), hash_key(KEY)), (hash_key(KEY), keys.NO_HASH)]


# -- what is kept ----------------------------------------------------------------------------


def test_a_table_needs_a_hash_and_a_scope() -> None:
    plain = key()
    assert plain.publish == ("vehicle:bus-*",)
    assert plain.track == ()
    assert (plain.label, plain.user, plain.expires) == ("", f"device:{KEY_ID}", None)


def test_nothing_of_the_hash_is_in_the_representation() -> None:
    assert "sha256" not in repr(key())
    assert hash_key(KEY)[-8:] not in f"{key()!r} {key()}"


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"hash": KEY}, "hash must be"),
        ({"hash": hash_key(KEY).upper()}, "hash must be"),
        ({"hash": hash_key(KEY)[:-1]}, "hash must be"),
        ({"hash": 1}, "hash must be"),
        ({"publish": []}, "publish or track must"),
        ({"publish": "vehicle:*"}, "must be lists"),
        ({"publish": [KEY]}, "publish: a scope is"),
        ({"publish": ["vehicle"]}, "publish: a scope is"),
        ({"publish": ["vehicle:"]}, "publish: a scope is"),
        ({"track": [":v1"]}, "track: a scope is"),
        ({"track": ["vehicle:\n"]}, "track: a scope is"),
        ({"track": ["vehicle:" + "v" * 256]}, "track: a scope is"),
        ({"track": [1]}, "must be lists"),
        ({"label": "x" * 101}, "label must be"),
        ({"label": "two\nlines"}, "label must be"),
        ({"user": ""}, "user must not be empty"),
        ({"user": 7}, "user must be"),
        ({"expires": "tomorrow"}, "expires must be"),
        ({"expires": "2027-01-31T12:00:00"}, "expires must be"),
        ({"expires": datetime(2027, 1, 31)}, "expires must be"),  # noqa: DTZ001  # as TOML has it
        ({"expires": 1_800_000_000}, "expires must be"),
        ({"expries": "2027-01-31T12:00:00Z"}, "unknown key 'expries'"),
        ({KEY: 1}, "unknown key 'ak_"),
    ],
)
def test_a_bad_table_is_refused_without_quoting_secrets(
    table: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as refusal:
        key(**table)
    secret = KEY.rpartition(KEY_ID)[2]
    assert secret[:4] not in refusal.value.message
    assert hash_key(KEY)[:16] not in refusal.value.message


@pytest.mark.parametrize("table", [None, "x", [], {}, {"publish": ["vehicle:*"]}])
def test_a_table_without_a_hash_is_refused(table: object) -> None:
    with pytest.raises(ConfigurationError, match="hash"):
        ApiKey.from_table(KEY_ID, table)


def test_an_id_is_refused_without_being_quoted() -> None:
    with pytest.raises(ConfigurationError, match="lower-case") as refusal:
        ApiKey.from_table(KEY, GOOD)
    assert "ak_" not in refusal.value.message


def test_times_are_stored_in_utc() -> None:
    noon = datetime(2027, 1, 31, 12, tzinfo=UTC)
    there = noon.astimezone(timezone(timedelta(hours=2)))
    assert key(expires="2027-01-31T14:00:00+02:00").expires == noon
    assert key(expires=there).expires == noon
    assert key(expires=there).to_table()["expires"] == "2027-01-31T12:00:00.000Z"


def test_a_key_is_valid_until_the_second_of_its_expiry() -> None:
    expiring = key(expires="2027-01-31T12:00:00Z")
    assert expiring.expires is not None
    end = expiring.expires.timestamp()
    assert not expiring.expired(end - 0.001)
    assert expiring.expired(end)
    assert not key().expired(end)


FULL = {
    "track": ["*:*"],
    "label": 'Bus "7" \\ Zürich 🚌',
    "user": "depot",
    "expires": "2027-01-31T12:00:00.000Z",
}


@pytest.mark.parametrize("table", [{}, FULL])
def test_a_key_survives_toml_and_redis(table: dict[str, Any]) -> None:
    kept = key(**table)
    document = tomllib.loads(as_toml(kept))
    pasted = document["realtime"]["plugins"]["apikey"]["keys"]
    assert ApiKey.from_table(KEY_ID, pasted[KEY_ID]) == kept
    fields = encode(kept)
    values = [fields[name].encode() if name in fields else None for name in FIELDS]
    assert decode(KEY_ID, values) == kept


@pytest.mark.parametrize(
    "change", [{"hash": None}, {"publish": b"["}, {"publish": b'{"a": 1}'}, {"label": b"\xff"}]
)
def test_a_damaged_hash_in_redis_is_refused_without_being_quoted(
    change: dict[str, bytes | None],
) -> None:
    fields = {name: value.encode() for name, value in encode(key(**FULL)).items()} | change
    with pytest.raises(ConfigurationError) as refusal:
        decode(KEY_ID, [fields.get(name) for name in FIELDS])
    assert hash_key(KEY)[7:] not in refusal.value.message


# -- scopes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "covered", "not_covered"),
    [
        ("vehicle:v1", ["vehicle:v1"], ["vehicle:v11", "vehicle:V1", "delivery:v1"]),
        ("vehicle:bus-*", ["vehicle:bus-", "vehicle:bus-7"], ["vehicle:tram-7", "vehicle:xbus-7"]),
        ("vehicle:bus-?", ["vehicle:bus-7"], ["vehicle:bus-", "vehicle:bus-77"]),
        ("vehicle:bus-[1-3]", ["vehicle:bus-2"], ["vehicle:bus-4", "vehicle:bus-[1-3]"]),
        ("*:v1", ["vehicle:v1", "drone:v1"], ["vehicle:v2"]),
        ("*:*", ["vehicle:v1", "drone:D-0001", "vehicle:ü🚌"], []),
        ("vehicle:[[]x]", ["vehicle:[x]"], ["vehicle:x"]),
        ("vehicle:.", ["vehicle:."], ["vehicle:v"]),
    ],
)
def test_a_scope_matches_a_type_and_ids(
    scope: str, covered: list[str], not_covered: list[str]
) -> None:
    publishing = key(publish=[scope])
    tracking = key(publish=[], track=[scope])
    for name in covered + not_covered:
        kind, _, entity_id = name.partition(":")
        entity = EntityRef(kind, entity_id)
        assert publishing.may("publish", entity) is (name in covered)
        assert tracking.may("track", entity) is (name in covered)
        assert not publishing.may("track", entity)
        assert not tracking.may("publish", entity)


def test_a_pattern_of_the_type_does_not_match_across_the_colon() -> None:
    own = key(publish=["v*:1"])
    assert own.may("publish", EntityRef("vehicle", "1"))
    assert not own.may("publish", EntityRef("vehicle", "x:1"))


def test_any_of_several_scopes_is_enough() -> None:
    several = key(publish=["vehicle:v1", "delivery:*"])
    assert several.may("publish", EntityRef("vehicle", "v1"))
    assert several.may("publish", EntityRef("delivery", "d9"))
    assert not several.may("publish", EntityRef("vehicle", "v2"))

"""What links say and show of an entity: details, fields of ``metadata``, ends and colours."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atriz_realtime.api import (
    AuthenticationRejected,
    ConfigurationError,
    EntityRef,
    Identity,
    InvalidRequest,
    Location,
    LocationEvent,
    View,
    decode_json,
)
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.shared.pages import DIST
from atriz_realtime.defaults.sharing.colour import (
    DARK,
    LIGHT,
    VISIBLE,
    contrast,
    style,
    visible,
)
from atriz_realtime.defaults.sharing.details import Destination, Details
from atriz_realtime.defaults.sharing.ends import KEPT, MAX_ENDS, End, Ends
from atriz_realtime.defaults.sharing.page import preferred
from atriz_realtime.defaults.sharing.settings import LANGUAGES, MAX_LOGO, SharingSettings
from atriz_realtime.defaults.sharing.text import MAX_TEXT
from atriz_realtime.defaults.sharing.tokens import MAX_TOKEN_LENGTH, TYPE, ShareTokens
from atriz_realtime.defaults.sharing.view import views
from atriz_realtime.testing import SECRET, FakeClock

VAN = EntityRef("vehicle", "van-7")
LEGIBLE = 4.5  # the contrast of text and its ground (WCAG 2.2, success criterion 1.4.3)
TOKENS = ShareTokens(SECRET)
URL = "https://live.example.com"

FIELDS = {
    "name": "order",
    "status": "status",
    "since": "since",
    "driver": "driver.name",
    "plate": "plate",
    "eta": "eta",
    "destination": "to",
}

METADATA: dict[str, Any] = {
    "order": 4711,
    "status": "on_the_way",
    "since": "2026-01-31T12:00:00+01:00",
    "driver": {"name": " Anna Smith ", "phone": "+353 61 555 0100"},
    "plate": "12-L-4711",
    "eta": "2026-01-31T12:30:00Z",
    "to": {"latitude": 52.7, "longitude": -8.6, "label": "12 Mill Road", "code": "1234"},
    "margin": 0.4,
}

SHOWN = {
    "name": "4711",
    "status": "on_the_way",
    "since": "2026-01-31T11:00:00.000Z",
    "driver": "Anna",
    "plate": "12-L-4711",
    "eta": "2026-01-31T12:30:00.000Z",
    "destination": {"latitude": 52.7, "longitude": -8.6, "label": "12 Mill Road"},
}


def settings(**changes: Any) -> SharingSettings:
    return SharingSettings(**({"url": URL, "fields": FIELDS} | changes))


def event(metadata: dict[str, Any] | None) -> LocationEvent:
    location = Location(
        device_id="d1",
        user_id="u1",
        latitude=52.66,
        longitude=-8.63,
        speed=42,
        heading=50,
        timestamp=datetime(2026, 1, 31, 12, tzinfo=UTC),
        metadata=metadata,
    )
    return LocationEvent(VAN, location)


async def seen(
    shown: list[View], metadata: dict[str, Any] | None, identity: Identity
) -> LocationEvent | None:
    """A fix through the views that apply to an identity."""
    found: LocationEvent | None = event(metadata)
    for view in sorted(shown, key=lambda each: each.order):
        if found is not None and await view.applies(identity, VAN):
            found = view.apply(found)
    return found


async def shown_metadata(
    metadata: dict[str, Any] | None, *show: str, **changes: Any
) -> dict[str, Any] | None:
    """What the holder of a link sees of ``metadata``."""
    details = Details(show=show or None)
    holder = TOKENS.make(VAN, 60, details=details)[0].identity()
    found = await seen(views(settings(**changes)), metadata, holder)
    assert found is not None
    return found.location.metadata


# -- fields of metadata ----------------------------------------------------------------------


async def test_by_default_nothing_of_metadata_is_shown() -> None:
    assert await shown_metadata(METADATA, fields={}) is None


async def test_only_what_is_configured_is_shown() -> None:
    assert await shown_metadata(METADATA) == SHOWN
    assert await shown_metadata(METADATA, fields={"plate": "plate"}) == {"plate": "12-L-4711"}
    assert await shown_metadata(None) is None
    assert await shown_metadata({"margin": 1}) is None


async def test_a_link_may_show_less() -> None:
    assert await shown_metadata(METADATA, "status") == {"status": "on_the_way"}
    assert await shown_metadata(METADATA, "name", "plate") == {
        "name": "4711",
        "plate": "12-L-4711",
    }
    assert await shown_metadata({"margin": 1}, "status") is None


async def test_users_see_metadata_as_it_is() -> None:
    user = Identity(user_id="u1", claims={"show": ["status"]}, authenticator="jwt")
    found = await seen(views(settings()), METADATA, user)
    assert found is not None
    assert found.location.metadata == METADATA


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"order": ["x"]}, "name"),
        ({"order": ""}, "name"),
        ({"order": True}, "name"),
        ({"status": "secret state"}, "status"),
        ({"status": None}, "status"),
        ({"driver": "Anna Smith"}, "driver"),
        ({"driver": {"name": " , "}}, "driver"),
        ({"eta": "soon"}, "eta"),
        ({"since": 7}, "since"),
        ({"to": "12 Mill Road"}, "destination"),
        ({"to": {"latitude": 91, "longitude": 0}}, "destination"),
        ({"to": {"latitude": True, "longitude": 0}}, "destination"),
        ({"to": {"longitude": 0}}, "destination"),
    ],
)
async def test_what_is_not_understood_is_not_shown(changes: dict[str, Any], missing: str) -> None:
    found = await shown_metadata(METADATA | changes)
    assert found == {name: value for name, value in SHOWN.items() if name != missing}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
async def test_any_metadata_can_be_shown(value: object) -> None:
    found = await shown_metadata(dict.fromkeys(METADATA, value))
    assert found is None or found.keys() <= SHOWN.keys()


async def test_a_long_text_is_cut_and_a_driver_has_a_first_name() -> None:
    found = await shown_metadata({"order": "x" * 500, "driver": {"name": "Smith,Anna"}})
    assert found == {"name": "x" * MAX_TEXT, "driver": "Smith"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Anna\u00a0Smith", "Anna"),
        ("Anna\tSmith", "Anna"),
        ("Anna\nSmith", "Anna"),
        ("Anna\x00Smith", "Anna"),
        ("Anna\u2028Smith", "Anna"),
        ("Anna\u200bSmith", "Anna"),
        ("Anna\ufeffSmith", "Anna"),
        ("田中\u3000太郎", "田中"),
        ("アンナ・スミス", "アンナ"),
        ("\u202eAnna Smith", "Anna"),
        ("علی\u200cرضا رضایی", "علی\u200cرضا"),  # noqa: RUF001
        ("\u200b\u2060", None),
    ],
)
async def test_of_a_driver_only_the_first_name_is_shown(said: str, shown: str | None) -> None:
    found = await shown_metadata({"driver": {"name": said}, "plate": "1"})
    assert found == {"plate": "1"} | ({} if shown is None else {"driver": shown})


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("12 Mill Road\nLimerick", "12 Mill Road Limerick"),
        ("12\u00a0Mill \r\n Road", "12 Mill Road"),
        ("田中\u3000太郎", "田中 太郎"),
        ("\U0001f9d1\u200d\U0001f69a Anna", "\U0001f9d1\u200d\U0001f69a Anna"),
        ("Van \u202e21\u202c \u2066x\u2069", "Van 21 x"),
    ],
)
async def test_any_space_is_a_space_and_joiners_stay(said: str, line: str) -> None:
    place = {"latitude": 1, "longitude": 1, "label": said}
    found = await shown_metadata({"order": said, "to": place})
    assert found == {"name": line, "destination": {**place, "label": line}}
    details = Details.from_wire({"name": said, "destination": place})
    assert details == Details(name=line, destination=Destination(1, 1, line))


@pytest.mark.parametrize(
    ("ending", "kept"),
    [
        ("\U0001f9d1\u200d\U0001f69a", ""),
        ("e\u0301\u0301", ""),
        ("\U0001f44d\U0001f3fd", ""),
        ("\U0001f44d!", "\U0001f44d"),
    ],
)
async def test_a_text_is_cut_after_a_whole_character(ending: str, kept: str) -> None:
    start = "x" * (MAX_TEXT - 1)
    assert await shown_metadata({"order": start + ending}) == {"name": start + kept}


async def test_what_is_delivered_is_not_followed_any_further() -> None:
    holder = TOKENS.make(VAN, 60)[0].identity()
    found = await seen(views(settings()), METADATA | {"status": "delivered"}, holder)
    assert found is not None
    location = found.location
    assert location.metadata is not None
    assert location.metadata["status"] == "delivered"
    assert (location.speed, location.heading) == (None, None)
    assert (location.latitude, location.longitude) != (52.66, -8.63)
    assert abs(location.latitude - 52.66) < 0.05


async def test_every_link_is_told_the_last_step() -> None:
    last = METADATA | {"status": "delivered"}
    assert await shown_metadata(last, "name") == {"name": "4711", "status": "delivered"}
    packed = {"steps": ("on_the_way", "packed")}
    found = await shown_metadata(METADATA | {"status": "packed"}, "name", **packed)
    assert found == {"name": "4711", "status": "packed"}
    assert await shown_metadata(METADATA, "name", **packed) == {"name": "4711"}


# -- details of a link ------------------------------------------------------------------------


def test_a_link_carries_what_its_creator_says() -> None:
    there = Destination(52.7, -8.6, "12 Mill Road")
    details = Details(name="Your sofa", destination=there, show=("status",))
    share, token = TOKENS.make(VAN, 60, "u1", details)
    assert share.details == details
    assert TOKENS.read(token) == share
    assert share.identity().claims["show"] == ("status",)
    plain, token = TOKENS.make(VAN, 60)
    assert "show" not in plain.identity().claims
    assert plain.details == Details()
    assert TOKENS.read(token) == plain


def test_an_expired_link_is_read_only_on_request() -> None:
    share, token = TOKENS.make(VAN, 60, "u1")
    claims = jwt.decode(token, options={"verify_signature": False}) | {"exp": 1}
    expired = jwt.encode(claims, TOKENS._signing, "HS256", {"typ": TYPE})
    with pytest.raises(AuthenticationRejected):
        TOKENS.read(expired)
    assert TOKENS.read(expired, expired=True) == attrs.evolve(share, expires=1)
    forged = jwt.encode(claims, "another secret of more than 32 bytes", "HS256", {"typ": TYPE})
    with pytest.raises(AuthenticationRejected):
        TOKENS.read(forged, expired=True)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "\u200b\u200d"}, "name"),
        ({"destination": []}, "destination"),
        ({"destination": {"latitude": 1}}, "destination"),
        ({"destination": {"latitude": "1", "longitude": 1}}, "destination"),
        ({"destination": {"latitude": 1, "longitude": 181}}, "destination"),
        ({"destination": {"latitude": 1, "longitude": 1, "label": ""}}, "destination.label"),
        ({"destination": {"latitude": 1, "longitude": 1, "label": 7}}, "destination.label"),
        ({"destination": {"latitude": 1, "longitude": 1, "more": 1}}, "destination"),
        ({"show": "status"}, "show"),
        ({"show": ["margin"]}, "show"),
        ({"show": [1]}, "show"),
        ({"show": ["driver"]}, "show"),  # it is not configured
    ],
)
def test_invalid_details_are_refused(said: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Details.from_wire(said, known=["status"])
    assert refusal.value.field == field


def test_no_link_is_made_that_is_too_long_to_be_read() -> None:
    there = Destination(1, 1, "🚚" * MAX_TEXT)
    entity = EntityRef("vehicle", "é" * 128)
    with pytest.raises(InvalidRequest, match="too long"):
        TOKENS.make(entity, 60, "é" * 256, Details(name="🚚" * MAX_TEXT, destination=there))
    _, token = TOKENS.make(VAN, 60, "u1", Details(name="é" * MAX_TEXT, destination=there))
    assert len(token) <= MAX_TOKEN_LENGTH
    assert TOKENS.read(token) is not None


# -- ends ------------------------------------------------------------------------------------


async def test_a_server_without_redis_remembers_why_a_share_ended() -> None:
    incidents = Incidents(FakeClock())
    ends = Ends(None, "", incidents.report)
    end = End.now("delivered")
    soon = int(time.time()) + 60
    await ends.put("one", end, soon)
    assert await ends.get("one") == end
    assert await ends.get("other") is None
    await ends.put("old", end, int(time.time()) - KEPT)
    assert await ends.get("old") is None
    for number in range(MAX_ENDS):
        await ends.put(f"more-{number}", end, soon)
    assert await ends.get("one") is None
    assert incidents.counts == {"limit defaults.sharing.ends.MAX_ENDS reached": 1}


@pytest.mark.parametrize("stored", [None, b"", b"null", b"[1,2]", b'["eaten",1]', b'["delivered"]'])
def test_what_is_no_end_is_none(stored: bytes | None) -> None:
    assert End.read(stored) is None


def test_there_are_words_for_every_reason() -> None:
    end = End.now("failed")
    assert End.read(end.encode()) == end
    with pytest.raises(InvalidRequest, match="reason must be one of"):
        End.now("eaten")


# -- the page ---------------------------------------------------------------------------------


def words(language: str) -> dict[str, Any]:
    found: dict[str, Any] = decode_json((DIST / f"share-{language}.json").read_bytes())
    return found


def shape(value: Any) -> Any:
    """The keys of texts, and the gaps in them."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return len(value)
    assert value.strip()
    return sorted(part.partition("}")[0] for part in value.split("{")[1:])


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_all_texts(language: str) -> None:
    assert shape(words(language)) == shape(words("en"))


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("ja,fr;q=0.5,en;q=0.4", "fr"),
        ("en;q=0.4, pt-BR;q=0.9", "pt"),
        ("*", "en"),
        ("fr;q=0, es;q=0.1", "es"),
        ("fr;q=x, es", "es"),
        (",;,=;q", "en"),
    ],
)
def test_the_language_is_the_reader_s(accepted: str, language: str) -> None:
    assert preferred(accepted) == language


def rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_any_brand_s_colour_can_be_used(colour: tuple[int, int, int]) -> None:
    for ground in (LIGHT, DARK):
        assert contrast(visible(colour, ground), rgb(ground)) >= VISIBLE
    text = "#{:02x}{:02x}{:02x}".format(*colour)
    found = style(text)
    assert f"--brand:{text};" in found
    on_brand = "#000000" if "--on-brand:#000000" in found else "#ffffff"
    assert contrast(rgb(on_brand), colour) >= LEGIBLE


def test_a_colour_that_stands_out_stays_as_it_is() -> None:
    assert "--accent:#1d5fd0;" in style("#1d5fd0")
    assert "--brand:#ffcc00;--on-brand:#000000;" in style("#fc0")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"fields": {"colour": "x"}}, "'colour' is none of"),
        ({"hide": ["userId"]}, "hide must name 'metadata'"),
        ({"steps": []}, "one or more"),
        ({"steps": ["a", "a"]}, "each once"),
        ({"stale_after": 300}, "more than stale_after"),
        ({"language": "nl"}, "'nl' is none of"),
        ({"step_names": {"nl": {}}}, "'nl' is none of"),
        ({"step_names": {"de": {"eaten": "x"}}}, "'eaten' is no step"),
        ({"brand_colour": "red"}, "#d40511"),
        ({"brand_logo": "logo.txt"}, "suffix"),
        ({"brand_logo": "/nowhere/logo.svg"}, "No such file"),
        ({"brand_logo": "https://x.example/a b.png"}, "suffix|No such file"),
        ({"privacy_url": "javascript:alert(1)"}, "privacy_url"),
        ({"contact_url": "call us"}, "contact_url"),
    ],
)
def test_invalid_settings_are_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        settings(**table)


def test_a_logo_of_any_size_is_refused(tmp_path: Path) -> None:
    logo = tmp_path / "logo.png"
    logo.write_bytes(bytes(MAX_LOGO + 1))
    with pytest.raises(ConfigurationError, match="more than"):
        settings(brand_logo=str(logo))
    logo.write_bytes(bytes(MAX_LOGO))
    assert settings(brand_logo=str(logo)).brand_logo == str(logo)

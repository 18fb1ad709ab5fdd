"""The tokens and ids of shares, and the settings of the plugin ``sharing``."""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atriz_realtime.api import (
    AuthenticationRejected,
    ConfigurationError,
    EntityRef,
    InvalidRequest,
    NotAuthorized,
    RateLimited,
)
from atriz_realtime.asgi import create_app
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.sharing import ACCESS_LOG, Redaction
from atriz_realtime.defaults.sharing.http import HOUR, MAX_USERS, Quota
from atriz_realtime.defaults.sharing.settings import SharingSettings
from atriz_realtime.defaults.sharing.tokens import (
    AUDIENCE,
    HEADER,
    TYPE,
    ShareTokens,
    expiry_of,
    id_in,
)
from atriz_realtime.testing import SECRET, FakeClock, config, token

BUS = EntityRef("vehicle", "bus-304")
TOKENS = ShareTokens(SECRET)


def test_a_token_is_read_as_it_was_made() -> None:
    share, made = TOKENS.make(BUS, 60, "u1")
    assert TOKENS.read(made) == share
    assert (share.entity, share.by) == (BUS, "u1")
    assert share.expires - share.issued in (60, 61)
    identity = share.identity()
    assert (identity.only, identity.granted_by, identity.expires_at) == (BUS, "u1", share.expires)
    assert identity.sees_from == share.issued
    assert (identity.user_id, identity.claims["jti"]) == (f"share:{share.id}", share.id)


def test_the_token_does_not_reveal_its_creator() -> None:
    _, made = TOKENS.make(BUS, 60, "somebody@example.com")
    payload = base64.urlsafe_b64decode(made.split(".")[1] + "==")
    assert json.loads(payload).keys() == {"aud", "jti", "iat", "exp", "type", "id", "by"}
    assert b"somebody" not in payload


def test_an_id_carries_its_expiry_and_its_creator() -> None:
    share, made = TOKENS.make(BUS, 60, "u1")
    assert expiry_of(share.id) == share.expires == TOKENS.made_by(share.id, "u1")
    for link in (share.id, made, f"https://x.example/track/#{made}", f"http://x/track/{made}"):
        assert id_in(link) == share.id
    by_operator, _ = TOKENS.make(BUS, 60)
    for share_id, user in [
        (share.id, "u2"),
        (by_operator.id, "u1"),
        ("A" * 32, "u1"),
        ("", "u1"),
        ("é" * 32, "u1"),
        (share.id + "=", "u1"),
    ]:
        with pytest.raises(NotAuthorized):
            TOKENS.made_by(share_id, user)


@pytest.mark.parametrize("text", ["", "x", "https://x.example/track/#", token(), "A" * 31])
def test_text_without_a_share_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        id_in(text)


def test_a_token_of_another_kind_is_not_read() -> None:
    assert TOKENS.read(token()) is None
    assert TOKENS.read("") is None
    assert TOKENS.read(jwt.encode({"aud": AUDIENCE}, TOKENS._signing, "HS256")) is None


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    share, _ = TOKENS.make(BUS, 60)
    return {
        "aud": AUDIENCE,
        "jti": share.id,
        "iat": now,
        "exp": now + 60,
        "type": "vehicle",
        "id": "v1",
    } | changes


def signed(payload: dict[str, Any], key: str | bytes = TOKENS._signing) -> str:
    present = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(present, key, "HS256", {"typ": TYPE})


def test_the_template_of_the_bad_tokens_is_valid() -> None:
    assert TOKENS.read(signed(claims())) is not None


def test_a_token_of_a_server_whose_clock_is_ahead_is_read() -> None:
    now = int(time.time())
    assert TOKENS.read(signed(claims(iat=now + 30, exp=now + 90))) is not None


@pytest.mark.parametrize(
    "bad",
    [
        signed(claims(), SECRET),  # the secret of ordinary tokens
        signed(claims(), ShareTokens("another secret of more than thirty-two bytes")._signing),
        signed(claims(exp=int(time.time()) - 1)),
        signed(claims(aud="other")),
        *(signed(claims(**{name: None})) for name in ("aud", "exp", "iat", "type", "id", "jti")),
        signed(claims(id="")),
        signed(claims(id=7)),
        signed(claims(by="AAAA")),
        signed(claims(by=7)),
        signed(claims(more="x" * 5_000)),
        signed(claims())[:-3],
        signed(claims()).rpartition(".")[0] + ".",
    ],
)
def test_a_bad_token_is_refused(bad: str) -> None:
    with pytest.raises(AuthenticationRejected) as refusal:
        TOKENS.read(bad)
    assert bad not in refusal.value.reason


@given(st.text())
def test_every_forged_share_is_refused_alike(text: str) -> None:
    with pytest.raises(AuthenticationRejected):
        TOKENS.read(HEADER + text)
    with pytest.raises(InvalidRequest):
        id_in(HEADER + text)
    with suppress(InvalidRequest):
        id_in(text)
    with pytest.raises(NotAuthorized):
        TOKENS.made_by(text, "u1")


def test_a_creator_cannot_be_moved_to_another_share() -> None:
    payload = jwt.decode(TOKENS.make(BUS, 60, "u1")[1], options={"verify_signature": False})
    with pytest.raises(AuthenticationRejected):
        TOKENS.read(signed(claims(by=payload["by"])))


def test_shares_of_one_user_are_counted() -> None:
    clock = FakeClock()
    incidents = Incidents(clock)
    quota = Quota(2, clock, incidents.report)
    quota.take("u1")
    clock.advance(HOUR / 2)
    quota.take("u1")
    quota.take("u2")
    with pytest.raises(RateLimited) as refusal:
        quota.take("u1")
    assert refusal.value.retry_after == HOUR / 2
    clock.advance(HOUR / 2)
    quota.take("u1")
    for number in range(MAX_USERS):
        quota.take(f"other-{number}")
    assert len(quota._made) == MAX_USERS
    assert incidents.counts == {"limit defaults.sharing.http.MAX_USERS reached": 2}
    clock.advance(HOUR)
    quota.take("u1")  # the count that makes room is over
    assert sum(incidents.counts.values()) == 2


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"url": "live.example.com"}, "must be an address"),
        ({"url": "https://live.example.com/?x=1"}, "must be an address"),
        ({"url": "https://x.example", "secret": "short"}, "32 bytes"),
        ({"url": "https://x.example", "hide": ("latitude",)}, "'latitude' cannot be named"),
    ],
)
def test_invalid_settings_are_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SharingSettings(**table)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"jwt_secret": None}, "needs a jwt_secret"),
        ({"disabled_plugins": ["revocations"]}, "needs the plugin revocations"),
        ({"disabled_hooks": ["revocations:server_started"]}, "needs the plugin revocations"),
    ],
)
def test_a_server_that_cannot_share_does_not_start(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        create_app(config(plugins={"sharing": {"url": "https://x.example"}}, **settings))


def test_it_is_off_without_a_url() -> None:
    registry = create_app(config()).state.realtime.registry
    paths = [path for path, _ in registry.contributed("register_routes")]
    assert not any("/shares" in path or "/track/" in path for path in paths)
    assert "sharing" not in [each.name for each in registry.authenticators]


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/track/abc.def", "/track/***"),
        ("/track/abc.def?x=1", "/track/***?x=1"),
        ("/live/track/abc.def", "/live/track/***"),
        ("/api/tracking/shares/abc", "/api/tracking/shares/***"),
        ("/track/files/share.js", "/track/files/share.js"),
        ("/api/tracking/vehicle/v1", "/api/tracking/vehicle/v1"),
    ],
)
async def test_an_access_log_has_no_tokens(
    path: str, written: str, caplog: pytest.LogCaptureFixture
) -> None:
    ACCESS_LOG.addFilter(Redaction())
    caplog.set_level("INFO", ACCESS_LOG.name)
    ACCESS_LOG.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", path, "1.1", 200)
    assert caplog.messages == [f'127.0.0.1:1 - "GET {written} HTTP/1.1" 200']

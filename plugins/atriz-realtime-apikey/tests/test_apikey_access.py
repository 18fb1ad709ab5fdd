"""The authenticator and the authorizer that the plugin registers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
import pytest

from atriz_realtime.api import (
    AuthenticationRejected,
    Authenticator,
    ConfigurationError,
    Credentials,
    EntityRef,
    Identity,
    Resources,
)
from atriz_realtime.testing import AuthenticatorContract, FakeClock, token
from atriz_realtime_apikey import apikey
from atriz_realtime_apikey.apikey import ApiKeySettings
from atriz_realtime_apikey.keys import hash_key, new_key

pytestmark = pytest.mark.asyncio

T = TypeVar("T")

KEY_ID, KEY = new_key()
OTHER_ID, OTHER = new_key()
_, UNKNOWN = new_key()
WRONG = f"ak_{KEY_ID}_{OTHER.rpartition(OTHER_ID)[2][1:]}"
BUS, TRAM = EntityRef("vehicle", "bus-7"), EntityRef("vehicle", "tram-7")
SECOND = 1.0


@attrs.frozen
class Config:
    """See :class:`~atriz_realtime.api.PluginConfig`."""

    table: Mapping[str, Any]
    settings: Mapping[str, Any] = MappingProxyType({"redis_prefix": ""})

    def load(self, settings_class: type[T]) -> T:
        return settings_class(**self.table)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def authenticator(clock: FakeClock) -> Authenticator:
    """The plugin's authenticator, with two keys in its configuration."""
    expires = datetime.fromtimestamp(clock.now() + SECOND, UTC)
    keys = {
        KEY_ID: {"hash": hash_key(KEY), "publish": ["vehicle:bus-*"], "label": "depot 7"},
        OTHER_ID: {
            "hash": hash_key(OTHER),
            "publish": ["vehicle:bus-*"],
            "track": ["vehicle:tram-*"],
            "user": "u7",
            "expires": expires,
        },
    }
    resources = Resources(clock=clock, redis=None, settings={})
    return apikey.register_authenticators(Config({"keys": keys}), resources)


async def identify(authenticator: Authenticator, key: str) -> Identity:
    identity = await authenticator.authenticate(Credentials(token=key))
    assert identity is not None
    return identity


class TestApiKeyAuthenticator(AuthenticatorContract):
    @pytest.fixture
    def authenticator(self, authenticator: Authenticator) -> Authenticator:
        return authenticator

    @pytest.fixture
    def good(self) -> Credentials:
        return Credentials(token=KEY)

    @pytest.fixture
    def user_id(self) -> str:
        return f"device:{KEY_ID}"

    @pytest.fixture
    def bad(self) -> Sequence[Credentials]:
        tokens = [WRONG, UNKNOWN, "ak_", f"ak_{KEY_ID}", KEY + "=", KEY[:-1], KEY.upper().lower()]
        return [
            *(Credentials(token=token) for token in tokens),
            Credentials(source="handshake", auth={"apiKey": WRONG}),
            Credentials(headers={"x-api-key": WRONG}),
        ]

    @pytest.fixture
    def foreign(self) -> Sequence[Credentials]:
        return [
            Credentials(),
            Credentials(token=token()),
            Credentials(token="AK_" + KEY[3:]),
            Credentials(token=f"x{KEY}"),
            Credentials(headers={"x-api-key": "letmein", "authorization": "ApiKey letmein"}),
            Credentials(headers={"authorization": f"Basic {KEY}"}),
            Credentials(source="handshake", auth={"apiKey": 42, "token": None}),
            Credentials(source="handshake", auth={"apiKey": {"ak_": KEY}}),
            Credentials(source="handshake", auth={"apiKey": [KEY]}),
        ]


# -- where a key may stand -------------------------------------------------------------------


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(headers={"x-api-key": KEY}),
        Credentials(headers={"x-api-key": f" {KEY} "}),
        Credentials(headers={"authorization": f"ApiKey {KEY}"}),
        Credentials(headers={"authorization": f"apikey  {KEY}"}),
        Credentials(headers={"authorization": f"Bearer {KEY}"}, token=KEY),
        Credentials(source="handshake", auth={"apiKey": KEY}),
        Credentials(source="handshake", auth={"token": KEY}, token=KEY),
        Credentials(source="handshake", headers={"x-api-key": KEY}),
        Credentials(source="event", token=KEY),
        # a key takes precedence over other credentials
        Credentials(source="handshake", auth={"apiKey": KEY, "token": "x.y.z"}, token="x.y.z"),
        Credentials(headers={"x-api-key": KEY, "authorization": "Bearer x.y.z"}, token="x.y.z"),
        Credentials(headers={"x-api-key": "letmein", "authorization": f"ApiKey {KEY}"}),
    ],
    ids=range(12),
)
async def test_a_key_is_found_in_each_place(
    authenticator: Authenticator, credentials: Credentials
) -> None:
    identity = await authenticator.authenticate(credentials)
    assert identity is not None
    assert identity.user_id == f"device:{KEY_ID}"


async def test_a_bad_key_is_refused_beside_a_good_token(authenticator: Authenticator) -> None:
    with pytest.raises(AuthenticationRejected):
        await authenticator.authenticate(Credentials(headers={"x-api-key": WRONG}, token=token()))


async def test_it_precedes_jwt(authenticator: Authenticator) -> None:
    assert authenticator.order < 0


# -- the identity ----------------------------------------------------------------------------


async def test_the_identity_describes_the_key_without_its_secret(
    authenticator: Authenticator, clock: FakeClock
) -> None:
    identity = await identify(authenticator, OTHER)
    assert identity.user_id == "u7"
    assert identity.authenticator == "apikey"
    assert identity.expires_at == clock.now() + SECOND
    assert identity.claims == {
        "apiKey": OTHER_ID,
        "label": "",
        "publish": ["vehicle:bus-*"],
        "track": ["vehicle:tram-*"],
    }
    assert (await identify(authenticator, KEY)).expires_at is None
    shown = f"{identity!r} {identity.claims!r}"
    assert hash_key(OTHER)[7:] not in shown
    assert OTHER.split("_", 2)[2] not in shown


async def test_unknown_wrong_and_expired_keys_get_the_same_answer(
    authenticator: Authenticator, clock: FakeClock
) -> None:
    clock.advance(SECOND)
    answers = []
    for key in (UNKNOWN, WRONG, OTHER):
        with pytest.raises(AuthenticationRejected) as refusal:
            await authenticator.authenticate(Credentials(token=key))
        answers.append(refusal.value.to_wire())
    assert answers[0] == answers[1] == answers[2]


async def test_a_key_is_valid_until_it_expires(
    authenticator: Authenticator, clock: FakeClock
) -> None:
    clock.advance(SECOND - 0.001)
    await identify(authenticator, OTHER)
    clock.advance(0.001)
    with pytest.raises(AuthenticationRejected):
        await authenticator.authenticate(Credentials(token=OTHER))


# -- the scopes ------------------------------------------------------------------------------


async def test_each_key_is_limited_to_its_scopes(authenticator: Authenticator) -> None:
    rule = apikey.register_authorizers()
    assert rule.may_publish is not None
    assert rule.may_track is not None
    for key, tracks in ((KEY, False), (OTHER, True)):
        identity = await identify(authenticator, key)
        assert await rule.may_publish(identity, BUS)
        assert not await rule.may_publish(identity, TRAM)
        assert not await rule.may_track(identity, BUS)
        assert await rule.may_track(identity, TRAM) is tracks


async def test_an_expired_key_allows_nothing(
    authenticator: Authenticator, clock: FakeClock
) -> None:
    rule = apikey.register_authorizers()
    assert rule.may_publish is not None
    assert rule.may_track is not None
    identity = await identify(authenticator, OTHER)
    clock.advance(SECOND)
    assert not await rule.may_publish(identity, BUS)
    assert not await rule.may_track(identity, TRAM)


async def test_other_identities_are_not_restricted() -> None:
    rule = apikey.register_authorizers()
    assert rule.may_publish is not None
    assert rule.may_track is not None
    for identity in (
        Identity(user_id="u1", authenticator="jwt"),
        # claims neither make an identity a key, nor change the key
        Identity(user_id="u1", authenticator="apikey", claims={"apiKey": KEY_ID, "track": []}),
    ):
        assert await rule.may_publish(identity, TRAM)
        assert await rule.may_track(identity, TRAM)


# -- the settings ----------------------------------------------------------------------------


async def test_settings_do_not_show_keys() -> None:
    settings = ApiKeySettings(keys={KEY_ID: {"hash": hash_key(KEY), "publish": ["*:*"]}})
    assert hash_key(KEY)[7:] not in repr(settings)


async def test_a_bad_key_in_the_configuration_is_named() -> None:
    with pytest.raises(ConfigurationError, match=f"keys.{KEY_ID}: hash must be"):
        ApiKeySettings(keys={KEY_ID: {"hash": KEY, "publish": ["*:*"]}})
    with pytest.raises(ConfigurationError, match="keys: an id is") as refusal:
        ApiKeySettings(keys={KEY: {"hash": hash_key(KEY), "publish": ["*:*"]}})
    assert "ak_" not in refusal.value.message


@pytest.mark.parametrize("settings", [{"cache_seconds": 0}, {"cache_size": 0}])
async def test_a_cache_has_a_size_and_a_time(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cache_"):
        ApiKeySettings(**settings)


async def test_a_server_without_any_key_says_so(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    resources = Resources(clock=clock, redis=None, settings={})
    with caplog.at_level(logging.WARNING):
        authenticator = apikey.register_authenticators(Config({}), resources)
    assert "every API key is refused" in caplog.text
    with pytest.raises(AuthenticationRejected):
        await authenticator.authenticate(Credentials(token=KEY))

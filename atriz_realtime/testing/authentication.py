"""The contract of authenticators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import attrs
import pytest

from atriz_realtime.api import AuthenticationRejected, Authenticator, Credentials, Identity

STRANGE_TOKENS = (
    "",
    " ",
    ".",
    "..",
    "a.b.c",
    "null",
    "Bearer ",
    "\x00",
    "\ud800",
    "é🚚",
    "%00%ff",
    "=" * 64,
    "eyJhbGciOiJub25lIn0.e30.",
    "x" * 100_000,
    "." * 100_000,
)
"""Tokens that no authenticator issues."""

Source = Literal["handshake", "event", "http"]


@pytest.mark.asyncio
class AuthenticatorContract:
    """The contract of an :class:`~atriz_realtime.api.Authenticator`, as tests.

    Name a subclass ``Test…`` and override the fixtures ``authenticator``, ``good`` and
    ``user_id``, and where they apply ``bad`` and ``foreign``.

    Example::

        class TestMyAuthenticator(AuthenticatorContract):
            @pytest.fixture
            def authenticator(self):
                return Authenticator("pin", PinCheck("1234").authenticate)

            @pytest.fixture
            def good(self):
                return Credentials(token="pin:1234")

            @pytest.fixture
            def user_id(self):
                return "visitor"

            @pytest.fixture
            def bad(self):
                return [Credentials(token="pin:9999")]
    """

    @pytest.fixture
    def authenticator(self) -> Authenticator:
        """The record that the plugin registers."""
        raise NotImplementedError("override the fixture `authenticator`")

    @pytest.fixture
    def good(self) -> Credentials:
        """Credentials that it accepts."""
        raise NotImplementedError("override the fixture `good`")

    @pytest.fixture
    def user_id(self) -> str:
        """The user of the good credentials."""
        raise NotImplementedError("override the fixture `user_id`")

    @pytest.fixture
    def bad(self) -> Sequence[Credentials]:
        """Credentials that it must refuse: invalid ones of its own kind."""
        return ()

    @pytest.fixture
    def foreign(self) -> Sequence[Credentials]:
        """Credentials of another kind, which it must leave to other authenticators."""
        return (Credentials(),)

    async def test_good_credentials_have_an_identity(
        self, authenticator: Authenticator, good: Credentials, user_id: str
    ) -> None:
        identity = await authenticator.authenticate(good)
        assert isinstance(identity, Identity)
        assert identity.user_id == user_id
        if identity.expires_at is not None:
            assert isinstance(identity.expires_at, int | float)
            assert math.isfinite(identity.expires_at)

    @pytest.mark.parametrize("source", ["handshake", "event", "http"])
    async def test_a_token_is_good_wherever_it_comes_from(
        self, authenticator: Authenticator, good: Credentials, user_id: str, source: Source
    ) -> None:
        if good.token is None:
            pytest.skip("these credentials have no token")
        identity = await authenticator.authenticate(attrs.evolve(good, source=source))
        assert identity is not None
        assert identity.user_id == user_id

    async def test_what_is_not_its_own_it_leaves_to_others(
        self, authenticator: Authenticator, foreign: Sequence[Credentials]
    ) -> None:
        for credentials in foreign:
            assert await authenticator.authenticate(credentials) is None

    async def test_what_is_its_own_and_bad_it_refuses(
        self, authenticator: Authenticator, bad: Sequence[Credentials]
    ) -> None:
        for credentials in bad:
            with pytest.raises(AuthenticationRejected) as refusal:
                await authenticator.authenticate(credentials)
            assert refusal.value.to_wire() == {
                "success": False,
                "code": "invalid_token",
                "message": "Authentication failed",
            }

    async def test_no_refusal_repeats_the_token(
        self, authenticator: Authenticator, bad: Sequence[Credentials]
    ) -> None:
        for credentials in bad:
            with pytest.raises(AuthenticationRejected) as refusal:
                await authenticator.authenticate(credentials)
            for word in filter(None, (credentials.token, *credentials.auth.values())):
                assert str(word) not in f"{refusal.value.reason} {refusal.value!r}"

    @pytest.mark.parametrize("token", STRANGE_TOKENS, ids=range(len(STRANGE_TOKENS)))
    async def test_a_strange_token_is_refused_or_left_to_others(
        self, authenticator: Authenticator, token: str
    ) -> None:
        try:
            identity = await authenticator.authenticate(Credentials(token=token))
        except AuthenticationRejected:
            return
        assert identity is None

    async def test_nothing_shows_the_token(
        self, authenticator: Authenticator, good: Credentials
    ) -> None:
        identity = await authenticator.authenticate(good)
        if good.token is not None:
            assert good.token not in f"{identity!r} {good!r}"

"""The contract of authenticators, for the tokens of shares."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from atriz_realtime import create_app
from atriz_realtime.api import Authenticator, Credentials, EntityRef
from atriz_realtime.defaults.sharing.tokens import HEADER, Share, ShareTokens
from atriz_realtime.testing import SECRET, AuthenticatorContract, config, token

MADE: tuple[Share, str] = ShareTokens(SECRET).make(EntityRef("vehicle", "v1"), 3_600, "u1")


class TestSharing(AuthenticatorContract):
    @pytest.fixture
    def authenticator(self) -> Authenticator:
        app = create_app(config(plugins={"sharing": {"url": "https://live.example.com"}}))
        first: Authenticator = app.state.realtime.registry.authenticators[0]
        return first

    @pytest.fixture
    def good(self) -> Credentials:
        return Credentials(token=MADE[1])

    @pytest.fixture
    def user_id(self) -> str:
        return f"share:{MADE[0].id}"

    @pytest.fixture
    def foreign(self) -> Sequence[Credentials]:
        return [Credentials(token=token("u1")), Credentials(token=f"x{MADE[1]}")]

    @pytest.fixture
    def bad(self) -> Sequence[Credentials]:
        return [
            Credentials(token=bad) for bad in (MADE[1] + "x", MADE[1][:-2], HEADER, f"{HEADER}e30.")
        ]

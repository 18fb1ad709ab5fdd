"""The contract of authenticators, for ``jwt_auth``."""

from __future__ import annotations

import time
from collections.abc import Sequence

import jwt
import pytest

from atriz_realtime.api import Authenticator, Credentials
from atriz_realtime.defaults.jwt_auth import JwtAuthenticator, JwtSettings
from atriz_realtime.testing import SECRET, AuthenticatorContract, token


class TestJwt(AuthenticatorContract):
    @pytest.fixture
    def authenticator(self) -> Authenticator:
        return Authenticator("jwt", JwtAuthenticator(SECRET, JwtSettings()).authenticate)

    @pytest.fixture
    def good(self) -> Credentials:
        return Credentials(token=token("u1", exp=time.time() + 3600))

    @pytest.fixture
    def user_id(self) -> str:
        return "u1"

    @pytest.fixture
    def bad(self) -> Sequence[Credentials]:
        return [
            Credentials(token=bad)
            for bad in (
                token("u1", exp=time.time() - 1),
                token("u1", nbf=time.time() + 3600),
                token("u1", secret="another-secret-of-more-than-32-bytes"),
                token("u1") + "x",
                token("u1")[:-2],
                jwt.encode({"userId": "u1"}, "", "none"),
                jwt.encode({"userId": "u1"}, SECRET * 2, "HS512"),
                jwt.encode({"role": "nobody"}, SECRET, "HS256"),
                jwt.encode({"userId": ""}, SECRET, "HS256"),
                jwt.encode({"userId": ["u1"]}, SECRET, "HS256"),
                jwt.encode({"userId": True}, SECRET, "HS256"),
                jwt.encode({"userId": "a\nb"}, SECRET, "HS256"),
                jwt.encode({"userId": "u" * 257}, SECRET, "HS256"),
                jwt.encode({"userId": "u1"}, SECRET, "HS256", headers={"crit": ["exp"]}),
            )
        ]

"""A secret that is too short is logged once at the start, and works."""

from __future__ import annotations

import logging
import warnings

import jwt
import pytest
from jwt.warnings import InsecureKeyLengthWarning

from tests.support.servers.serving import serving

SECRET = "short"


async def test_it_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        token = jwt.encode({"userId": "u1"}, SECRET, "HS256")
    caplog.set_level(logging.WARNING)
    async with serving(jwt_secret=SECRET) as live:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(3):
                status, _ = await live.get(
                    "/api/tracking/vehicle", headers={"Authorization": f"Bearer {token}"}
                )
                assert status == 200
    said = [record.getMessage() for record in caplog.records if "secret has" in record.getMessage()]
    assert said == ["the JWT secret has 5 bytes; HS256 needs at least 32"]

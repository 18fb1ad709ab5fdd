"""The form of a revocation, and its expiry."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from atriz_realtime.api import InvalidRequest
from atriz_realtime.defaults.revocations.records import (
    EXPIRY_MARGIN,
    Revocation,
    arguments,
    revocation,
)


@pytest.mark.parametrize(
    "data", [None, [], {}, ["key", "k", 1, 2], ["user", 7, 1, 2], ["user", "u", "1", 2]]
)
def test_malformed_revocations_are_refused(data: Any) -> None:
    with pytest.raises(InvalidRequest):
        Revocation.read(data)


def test_a_revocation_outlives_the_token_by_a_margin() -> None:
    now = int(time.time())
    assert revocation("token", "t", now + 60, 9_000).expires == now + 60 + EXPIRY_MARGIN
    assert now + 9_000 <= revocation("token", "t", None, 9_000).expires <= now + 9_001


def test_a_revocation_survives_encoding() -> None:
    made = revocation("session", "s:1", None, 60)
    assert Revocation.read(json.loads(made.encode())) == made
    assert arguments([made])[-2:] == (made.expires, made.encode())

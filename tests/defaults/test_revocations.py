"""The form of a revocation, and its expiry."""

from __future__ import annotations

import json
import time
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from atriz_realtime.api import InvalidRequest
from atriz_realtime.defaults.revocations import revoke_in_redis
from atriz_realtime.defaults.revocations.known import (
    EXPIRY_MARGIN,
    Revocation,
    arguments,
)


@pytest.mark.parametrize(
    "data", [None, [], {}, ["key", "k", 1, 2], ["user", 7, 1, 2], ["user", "u", "1", 2]]
)
def test_malformed_revocations_are_refused(data: Any) -> None:
    with pytest.raises(InvalidRequest):
        Revocation.read(data)


async def written(expires: float | None, max_life: int) -> Revocation:
    """The revocation that a process without a server writes to Redis."""
    link = Mock(client=AsyncMock())
    await revoke_in_redis(link, "", "token", "t", expires, max_life)
    *_, member = link.client.eval.await_args.args
    return Revocation.read(json.loads(member))


async def test_a_revocation_outlives_the_token_by_a_margin() -> None:
    now = int(time.time())
    assert (await written(now + 60, 9_000)).expires == now + 60 + EXPIRY_MARGIN
    assert now + 9_000 <= (await written(None, 9_000)).expires <= now + 9_001


def test_a_revocation_survives_encoding() -> None:
    made = Revocation("session", "s:1", 1, 61)
    assert Revocation.read(json.loads(made.encode())) == made
    assert arguments([made])[-2:] == (made.expires, made.encode())

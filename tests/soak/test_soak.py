"""A short soak: seconds of churn; ``python -m tests.soak`` is the long one."""

from __future__ import annotations

import pytest

from tests.soak.run import soak

MARGIN = 8 * 2**20
"""Bytes that an allocator may keep of a warm-up as short as this."""


@pytest.mark.timeout(120)
async def test_everything_is_given_back_when_everybody_has_left(redis_url: str) -> None:
    outcome = await soak(redis_url, warm_up=3, seconds=6, clients=20, rate=100)
    assert outcome.after.descriptors <= outcome.before.descriptors
    assert outcome.after.tasks <= outcome.before.tasks
    assert outcome.after.memory <= outcome.before.memory + MARGIN
    for what in ("watched and left", "watched and broke off", "misbehaved", "published"):
        assert outcome.done[what] > 0, outcome.done
    assert outcome.incidents["protocol broken"] > 0

"""A short soak of a few seconds; ``python -m tests.soak`` runs a long one."""

from __future__ import annotations

import pytest

from tests.soak.run import soak

MARGIN = 8 * 2**20
"""Bytes by which memory may grow after so short a warm-up, for the allocator."""


@pytest.mark.timeout(120)
async def test_resources_are_released_when_all_clients_have_left(redis_url: str) -> None:
    outcome = await soak(redis_url, warm_up=3, seconds=6, clients=20, rate=100)
    assert outcome.after.descriptors <= outcome.before.descriptors
    assert outcome.after.tasks <= outcome.before.tasks
    assert outcome.after.memory <= outcome.before.memory + MARGIN
    for what in ("watched and left", "watched and broke off", "misbehaved", "published"):
        assert outcome.done[what] > 0, outcome.done
    assert outcome.incidents["protocol broken"] > 0

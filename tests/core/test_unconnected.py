"""How long a session may take to connect to a namespace."""

from __future__ import annotations

import asyncio

from atriz_realtime.core.unconnected import Unconnected


async def test_who_does_not_arrive_in_time_is_overdue() -> None:
    overdue: list[str] = []
    passed = asyncio.Event()
    waiting = Unconnected(0.01, overdue.append)
    waiting.began("e1")
    waiting.began("e2")
    waiting.arrived("e2")
    waiting.arrived("e3")
    asyncio.get_running_loop().call_later(0.02, passed.set)
    await passed.wait()
    assert overdue == ["e1"]


async def test_time_that_runs_goes_on() -> None:
    overdue: list[str] = []
    passed = asyncio.Event()
    waiting = Unconnected(0.01, overdue.append)
    waiting.began("e1")
    waiting.began("e1")
    waiting.arrived("e1")
    asyncio.get_running_loop().call_later(0.02, passed.set)
    await passed.wait()
    assert overdue == []


async def test_without_a_limit_nobody_is() -> None:
    overdue: list[str] = []
    passed = asyncio.Event()
    Unconnected(0, overdue.append).began("e1")
    asyncio.get_running_loop().call_later(0.01, passed.set)
    await passed.wait()
    assert overdue == []

"""Bounds that are settings: the size of a message and of the memory cache, a token's leeway."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from types import ModuleType

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import CloseCode

from atriz_realtime.api import Authenticator, Credentials, LocationEvent, Observer, hookimpl
from tests.support.clients.engineio import raw_socket
from tests.support.servers.serving import serving, token, until


@pytest.mark.parametrize(("max_payload", "served"), [(1_000, False), (4_000, True)])
async def test_a_message_over_max_payload_closes_its_socket(max_payload: int, served: bool) -> None:
    async with serving(max_payload=max_payload) as live, raw_socket(live) as raw:
        await raw.send("420" + json.dumps(["track:vehicle", ["v" * 100] * 20]))
        answers = [] if not served else [await raw.recv()]
        if not served:
            with pytest.raises(ConnectionClosedError) as closed:
                await raw.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == CloseCode.MESSAGE_TOO_BIG
            await until(lambda: live.server.connection_count == 0)
        assert answers == (['430[{"success":true}]'] if served else [])


async def test_the_memory_cache_evicts_the_least_recently_updated() -> None:
    async with serving(plugins={"memory": {"max_entries": 2}}) as live:
        for vehicle in ("v1", "v2", "v1", "v3"):
            await live.publish(vehicle)
        found = [(await live.get(f"/api/tracking/vehicle/v{n}"))[0] for n in (1, 2, 3)]
    assert found == [200, 404, 200]


async def test_what_caches_hold_is_among_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def authenticate(_: Credentials) -> None:
        """Leave everything to others."""

    @hookimpl
    def register_authenticators() -> Authenticator:
        return Authenticator("mine", authenticate, order=-1, statistics=lambda: {"held": 3})

    plugin = ModuleType("counting_authenticator")
    monkeypatch.setattr(plugin, "register_authenticators", register_authenticators, raising=False)
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    async with serving(extra_plugins=[plugin.__name__]) as live:
        await live.publish("v1")
        numbers = live.server.reports.own().statistics
    assert numbers["authenticator mine"] == {"held": 3}
    assert numbers["authenticator jwt"]["remembered"] == 1
    assert numbers["authenticator jwt"]["bytes"] > 100
    assert numbers["cache"]["entries"] == 1
    assert numbers["cache"]["bytes"] > 300
    assert set(numbers["http"]) == {"cached_heads", "arriving", "handled", "unread"}


async def test_the_numbers_of_an_observer_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[LocationEvent] = []
    received = asyncio.Event()

    async def observe(event: LocationEvent) -> None:
        seen.append(event)
        received.set()

    @hookimpl
    def register_observers() -> list[Observer]:
        return [
            Observer("mine", observe, statistics=lambda: {"seen": len(seen)}),
            Observer("silent", observe),
        ]

    plugin = ModuleType("counting_observer")
    monkeypatch.setattr(plugin, "register_observers", register_observers, raising=False)
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    async with serving(
        extra_plugins=[plugin.__name__], plugins={"metrics": {"networks": ["127.0.0.1"]}}
    ) as live:
        await live.publish("v1")
        await received.wait()
        numbers = live.server.reports.own().statistics
        _, health = await live.get("/health/realtime")
        status, metrics = await live.get("/metrics", headers={})
    assert numbers["observer mine"]["seen"] >= 1
    assert "observer silent" not in numbers
    assert health["statistics"]["observer mine"]["seen"] >= 1
    assert status == 200
    assert 'part="observer mine"' in metrics


@pytest.mark.parametrize(("leeway", "status"), [(3600, 200), (0, 401)])
async def test_a_token_may_be_expired_by_the_leeway(leeway: int, status: int) -> None:
    late = token("u1", exp=int(time.time()) - 60)
    async with serving(plugins={"jwt_auth": {"leeway": leeway}}) as live:
        answered, _ = await live.get(
            "/api/tracking/vehicle", headers={"Authorization": f"Bearer {late}"}
        )
    assert answered == status

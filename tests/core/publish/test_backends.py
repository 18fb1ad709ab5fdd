"""Redis, the cache, the fan-out and its layers: opened in order, measured, closed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest

from atriz_realtime.api import (
    Authenticator,
    BackendStatus,
    CacheBackend,
    FanoutBackend,
    FanoutLayer,
)
from atriz_realtime.core.publish.backends import Backends
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.statistics import Statistics
from tests.core.parts import UNUSED


@attrs.define(eq=False)
class Backend:
    """A backend that has a state and numbers, and notes when it is opened and closed."""

    name: str
    notes: list[str]
    state: Any = "embedded"

    async def opened(self, *inner: Any) -> Any:
        below = f" on {inner[0].name}" if inner and isinstance(inner[0], Backend) else ""
        self.notes.append(f"+{self.name}{below}")
        return self

    async def start(self, on_connect: Callable[[], None]) -> None:
        self.notes.append(f"+{self.name}")
        on_connect()

    async def aclose(self) -> None:
        self.notes.append(f"-{self.name}")

    async def unused(self, *_: object) -> Any:
        raise NotImplementedError

    put = get = delete = page = count = publish = subscribe = unsubscribe = unused

    def status(self) -> BackendStatus:
        return BackendStatus(self.state)

    def statistics(self) -> dict[str, float]:
        return {self.name: 1}


class Opened:
    """Backends that were put together as a server does."""

    def __init__(self, incidents: Incidents, *authenticators: Authenticator) -> None:
        self.notes: list[str] = []
        self.link, self.cache, self.fanout, self.inner, self.outer = (
            Backend(name, self.notes) for name in ("link", "cache", "fanout", "inner", "outer")
        )
        self.statistics = Statistics(incidents)
        self.authenticators = authenticators
        self.refusal = BackendStatus("embedded")
        registry: Any = self
        link: Any = self.link
        self.backends = Backends(registry, UNUSED, self.statistics, link, self)
        self._cache, self._fanout = self.cache, self.fanout

    def status(self) -> BackendStatus:
        return self.refusal

    @staticmethod
    def owner(_: Any) -> str:
        return "test"

    @staticmethod
    def where(record: Any) -> str:
        return f"plugin 'test': {record.name!r}"

    async def open(self, stack: AsyncExitStack) -> Any:
        registry: Any = self
        registry.cache = CacheBackend("mine", self._cache.opened)
        registry.fanout = FanoutBackend("mine", self._fanout.opened)
        layers = [
            FanoutLayer(each.name, each.opened, order=order)
            for order, each in enumerate((self.inner, self.outer))
        ]
        return await self.backends.open(stack, layers, lambda: self.notes.append("reachable"))


async def test_all_are_opened_in_order_measured_and_closed(incidents: Incidents) -> None:
    opened = Opened(incidents)
    async with AsyncExitStack() as stack:
        found = await opened.open(stack)
        names = [each.name for each in (found.cache, found.fanout, found.innermost)]
        assert names == ["cache", "outer", "fanout"]
        assert opened.notes == [
            "+link",
            "reachable",
            "+cache",
            "+fanout",
            "+inner on fanout",
            "+outer on inner",
        ]
        assert opened.statistics.read() == {
            "redis": {"link": 1},
            "cache": {"cache": 1},
            "fanout": {"fanout": 1},
            "layer inner": {"inner": 1},
            "layer outer": {"outer": 1},
        }
        opened.notes.clear()
    assert opened.notes == ["-outer", "-inner", "-fanout", "-cache", "-link"]


@pytest.mark.parametrize(
    ("link", "cache", "state"),
    [
        ("embedded", "embedded", "embedded"),
        ("connected", "embedded", "connected"),
        ("connected", "disconnected", "disconnected"),
        ("disconnected", "connected", "disconnected"),
    ],
)
async def test_the_state_is_the_worst(
    incidents: Incidents, link: str, cache: str, state: str
) -> None:
    opened = Opened(incidents)
    opened.link.state, opened.cache.state = link, cache
    async with AsyncExitStack() as stack:
        await opened.open(stack)
        assert opened.backends.status().state == state


async def test_a_refusal_is_worse_than_none_and_better_than_an_outage(
    incidents: Incidents,
) -> None:
    opened = Opened(incidents)
    async with AsyncExitStack() as stack:
        await opened.open(stack)
        opened.refusal = BackendStatus("connected", "no")
        assert opened.backends.status() == opened.refusal
        opened.link.state = "disconnected"
        assert opened.backends.status() == BackendStatus("disconnected")


async def test_only_authenticators_that_have_numbers_are_asked_for_them(
    incidents: Incidents,
) -> None:
    async def authenticate(_: Any) -> None:
        return None

    bare = Authenticator("bare", authenticate)
    counting = Authenticator("counting", authenticate, statistics=lambda: {"asked": 3})
    opened = Opened(incidents, bare, counting)
    assert opened.statistics.read() == {"authenticator counting": {"asked": 3}}
    assert not incidents.counts

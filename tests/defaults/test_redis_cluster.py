"""The fan-out of a cluster follows channels to the servers that have them.

``tests/faults/test_cluster.py`` moves slots of a real cluster; here each moment is chosen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.exceptions import MovedError

from atriz_realtime.defaults.redis import RedisFanout, fanout
from tests.support.servers.serving import TIMEOUT, until

ONE, TWO = "tracking:vehicle:v1", "tracking:vehicle:v2"


class Server:
    """One server of the cluster, which confirms what is subscribed, and refuses what is not its."""

    def __init__(self, cluster: Cluster, name: str, received: Callable[[Any], None]) -> None:
        self._cluster = cluster
        self._name = name
        self._received = received
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.subscribed: set[str] = set()
        self.closed = False

    def send(self, *commands: tuple[Any, ...]) -> None:
        for command in commands:
            asyncio.get_running_loop().call_soon(self._answer, *command)

    def _answer(self, name: str, channel: str = "") -> None:
        if name == "PING":
            self.reply([b"pong", b""])
        elif name == "SUNSUBSCRIBE":
            self.subscribed.discard(channel)
            self.reply([b"sunsubscribe", channel.encode(), 0])
        elif self._cluster.homes[channel] != self._name:
            self.reply(MovedError(f"1 {self._cluster.homes[channel]}:7000"))
        else:
            self.subscribed.add(channel)
            self.reply([b"ssubscribe", channel.encode(), 1])

    def reply(self, reply: Any) -> None:
        """Pass a reply on; the connection ends when it cannot be handled."""
        try:
            self._received(reply)
        except Exception as error:
            self.end(error)

    def end(self, error: Exception) -> None:
        if not self._end.done():
            self._end.set_exception(error)

    async def ended(self) -> None:
        await self._end

    async def aclose(self) -> None:
        self._end.cancel()
        self.closed = True


class Cluster:
    """A link to servers that are called A and B."""

    sharded = True

    def __init__(self) -> None:
        self.homes = {ONE: "A", TWO: "A"}
        self.known = dict(self.homes)
        """The homes as they were when the topology was last read."""
        self.servers: dict[str, Server] = {}

    def route(self, channel: str) -> str:
        return self.known[channel]

    async def refresh(self) -> None:
        self.known = dict(self.homes)

    async def connect(self, received: Callable[[Any], None], route: str = "") -> Server:
        self.servers[route] = Server(self, route, received)
        return self.servers[route]

    async def execute(self, *_: Any) -> int:
        return 0

    def move(self, channel: str) -> None:
        """Move a channel's slot to B; A ends the subscription, as Redis does."""
        self.homes[channel] = "B"
        self.servers["A"].subscribed.discard(channel)
        self.servers["A"].reply([b"sunsubscribe", channel.encode(), 0])

    def publish(self, channel: str, data: bytes) -> None:
        for server in self.servers.values():
            if channel in server.subscribed and not server.closed:
                server.reply([b"smessage", channel.encode(), data])


class Heard:
    """What the core is told, and what arrives."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.messages: list[bytes] = []

    def deaf(self) -> None:
        self.events.append("deaf")

    def hearing(self) -> None:
        self.events.append("hearing")

    def reachable(self) -> None:
        self.events.append("reachable")

    def deliver(self, _: str, data: bytes) -> None:
        self.messages.append(data)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def channels(
    cluster: Any, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RedisFanout]:
    """A fan-out that looks for lost channels without a pause."""
    monkeypatch.setattr(fanout, "REMAP_SECONDS", 0.01)
    channels = RedisFanout(cluster, "")
    yield channels
    await channels.aclose()


async def subscribed(channels: RedisFanout, heard: Heard) -> None:
    channels.attach(heard)
    for channel in (ONE, TWO):
        await channels.subscribe(channel, heard.deliver)
    await until(lambda: heard.events[-1:] == ["hearing"])
    heard.events.clear()


async def test_a_channel_that_moves_is_followed_and_the_gap_is_reported(
    channels: RedisFanout, cluster: Cluster, heard: Heard
) -> None:
    await subscribed(channels, heard)
    cluster.move(ONE)
    assert heard.events == ["deaf"]
    await until(lambda: heard.events == ["deaf", "hearing"])
    assert {name: server.subscribed for name, server in cluster.servers.items()} == {
        "A": {TWO},
        "B": {ONE},
    }
    for number, channel in enumerate((ONE, TWO, ONE)):
        cluster.publish(channel, b"%d" % number)
    assert heard.messages == [b"0", b"1", b"2"]
    assert channels.status().state == "connected"


async def test_a_server_without_channels_is_left(
    channels: RedisFanout, cluster: Cluster, heard: Heard
) -> None:
    await subscribed(channels, heard)
    cluster.move(ONE)
    cluster.move(TWO)
    await until(lambda: cluster.servers["A"].closed and heard.events[-1] == "hearing")
    assert cluster.servers["B"].subscribed == {ONE, TWO}


async def test_a_server_that_refuses_a_channel_is_not_asked_again(
    channels: RedisFanout, cluster: Cluster, heard: Heard
) -> None:
    cluster.homes[ONE] = "B"  # since the topology was read
    confirmed = channels.subscribe(ONE, heard.deliver)
    await until(lambda: "B" in cluster.servers and ONE in cluster.servers["B"].subscribed)
    await confirmed
    cluster.publish(ONE, b"1")
    assert heard.messages == [b"1"]


async def test_a_channel_without_a_server_waits_for_one(
    channels: RedisFanout, cluster: Cluster, heard: Heard
) -> None:
    await subscribed(channels, heard)
    channels.unsubscribe(ONE)
    cluster.homes[ONE] = cluster.known[ONE] = ""
    confirmed = asyncio.ensure_future(channels.subscribe(ONE, heard.deliver))
    await until(lambda: heard.events == ["deaf"])
    assert channels.status().state == "disconnected"
    assert not confirmed.done()
    cluster.homes[ONE] = "B"
    await until(lambda: heard.events == ["deaf", "hearing"])
    await confirmed


async def test_a_subscription_counts_as_made_when_its_time_is_up(
    channels: RedisFanout, cluster: Cluster, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "CONFIRM_TIMEOUT", 0.05)
    cluster.homes = dict.fromkeys((ONE, TWO), "")
    await cluster.refresh()
    async with asyncio.timeout(TIMEOUT):
        await channels.subscribe(ONE, heard.deliver)
        await asyncio.gather(*(channels.subscribe(each, heard.deliver) for each in (TWO, ONE)))
    assert channels.status().state == "disconnected"

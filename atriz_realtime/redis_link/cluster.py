"""The server's connection to a Redis Cluster: a pipe a primary, commands routed by key.

Topology is redis-py's business: its cluster client discovers the nodes and maps slots to
them.  It is asked again when a node answers ``MOVED``, when a pipe is lost, and now and
then.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, MovedError, RedisError

from atriz_realtime.api.contracts import BackendStatus
from atriz_realtime.api.errors import ConfigurationError, Unavailable
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.redis_link.pipe import ANSWER_TIMEOUT, RedisPipe, describe
from atriz_realtime.redis_link.single import CLIENT_NAME, opened
from atriz_realtime.redis_link.stream import Stream
from atriz_realtime.redis_link.url import RedisUrl

REFRESH_SECONDS = 10.0
"""Time between two looks at the topology while nothing is wrong."""

REPAIR_SECONDS = 0.5
"""The same while a primary is out of reach."""

PAUSE_SECONDS = 0.1
"""The shortest time between two looks, however often commands go astray."""

_KEY_POSITION = {"EVAL": 3, "EVALSHA": 3}


class ClusterLink:
    """See :class:`~atriz_realtime.api.RedisLink`.

    :raises ConfigurationError: when the URL cannot be used.
    """

    sharded = True

    def __init__(self, url: RedisUrl, incidents: Incidents) -> None:
        self._url = url
        self._incidents = incidents
        options: dict[str, Any] = {
            "protocol": 2,
            "socket_connect_timeout": ANSWER_TIMEOUT,
            "socket_timeout": ANSWER_TIMEOUT,
            "client_name": CLIENT_NAME,
            **url.options,
        }
        try:
            self._client = RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in url.nodes], **options
            )
        except (TypeError, ValueError, RedisError) as error:
            raise ConfigurationError(f"redis_url: {error}", field="redis_url") from error
        self._pipes: dict[str, RedisPipe] = {}
        self._retired_reconnects = 0
        self._detail = "not connected yet"
        self._stale = asyncio.Event()
        self._looking = asyncio.Lock()

    @property
    def client(self) -> RedisCluster:
        """The ordinary redis-py cluster client."""
        return self._client

    async def start(self, connected: Callable[[], None]) -> None:
        """Discover the cluster, and wait for the first attempt to end, whatever comes of it."""
        self._connected = connected
        await self.refresh()
        await asyncio.gather(*(pipe.attempted() for pipe in self._pipes.values()))
        self._refreshing = asyncio.get_running_loop().create_task(self._keep_fresh())

    def execute(self, *command: str | bytes | float) -> Awaitable[Any]:
        """Queue a command on the node that serves its key."""
        pipe = self._pipe_of(str(command[_KEY_POSITION.get(str(command[0]), 1)]))
        if pipe is None:
            return _unroutable()
        return self._followed(pipe.execute(*command), command)

    def evaluate(
        self, script: str, keys: tuple[str, ...], arguments: tuple[str | bytes | float, ...]
    ) -> Awaitable[Any]:
        """Queue a Lua script, of one key, on the node that serves it."""
        pipe = self._pipe_of(keys[0])
        if pipe is None:
            return _unroutable()
        first = pipe.evaluate(script, keys, arguments)
        return self._followed(first, ("EVAL", script, len(keys), *keys, *arguments))

    def route(self, channel: str) -> str:
        """The node that serves a channel; empty while no node does."""
        with contextlib.suppress(RedisError):
            return self._node_of(channel).name
        return ""

    async def refresh(self) -> None:
        """Ask for the topology, and bring the pipes in line with it."""
        async with self._looking:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT * 2):
                    await self._client.nodes_manager.initialize()
            except (RedisError, OSError, TimeoutError) as error:
                self._detail = describe(error)
                self._incidents.report("redis disconnected", f"{self._url}: {self._detail}")
                return
            await self._follow_topology()

    async def connect(self, received: Callable[[Any], None], route: str = "") -> Stream:
        """Open a further connection to a node."""
        return Stream(await self._open(route), received)

    def status(self) -> BackendStatus:
        """Whether every primary answers."""
        if not self._pipes:
            return BackendStatus("disconnected", self._detail)
        for name, pipe in self._pipes.items():
            status = pipe.status()
            if status.state == "disconnected":
                return BackendStatus("disconnected", f"{name}: {status.detail}")
        return BackendStatus("connected")

    def statistics(self) -> dict[str, float]:
        """Over all ``primaries``, whose number is told: as :meth:`RedisPipe.statistics`."""
        pipes = self._pipes.values()
        return {
            "primaries": len(pipes),
            "pending": sum(pipe.pending for pipe in pipes),
            "reconnects": self._retired_reconnects + sum(pipe.reconnects for pipe in pipes),
        }

    async def aclose(self) -> None:
        """Close every connection; what still waits fails."""
        self._refreshing.cancel()
        await asyncio.gather(self._refreshing, return_exceptions=True)
        await asyncio.gather(*(pipe.aclose() for pipe in self._pipes.values()))
        await self._client.aclose()
        for nodes in ("nodes_cache", "startup_nodes"):  # it closes only what it discovered itself
            await self._client.nodes_manager.aclose(nodes)

    async def _followed(self, first: Awaitable[Any], command: tuple[Any, ...]) -> Any:
        """Await an answer; a redirection is followed once."""
        try:
            return await first
        except MovedError as moved:
            self._stale.set()
            return await self._pipe_at(moved).execute(*command)
        except AskError as ask:
            pipe = self._pipe_at(ask)
            asking = pipe.execute("ASKING")
            answer = pipe.execute(*command)
            await asking
            return await answer

    def _pipe_of(self, key: str) -> RedisPipe | None:
        with contextlib.suppress(RedisError, KeyError):
            return self._pipes[self._node_of(key).name]
        self._stale.set()
        return None

    def _pipe_at(self, redirection: AskError) -> RedisPipe:
        try:
            return self._pipes[redirection.node_addr[0] + f":{redirection.node_addr[1]}"]
        except KeyError:
            raise Unavailable("Redis redirects to a node that is not known yet") from None

    def _node_of(self, key: str) -> ClusterNode:
        node: ClusterNode = self._client.nodes_manager.get_node_from_slot(self._client.keyslot(key))
        return node

    def _any_primary(self) -> ClusterNode | None:
        return next(iter(self._client.get_primaries()), None)

    async def _open(self, route: str) -> AbstractConnection:
        node = self._client.get_node(node_name=route) if route else self._any_primary()
        if node is None:
            raise RedisError(f"no node {route or 'at all'} in the cluster")
        return await opened(node.connection_class(**node.connection_kwargs))

    async def _keep_fresh(self) -> None:
        while True:
            healthy = self.status().state == "connected"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_SECONDS if healthy else REPAIR_SECONDS):
                    await self._stale.wait()
            self._stale.clear()
            await self.refresh()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _follow_topology(self) -> None:
        primaries = {node.name: node for node in self._client.get_primaries()}
        for name in self._pipes.keys() - primaries.keys():
            retired = self._pipes.pop(name)
            self._retired_reconnects += retired.reconnects
            await retired.aclose()
        for name in primaries.keys() - self._pipes.keys():
            self._pipes[name] = RedisPipe(
                name,
                functools.partial(self._open, name),
                self._connected,
                self._incidents,
                self._stale.set,
            )


async def _unroutable() -> Any:
    raise Unavailable("no node of the cluster serves this key")

"""The connection to a Redis Cluster: one pipe per primary, commands routed by key.

redis-py's cluster client discovers the nodes and maps slots to them.  The topology is read
again when a node answers ``MOVED``, when a pipe is lost, and every :data:`REFRESH_SECONDS`.
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
from atriz_realtime.redis_link.pipe import ANSWER_TIMEOUT, RedisPipe, Report, describe
from atriz_realtime.redis_link.single import CONNECTION_OPTIONS, connected
from atriz_realtime.redis_link.stream import Stream
from atriz_realtime.redis_link.url import RedisUrl

REFRESH_SECONDS = 10.0
"""Seconds between two reads of the topology while every primary answers."""

REPAIR_SECONDS = 0.5
"""Seconds between two reads of the topology while a primary cannot be reached."""

PAUSE_SECONDS = 0.1
"""Minimum seconds between two reads of the topology, however many commands are redirected."""

_KEY_POSITION = {"EVAL": 3, "EVALSHA": 3}
"""Where a command has its key; others have it right after their name."""


class ClusterLink:
    """A :class:`~atriz_realtime.api.RedisLink` to a cluster.

    :param report: called with an incident's kind, message and cause when the cluster cannot be
        reached.
    :raises ConfigurationError: when the URL cannot be used.
    """

    sharded = True

    def __init__(self, url: RedisUrl, report: Report) -> None:
        self._url = url
        self._report = report
        options = {**CONNECTION_OPTIONS, "socket_timeout": ANSWER_TIMEOUT, **url.options}
        try:
            nodes = [ClusterNode(host, port) for host, port in url.nodes]
            self.client = RedisCluster(startup_nodes=nodes, **options)
            """redis-py's own cluster client."""
        except (TypeError, ValueError, RedisError) as error:
            raise ConfigurationError(f"redis_url: {error}", field="redis_url") from error
        self._pipes: dict[str, RedisPipe] = {}
        self._retired_reconnects = 0
        self._detail = "not connected yet"
        self._stale = asyncio.Event()
        self._refreshing = asyncio.Lock()
        self._refresher: asyncio.Task[None] | None = None

    async def start(self, on_connect: Callable[[], None]) -> None:
        """Discover the cluster, and wait until each primary is connected or has failed to be.

        :param on_connect: called whenever a primary is connected, for the first time or again.
        """
        self._on_connect = on_connect
        await self.refresh()
        await asyncio.gather(*(pipe.attempted() for pipe in self._pipes.values()))
        self._refresher = asyncio.get_running_loop().create_task(self._keep_fresh())

    def execute(self, *command: str | bytes | float) -> Awaitable[Any]:
        """Queue a command for the node that serves its key."""
        pipe = self._pipe_of(str(command[_KEY_POSITION.get(str(command[0]), 1)]))
        return self._followed(pipe.execute(*command) if pipe else None, command)

    def evaluate(
        self, script: str, keys: tuple[str, ...], arguments: tuple[str | bytes | float, ...]
    ) -> Awaitable[Any]:
        """Queue a Lua script with one key for the node that serves that key."""
        pipe = self._pipe_of(keys[0])
        first = pipe.evaluate(script, keys, arguments) if pipe else None
        return self._followed(first, ("EVAL", script, len(keys), *keys, *arguments))

    def route(self, channel: str) -> str:
        """Name the node that serves a channel; empty while none does."""
        with contextlib.suppress(RedisError):
            return self._node_of(channel).name
        return ""

    async def refresh(self) -> None:
        """Read the topology, open pipes to new primaries and close those to former ones."""
        async with self._refreshing:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT * 2):
                    await self.client.nodes_manager.initialize()
            except (RedisError, OSError, TimeoutError) as error:
                self._detail = describe(error)
                message = f"{self._url}: {self._detail}"
                self._report("redis disconnected", message, cause=self._detail)
                return
            await self._follow_topology()

    async def connect(self, received: Callable[[Any], None], route: str = "") -> Stream:
        """Open another connection, to the node that :meth:`route` named or to any primary."""
        return Stream(await self._open(route), received)

    def status(self) -> BackendStatus:
        """Report the cluster as disconnected while any primary does not answer."""
        if not self._pipes:
            return BackendStatus("disconnected", self._detail)
        for pipe in self._pipes.values():
            if (status := pipe.status()).state == "disconnected":
                return status
        return BackendStatus("connected")

    def statistics(self) -> dict[str, float]:
        """Count ``primaries``, and sum :meth:`RedisPipe.statistics` over them."""
        pipes = self._pipes.values()
        return {
            "primaries": len(pipes),
            "pending": sum(pipe.pending for pipe in pipes),
            "reconnects": self._retired_reconnects + sum(pipe.reconnects for pipe in pipes),
        }

    async def aclose(self) -> None:
        """Close every connection; pending commands fail."""
        if self._refresher is not None:
            self._refresher.cancel()
            await asyncio.gather(self._refresher, return_exceptions=True)
        await asyncio.gather(*(pipe.aclose() for pipe in self._pipes.values()))
        await self.disconnect()

    async def disconnect(self) -> None:
        """Close the connections of the client."""
        nodes = self.client.nodes_manager
        await asyncio.gather(
            self.client.aclose(),
            nodes.aclose("nodes_cache"),  # aclose() of the client leaves these open
            nodes.aclose("startup_nodes"),
            *nodes._background_tasks,  # noqa: SLF001  # they close those to former nodes
            return_exceptions=True,  # one that breaks keeps no other from being closed
        )

    async def _followed(self, first: Awaitable[Any] | None, command: tuple[Any, ...]) -> Any:
        """Await an answer, following one redirection.

        :raises Unavailable: when no node could be asked (``None``).
        """
        if first is None:
            raise Unavailable("no node of the cluster serves this key")
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
        node: ClusterNode = self.client.nodes_manager.get_node_from_slot(self.client.keyslot(key))
        return node

    async def _open(self, route: str) -> AbstractConnection:
        primary: ClusterNode | None = next(iter(self.client.get_primaries()), None)
        node = self.client.get_node(node_name=route) if route else primary
        if node is None:
            raise RedisError(f"no node {route or 'at all'} in the cluster")
        return await connected(node.connection_class(**node.connection_kwargs))

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
        primaries = {node.name: node for node in self.client.get_primaries()}
        for name in self._pipes.keys() - primaries.keys():
            retired = self._pipes.pop(name)
            self._retired_reconnects += retired.reconnects
            await retired.aclose()
        for name in primaries.keys() - self._pipes.keys():
            self._pipes[name] = RedisPipe(
                functools.partial(str, name),
                functools.partial(self._open, name),
                on_connect=self._on_connect,
                on_disconnect=self._stale.set,
                report=self._report,
                takes_over=self._refresher is not None,
            )

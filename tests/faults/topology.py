"""Redis topologies of real processes: a single server, Sentinels, a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
from redis.crc import key_slot

from tests.faults.nodes import Node, free_port, started

Settings = Mapping[str, str | int]

IN_MEMORY: Settings = {"save": '""', "appendonly": "no"}

REPLICATING: Settings = {**IN_MEMORY, "repl-diskless-sync-delay": 0, "repl-ping-replica-period": 1}

SERVICE = "tracking"
"""The Sentinels' name for the primary and its replica."""

SLOTS = 16_384

BOUNDS = [index * SLOTS // 3 for index in range(4)]
"""The bounds of the slots of each primary."""


@attrs.frozen
class Maker:
    """Creates processes, each with its own folder.

    :param program: the Valkey server.
    """

    program: Path
    folder: Path

    def node(self, settings: Settings, *options: str, password: str | None = None) -> Node:
        """A process that is not started yet."""
        port = free_port()
        folder = self.folder / str(port)
        folder.mkdir()
        return Node(self.program, folder, settings, options, password, port)

    @asynccontextmanager
    async def single(
        self, settings: Settings | None = None, password: str | None = None
    ) -> AsyncIterator[Node]:
        """One server that persists nothing."""
        node = self.node({**IN_MEMORY, **(settings or {})}, password=password)
        async with started(node):
            yield node

    @asynccontextmanager
    async def sentinels(self) -> AsyncIterator[Watched]:
        """A primary with a replica, and three Sentinels that agree on their roles."""
        primary = self.node(REPLICATING)
        replica = self.node({**REPLICATING, "replicaof": f"127.0.0.1 {primary.port}"})
        watch = {
            "sentinel monitor": f"{SERVICE} 127.0.0.1 {primary.port} 2",
            "sentinel down-after-milliseconds": f"{SERVICE} 1000",
            "sentinel failover-timeout": f"{SERVICE} 5000",
        }
        sentinels = [self.node(watch, "--sentinel") for _ in range(3)]
        async with started(primary), started(replica), started(*sentinels):
            await replica.wait_for("INFO", until=lambda info: info["master_link_status"] == "up")
            for sentinel in sentinels:
                await sentinel.wait_for(
                    *("SENTINEL MASTER", SERVICE),
                    until=lambda state: (
                        (state["num-other-sentinels"], state["num-slaves"]) == (2, 1)
                    ),
                )
            yield Watched(primary, replica, sentinels)

    @asynccontextmanager
    async def cluster(
        self, *, replicas: bool, full_coverage: bool = False
    ) -> AsyncIterator[Cluster]:
        """Three primaries that share the slots, each with a replica when ``replicas`` is set.

        :param full_coverage: whether the cluster refuses commands while any slot has no node.
        """
        nodes = [
            self.node(
                {
                    **REPLICATING,
                    "cluster-enabled": "yes",
                    "cluster-port": free_port(),
                    "cluster-node-timeout": 1500,
                    "cluster-replica-validity-factor": 0,
                    "cluster-require-full-coverage": "yes" if full_coverage else "no",
                }
            )
            for _ in range(6 if replicas else 3)
        ]
        async with started(*nodes):
            cluster = Cluster(nodes[:3], nodes[3:])
            await cluster.form()
            yield cluster


@attrs.frozen
class Watched:
    """A primary and a replica that Sentinels monitor."""

    primary: Node
    replica: Node
    sentinels: Sequence[Node]

    @property
    def url(self) -> str:
        """The URL for servers."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"


@attrs.frozen
class Cluster:
    """Primaries that share the slots, and the replica of each, if any."""

    primaries: Sequence[Node]
    replicas: Sequence[Node]

    @property
    def url(self) -> str:
        """The URL for servers."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.primaries)
        return f"redis+cluster://{hosts}"

    async def form(self) -> None:
        """Join the processes to a cluster, and wait until all agree on it."""
        nodes = [*self.primaries, *self.replicas]
        first, *others = nodes
        for node in others:
            bus = node.settings["cluster-port"]
            await first.ask("CLUSTER MEET", "127.0.0.1", node.port, bus)
        for node, begin, end in zip(self.primaries, BOUNDS, BOUNDS[1:], strict=False):
            await node.ask("CLUSTER ADDSLOTSRANGE", begin, end - 1)
        for node in nodes:
            await node.wait_for(
                "CLUSTER INFO",
                until=lambda info: (
                    info["cluster_known_nodes"] == str(len(nodes)) and info["cluster_state"] == "ok"
                ),
            )
        for primary, replica in zip(self.primaries, self.replicas, strict=False):
            await replica.ask("CLUSTER REPLICATE", await self.id_of(primary))
        await asyncio.gather(
            *(
                node.wait_for("INFO", until=lambda info: info["master_link_status"] == "up")
                for node in self.replicas
            )
        )

    async def id_of(self, node: Node) -> str:
        """The cluster's id of a process."""
        return str(await node.ask("CLUSTER MYID"))

    def home(self, entity_id: str) -> Node:
        """The primary of a vehicle's channel when the cluster was formed."""
        return self.owner(self.slot(entity_id))

    def owner(self, slot: int) -> Node:
        """The primary of a slot when the cluster was formed."""
        return next(
            node for node, end in zip(self.primaries, BOUNDS[1:], strict=True) if slot < end
        )

    def other(self, owner: Node) -> Node:
        """Another primary."""
        return next(node for node in self.primaries if node is not owner)

    @staticmethod
    def slot(entity_id: str) -> int:
        """The slot of a vehicle's channel."""
        return int(key_slot(f"tracking:vehicle:{entity_id}".encode()))

    @asynccontextmanager
    async def migrating(self, slot: int, source: Node, target: Node) -> AsyncIterator[None]:
        """Move a slot, with its keys, as ``redis-cli --cluster reshard`` does.

        While the context lasts the slot is migrating, and its keys are still on the source.
        """
        source_id, target_id = await self.id_of(source), await self.id_of(target)
        await target.ask("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
        await source.ask("CLUSTER SETSLOT", slot, "MIGRATING", target_id)
        yield
        while keys := await source.ask("CLUSTER GETKEYSINSLOT", slot, 100):
            await source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source):
            await node.ask("CLUSTER SETSLOT", slot, "NODE", target_id)

"""One run: servers, devices and watchers put together, and what befalls them."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from typing import Any

import orjson

from tests.simulation import rules
from tests.simulation.actors import Device, Line, Watcher, call, token
from tests.simulation.history import History
from tests.simulation.loop import EPOCH, HARNESS, Process, VirtualLoop
from tests.simulation.plan import ENTITIES, Action, Plan
from tests.simulation.redis_model import Data, Network, Server
from tests.simulation.wiring import Node, virtual_world

SETTLE = 20.0
"""Seconds of peace before everything is looked at: longer than any retry waits."""

REVOCATIONS = b"{realtime:revocations}"


class World:
    """Everything of one run."""

    def __init__(self, plan: Plan, loop: VirtualLoop) -> None:
        self.plan = plan
        self.loop = loop
        self.history = History(loop.time)
        self.network = Network(loop, str(plan.seed), self._executed)
        self.nodes: dict[str, Node] = {}
        """The servers that run, by name; stopping ones too."""
        self.starting: set[str] = set()
        self.stopping: set[str] = set()
        self.lines: dict[Line, None] = {}
        self.is_running = True
        self.admin = token("admin", "staff", 0, EPOCH - 100)
        self._serials = 0
        self._shares: list[tuple[str, str, str]] = []
        self._holders: list[Watcher] = []
        self._faults: list[Any] = []
        self._copies: dict[Action, Data] = {}
        rules.current.latency = plan.latency
        rules.current.filtering = plan.filtering
        rules.current.denied.clear()
        self.devices = {
            name: Device(self, name, entity, over_socket=socket, resolution=resolution)
            for name, entity, socket, resolution in plan.devices
        }
        self.watchers = {name: Watcher(self, name, *rest) for name, *rest in plan.watchers}

    def serial(self) -> int:
        """A number that nothing else of this run has."""
        self._serials += 1
        return self._serials

    def reachable(self, server: str) -> Node | None:
        """The server that a new connection reaches: the one that is asked for, or another."""
        chosen = server if server in self.nodes and server not in self.stopping else None
        chosen = chosen or self.any_server(server)
        return None if chosen is None else self.nodes[chosen]

    def any_server(self, who: str) -> str | None:
        """What a balancer chooses."""
        names = sorted(self.nodes.keys() - self.stopping)
        return random.Random(f"{who} {self.serial()}").choice(names) if names else None

    # -- the run ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Do everything that is planned, then make peace, look, and take it all down."""
        self.loop.set_exception_handler(self._escaped)
        await asyncio.gather(*(self._start(name) for name in self.plan.servers))
        for action in self.plan.actions:
            self.loop.call_at(max(action.at, self.loop.time()), self._do, action, context=HARNESS)
            if action.kind == "fail over":
                moment = max(action.at - action.what[1], self.loop.time())
                self.loop.call_at(moment, self._copy, action, context=HARNESS)
        watching = self.loop.create_task(self._watch_bounds())
        await asyncio.sleep(max(self.plan.end - self.loop.time(), 0))
        await self._make_peace()
        await asyncio.sleep(SETTLE)
        self.history.note("settled")
        for name in sorted(self.nodes):
            for entity in ENTITIES:
                self._ask(name, entity)
        await asyncio.sleep(3.0)
        self.history.note("read all")
        watching.cancel()
        await self._take_down()

    async def _start(self, name: str) -> None:
        skew = self.plan.skews[self.plan.servers.index(name)]
        node = Node(Process(name, skew), self.network)
        self.starting.add(name)
        await self.loop.spawn(node.process, node.start())
        self.starting.discard(name)
        self.nodes[name] = node
        self.history.note("started", name)

    async def _make_peace(self) -> None:
        self.is_running = True
        for handle in self._faults:
            handle.cancel()
        self.network.heal()
        if self.network.primary is None:
            self._promote(self._lost_data, "lost")
        while self.stopping or self.starting:
            await asyncio.sleep(0.1)
        for name in self.plan.servers:
            if name not in self.nodes:
                await self._start(name)
        for watcher in (*self.watchers.values(), *self._holders):
            watcher.read(at_all=True)
        self.history.note("peace")

    async def _take_down(self) -> None:
        self.is_running = False
        for actor in (*self.devices.values(), *self.watchers.values(), *self._holders):
            actor.leave()
        await asyncio.sleep(10.0)
        for name in sorted(self.nodes):
            for what in self.nodes[name].leftovers():
                self.history.note("left over", name, what=what)
        server = self.network.primary
        assert server is not None
        channels = {name for each in server.connections for name in each.channels}
        for channel in sorted(channels - {b"realtime:emit", b"realtime:signal"}):
            self.history.note("left over", "redis", what=f"subscription to {channel.decode()}")
        members = server.data.get(REVOCATIONS) or {}
        distinct = {tuple(orjson.loads(member)[:2]) for member in members}
        self.history.note("revocations", "redis", members=len(members), distinct=len(distinct))
        for node in list(self.nodes.values()):
            await self.loop.spawn(node.process, node.close())
        await asyncio.sleep(1.0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in sorted(tasks, key=hash):
            if not _is_dead(task):
                self.history.note("left over", "loop", what=f"task {task.get_name()}")
        if self.network.failure is not None:
            raise self.network.failure

    async def _watch_bounds(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for name in sorted(self.nodes):
                for what in self.nodes[name].over_bounds():
                    self.history.note("over bounds", name, what=what)

    def _escaped(self, _: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        what = f"{context['message'].partition('<')[0]}: {type(error).__name__}: {error}"
        self.history.note("escaped", "loop", what=what)

    def _executed(self, server: Server, command: list[bytes]) -> None:
        """Take note of a write that Redis has taken."""
        if command[0] in (b"EVAL", b"EVALSHA") and b"location:current" in command[3]:
            number = round(orjson.loads(command[5])["latitude"] * 10_000)
            self.history.note("cached", "redis", fix=number)
        elif command[0] == b"PUBLISH" and command[1].startswith(b"tracking:"):
            number = round(orjson.loads(command[2])["location"]["latitude"] * 10_000)
            self.history.note("published", "redis", fix=number)

    # -- actions ---------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        self.history.note("action", action.who, does=str(action)[9:])
        getattr(self, "_" + action.kind.replace(" ", "_"))(action)

    def _publish(self, action: Action) -> None:
        self.devices[action.who].publish(bad="bad" in action.what)

    def _move(self, action: Action) -> None:
        self.devices[action.who].move(action.what[0])

    def _connect(self, action: Action) -> None:
        self.watchers[action.who].connect(action.what[0])

    def _leave(self, action: Action) -> None:
        self.watchers[action.who].leave()

    def _track(self, action: Action) -> None:
        self.watchers[action.who].track(action.what)

    def _untrack(self, action: Action) -> None:
        self.watchers[action.who].untrack(action.what)

    def _slow(self, action: Action) -> None:
        self.watchers[action.who].read(at_all=False)

    def _quick(self, action: Action) -> None:
        self.watchers[action.who].read(at_all=True)

    def _authenticate(self, action: Action) -> None:
        self.watchers[action.who].authenticate(action.what[0])

    def _read(self, action: Action) -> None:
        self._ask(action.who, action.what[0])

    def _ask(self, server: str, entity: str) -> None:
        """Ask a server for the current location of an entity."""
        node = self.reachable(server)
        if node is None:
            return
        line = Line(self, node, f"reader {self.serial()}", lambda: None)
        started, name = self.loop.time(), node.process.name

        def answered(status: int, answer: Any) -> None:
            number = round(answer["latitude"] * 10_000) if status == 200 else 0
            self.history.note(
                "got", name, entity=entity, started=started, status=status, fix=number
            )

        path = "/api/tracking/" + entity.replace(":", "/")
        call(self, line, "GET", path, self.admin, None, answered)

    # permissions

    def _deny(self, action: Action) -> None:
        user, entity = action.what
        rules.current.denied.add((user, entity))
        self._administer(action.who, "denied", lambda node: node.deny(user, entity), user, entity)

    def _allow(self, action: Action) -> None:
        user, entity = action.what
        rules.current.denied.discard((user, entity))
        self.history.note("allowed", user, entity=entity)

    def _recheck(self, action: Action) -> None:
        self._administer(action.who, "rechecked", lambda node: node.recheck())

    def _revoke_token(self, action: Action) -> None:
        watcher = self.watchers[action.what[0]]
        number = str(watcher.number)
        if watcher.number:
            self._administer(
                action.who, "revoked", lambda node: node.revoke("token", "t" + number), number, ""
            )

    def _revoke_user(self, action: Action) -> None:
        (user,) = action.what
        self._administer(
            action.who, "revoked user", lambda node: node.revoke("user", user), user, ""
        )

    def _administer(
        self, server: str, kind: str, work: Callable[[Node], Any], who: str = "", what: str = ""
    ) -> None:
        """Let a server do something for an operator, and note when it was done."""
        node = self.reachable(server)
        if node is None:
            return
        began = self.loop.time()

        async def done() -> None:
            error = ""
            try:
                await work(node)
            except Exception as failure:
                error = type(failure).__name__
            self.history.note(kind, who, what=what, began=began, error=error, server=server)

        self.loop.spawn(node.process, done())

    def _share(self, action: Action) -> None:
        user, entity = action.what
        node = self.reachable(action.who)
        if node is None:
            return
        kind, _, entity_id = entity.partition(":")
        body = {"type": kind, "entityId": entity_id, "seconds": 3600}
        bearer = token(user, "staff", self.serial(), EPOCH + self.loop.time())
        line = Line(self, node, f"sharer {self.serial()}", lambda: None)

        def answered(status: int, answer: Any) -> None:
            if status != 201:
                return
            self._shares.append((answer["id"], bearer, entity))
            holder = Watcher(self, f"holder{len(self._holders) + 1}", "holder", "share")
            holder.hold(answer["token"], -len(self._shares))
            self._holders.append(holder)
            holder.track((entity,))
            holder.connect(action.who)

        call(self, line, "POST", "/api/tracking/shares", bearer, body, answered)

    def _end_share(self, action: Action) -> None:
        which, times = action.what
        node = self.reachable(action.who)
        if node is None or not self._shares:
            return
        index = which % len(self._shares)
        share, bearer, _ = self._shares[index]
        line = Line(self, node, f"sharer {self.serial()}", lambda: None)
        began = self.loop.time()

        def answered(status: int, _: Any) -> None:
            error = "" if status == 200 else str(status)
            self.history.note(
                "revoked", str(-index - 1), what="", began=began, error=error, server=action.who
            )

        for number in range(times):
            self.loop.call_later(
                1.1 * number,
                lambda: line.is_open
                and call(
                    self, line, "DELETE", f"/api/tracking/shares/{share}", bearer, None, answered
                ),
                context=HARNESS,
            )

    # servers

    def _kill(self, action: Action) -> None:
        self._end(action.who)
        self._later(action.what[0], self._started_again, action.who)

    def _stop(self, action: Action) -> None:
        name = action.who
        node = self.nodes.get(name)
        if node is None or name in self.stopping:
            return
        self.stopping.add(name)
        self.history.note("stopping", name)

        async def stop() -> None:
            await node.close()
            await asyncio.sleep(0.05)  # requests that are being answered are let finish
            self.loop.call_soon(self._stopped, name, action.what[0], context=HARNESS)

        self.loop.spawn(node.process, stop())

    def _stopped(self, name: str, pause: float) -> None:
        self._end(name, kind="stopped")
        self._later(pause, self._started_again, name)

    def _end(self, name: str, kind: str = "killed") -> None:
        node = self.nodes.pop(name, None)
        if node is None:
            return
        self.stopping.discard(name)
        self.history.note(kind, name)
        self.loop.kill(node.process)
        for connection in self.network.connections:
            if connection.process is node.process:
                connection.close()
        for line in [line for line in self.lines if line.node is node]:
            del self.lines[line]
            line.cut()

    def _started_again(self, name: str) -> None:
        if name not in self.nodes and name not in self.starting:
            self.loop.create_task(self._start(name), context=HARNESS.copy())

    # Redis

    def _fault(self, what: str, seconds: float, undo: Callable[[], None] | None) -> None:
        """Note a fault, and undo it after a while."""
        self.history.note("fault", "redis", what=what, until=self.loop.time() + seconds)
        if undo is not None:
            self._later(seconds, undo)

    def _later(self, seconds: float, work: Callable[..., None], *arguments: Any) -> None:
        self._faults.append(
            self.loop.call_later(seconds, work, *arguments, context=HARNESS)
        )

    def _pause(self, action: Action) -> None:
        self.network.pause()
        self._fault("pause", action.what[0], self.network.resume)

    def _cut(self, action: Action) -> None:
        which, process = action.what
        self.network.cut(
            subscribers=which != "commands", commands=which != "subscribers", process=process
        )
        self._fault("cut", 0.0, None)

    def _late(self, action: Action) -> None:
        self.network.late = 0.5
        self._fault("late", action.what[0], self._punctual)

    def _punctual(self) -> None:
        self.network.late = 0.0

    def _lag(self, action: Action) -> None:
        chosen = self._chosen(action.what[0])
        for connection in chosen:
            connection.extra = 0.7

        def undo() -> None:
            for connection in chosen:
                connection.extra = 0.0

        self._fault("lag", action.what[1], undo)

    def _stall(self, action: Action) -> None:
        chosen = self._chosen(action.what[0])
        for connection in chosen:
            connection.stalled = True

        def undo() -> None:
            for connection in chosen:
                connection.stalled = False
                connection.read()
                connection.deliver()

        self._fault("stall", action.what[1], undo)

    def _chosen(self, which: str) -> list[Any]:
        return [
            connection
            for connection in self.network.connections
            if which == "both" or connection.is_subscriber == (which == "subscribers")
        ]

    def _refuse(self, action: Action) -> None:
        server = self.network.primary
        if server is None:
            return
        server.refuses_writes = b"OOM command not allowed when used memory > 'maxmemory'."

        def undo() -> None:
            server.refuses_writes = b""

        self._fault("refuse", action.what[0], undo)

    def _copy(self, action: Action) -> None:
        if self.network.primary is not None:
            self._copies[action] = self.network.primary.data.copy()

    def _fail_over(self, action: Action) -> None:
        pause, _, how = action.what
        data = self._copies.get(action)
        if self.network.primary is None or data is None:
            return
        self._lost_data = data
        self._fault("fail over", pause, lambda: self._promote(data, how))
        if how == "lost":
            self.network.lose_primary()

    def _promote(self, data: Data, how: str) -> None:
        self.history.note("data lost", "redis")
        self.network.promote(data, demote=how == "demoted")

    def _flush(self, _: Action) -> None:
        if self.network.primary is not None:
            self.network.primary.data.values.clear()
        self.history.note("data lost", "redis")
        self._fault("flush", 0.0, None)

    def _restart_empty(self, _: Action) -> None:
        if self.network.primary is None:
            return
        self.history.note("data lost", "redis")
        self.network.cut(subscribers=True, commands=True)
        self.network.promote(Data(self.loop.time))
        self._fault("restart empty", 0.0, None)


def _is_dead(task: asyncio.Task[Any]) -> bool:
    """Whether a task belongs to a process that was killed."""
    process = getattr(task, "process", None)
    return process is not None and not process.alive


def run(plan: Plan) -> History:
    """Make a run; the same plan always gives the same history."""
    gc.disable()
    loop = VirtualLoop()
    try:
        with virtual_world(loop, f"world {plan.seed}"):
            world = World(plan, loop)
            loop.run_until_complete(world.run())
            history = world.history
            del world
        loop.bury()
        return history
    finally:
        loop.close()
        gc.enable()

"""One run: servers, devices and watchers put together, and what befalls them."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from typing import Any

import orjson

from atriz_realtime.defaults.redis.fanout import UNUSED_KEY
from tests.simulation import rules
from tests.simulation.actors import Device, Watcher
from tests.simulation.client import Line, call, token
from tests.simulation.faults import Faults
from tests.simulation.history import History
from tests.simulation.loop import EPOCH, HARNESS, Process, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.operators import Operators
from tests.simulation.plan import ENTITIES, Action, Plan
from tests.simulation.redis_model import Reply, Server
from tests.simulation.wiring import Node, virtual_world

SETTLE = 20.0
"""Seconds of peace before everything is looked at: longer than any retry waits."""

INDEX = b"location:index:"
UNUSED = UNUSED_KEY.encode()
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
        self._faults = Faults(self)
        self._operators = Operators(self)
        rules.current.latency = plan.latency
        rules.current.filtering = plan.filtering
        rules.current.denied.clear()
        self.devices = {
            name: Device(self, name, entity, over_socket=socket, resolution=resolution, ahead=ahead)
            for name, entity, socket, resolution, ahead in plan.devices
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
        await asyncio.gather(*(self.start(name) for name in self.plan.servers))
        for action in self.plan.actions:
            self.loop.call_at(max(action.at, self.loop.time()), self._do, action, context=HARNESS)
            self._faults.prepare(action)
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

    async def start(self, name: str) -> None:
        """Start a server in a process of its own."""
        skew = self.plan.skews[self.plan.servers.index(name)]
        node = Node(Process(name, skew), self.network, self.plan.window)
        self.starting.add(name)
        await self.loop.spawn(node.process, node.start())
        self.starting.discard(name)
        self.nodes[name] = node
        self.history.note("started", name)

    def end(self, name: str, kind: str = "killed") -> None:
        """End a server's process, and with it its connections."""
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

    async def _make_peace(self) -> None:
        self.is_running = True
        self._faults.heal()
        while self.stopping or self.starting:
            await asyncio.sleep(0.1)
        for name in self.plan.servers:
            if name not in self.nodes:
                await self.start(name)
        for watcher in (*self.watchers.values(), *self._operators.holders):
            watcher.read(at_all=True)
        self.history.note("peace")

    async def _take_down(self) -> None:
        self.is_running = False
        for device in self.devices.values():
            device.leave()
        for watcher in (*self.watchers.values(), *self._operators.holders):
            watcher.leave()
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

    def _executed(self, server: Server, command: list[bytes], reply: Reply) -> None:
        """Take note of a write that Redis has taken."""
        match command:
            case [b"EVAL" | b"EVALSHA", _, b"2", _, index, location, *_] if index.startswith(INDEX):
                self._cached(location)
            case [b"EVAL" | b"EVALSHA", _, b"3", _, index, _, location, *_] if index.startswith(
                INDEX
            ):
                self._cached(location)
            case [b"EVAL" | b"EVALSHA", _, b"1", _, event, channel] if channel.startswith(
                b"tracking:"
            ):
                self._published(event)
            case [b"EVAL" | b"EVALSHA", _, b"3", _, _, unused, event, *_] if unused == UNUSED:
                if reply:
                    self._published(event)

    def _cached(self, location: bytes) -> None:
        number = round(orjson.loads(location)["latitude"] * 10_000)
        self.history.note("cached", "redis", fix=number)

    def _published(self, event: bytes) -> None:
        number = round(orjson.loads(event)["location"]["latitude"] * 10_000)
        self.history.note("published", "redis", fix=number)

    # -- actions ---------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        self.history.note("action", action.who, does=str(action)[9:])
        name = action.kind.replace(" ", "_")
        for whose in (self, self._faults, self._operators):
            deed: Callable[[Action], None] | None = getattr(whose, f"do_{name}", None)
            if deed is not None:
                deed(action)

    def do_publish(self, action: Action) -> None:
        self.devices[action.who].publish(bad="bad" in action.what)

    def do_move(self, action: Action) -> None:
        self.devices[action.who].move(action.what[0])

    def do_connect(self, action: Action) -> None:
        self.watchers[action.who].connect(action.what[0])

    def do_leave(self, action: Action) -> None:
        self.watchers[action.who].leave()

    def do_track(self, action: Action) -> None:
        self.watchers[action.who].track(action.what)

    def do_untrack(self, action: Action) -> None:
        self.watchers[action.who].untrack(action.what)

    def do_slow(self, action: Action) -> None:
        self.watchers[action.who].read(at_all=False)

    def do_quick(self, action: Action) -> None:
        self.watchers[action.who].read(at_all=True)

    def do_authenticate(self, action: Action) -> None:
        self.watchers[action.who].authenticate(action.what[0])

    def do_read(self, action: Action) -> None:
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


def _is_dead(task: asyncio.Task[Any]) -> bool:
    """Whether a task belongs to a process that was killed."""
    process = getattr(task, "process", None)
    return process is not None and not process.alive


def run(plan: Plan) -> History:
    """Make a run; the same plan always gives the same history."""
    gc.disable()
    gc.freeze()  # only what this run makes is looked at after it
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

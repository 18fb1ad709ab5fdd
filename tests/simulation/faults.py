"""What befalls servers, Redis, and the way between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.loop import HARNESS
from tests.simulation.network import Connection
from tests.simulation.plan import Action
from tests.simulation.redis_model import Data, Server

if TYPE_CHECKING:
    from tests.simulation.world import World


class Faults:
    """The actions of :data:`~tests.simulation.plan.FAULTS` and of its ``REFUSALS``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._timers: list[asyncio.TimerHandle] = []
        self._copies: dict[Action, Data] = {}
        self._promoted: Data | None = None

    def prepare(self, action: Action) -> None:
        """Set the timer of what must happen before an action: a replica lags."""
        if action.kind == "fail over":
            loop = self._world.loop
            moment = max(action.at - action.what[1], loop.time())
            loop.call_at(moment, self._copy, action, context=HARNESS)

    def heal(self) -> None:
        """Nothing is wrong with Redis any more."""
        for timer in self._timers:
            timer.cancel()
        self._world.network.heal()
        if self._world.network.primary is None and self._promoted is not None:
            self._promote(self._promoted, "lost")

    # servers

    def do_kill(self, action: Action) -> None:
        self._world.end(action.who)
        self._later(action.what[0], self._started_again, action.who)

    def do_stop(self, action: Action) -> None:
        name = action.who
        node = self._world.nodes.get(name)
        if node is None or name in self._world.stopping:
            return
        self._world.stopping.add(name)
        self._world.history.note("stopping", name)

        async def stop() -> None:
            await node.close()
            await asyncio.sleep(0.05)  # requests that are being answered are let finish
            self._world.loop.call_soon(self._stopped, name, action.what[0], context=HARNESS)

        self._world.loop.spawn(node.process, stop())

    def _stopped(self, name: str, pause: float) -> None:
        self._world.end(name, kind="stopped")
        self._later(pause, self._started_again, name)

    def _started_again(self, name: str) -> None:
        world = self._world
        if name not in world.nodes and name not in world.starting:
            world.starting.add(name)
            world.loop.create_task(world.start(name), context=HARNESS.copy())

    # Redis

    def _fault(self, what: str, seconds: float, undo: Callable[[], None] | None) -> None:
        """Note a fault, and undo it after a while."""
        self._world.history.note(
            "fault", "redis", what=what, until=self._world.loop.time() + seconds
        )
        if undo is not None:
            self._later(seconds, undo)

    def _later(self, seconds: float, work: Callable[..., None], *arguments: Any) -> None:
        self._timers.append(self._world.loop.call_later(seconds, work, *arguments, context=HARNESS))

    def do_pause(self, action: Action) -> None:
        self._world.network.pause()
        self._fault("pause", action.what[0], self._world.network.resume)

    def do_cut(self, action: Action) -> None:
        which, process = action.what
        self._world.network.cut(
            subscribers=which != "commands", commands=which != "subscribers", process=process
        )
        self._fault(f"cut {which} {process}".rstrip(), 0.0, None)

    def do_late(self, action: Action) -> None:
        self._world.network.late = 0.5
        self._fault("late", action.what[0], self._punctual)

    def _punctual(self) -> None:
        self._world.network.late = 0.0

    def do_lag(self, action: Action) -> None:
        chosen = self._chosen(action.what[0])
        for connection in chosen:
            connection.extra = 0.7

        def undo() -> None:
            for connection in chosen:
                connection.extra = 0.0

        self._fault("lag", action.what[1], undo)

    def do_stall(self, action: Action) -> None:
        chosen = self._chosen(action.what[0])
        for connection in chosen:
            connection.stalled = True

        def undo() -> None:
            for connection in chosen:
                connection.stalled = False
                connection.read()
                connection.deliver()

        self._fault("stall", action.what[1], undo)

    def _chosen(self, which: str) -> list[Connection]:
        return [
            connection
            for connection in self._world.network.connections
            if which == "both" or connection.is_subscriber == (which == "subscribers")
        ]

    def do_refuse(self, action: Action) -> None:
        server = self._world.network.primary
        if server is None:
            return
        server.refuses_writes = b"OOM command not allowed when used memory > 'maxmemory'."

        def undo() -> None:
            server.refuses_writes = b""

        self._fault("refuse", action.what[0], undo)

    def do_load(self, action: Action) -> None:
        server = self._world.network.primary
        if server is not None:
            self._world.network.restart(server)
            self._refusal(action, server, "is_loading")

    def do_busy(self, action: Action) -> None:
        self._refusal(action, self._world.network.primary, "is_busy")

    def do_forbid(self, action: Action) -> None:
        """Take from everybody the right to subscribe, which ends what is subscribed."""
        self._refusal(action, self._world.network.primary, "forbids_subscriptions")
        self._world.network.cut(subscribers=True, commands=False)

    def _refusal(self, action: Action, server: Server | None, state: str) -> None:
        if server is not None:
            setattr(server, state, True)
            self._fault(action.kind, action.what[0], lambda: setattr(server, state, False))

    def _copy(self, action: Action) -> None:
        if self._world.network.primary is not None:
            self._copies[action] = self._world.network.primary.data.copy()

    def do_fail_over(self, action: Action) -> None:
        pause, _, how = action.what
        data = self._copies.get(action)
        if self._world.network.primary is None or data is None:
            return
        self._promoted = data
        self._fault("fail over", pause, lambda: self._promote(data, how))
        if how == "lost":
            self._world.network.lose_primary()

    def _promote(self, data: Data, how: str) -> None:
        self._world.history.note("data lost", "redis")
        self._world.network.promote(data, demote=how == "demoted")

    def do_flush(self, _: Action) -> None:
        if self._world.network.primary is not None:
            self._world.network.primary.data.clear()
        self._world.history.note("data lost", "redis")
        self._fault("flush", 0.0, None)

    def do_restart_empty(self, _: Action) -> None:
        if self._world.network.primary is None:
            return
        self._world.history.note("data lost", "redis")
        self._world.network.cut(subscribers=True, commands=True)
        self._world.network.promote(Data(self._world.loop.time))
        self._fault("restart empty", 0.0, None)

"""What operators and users have servers do: permissions, revocations, shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation import rules
from tests.simulation.actors import Watcher
from tests.simulation.client import Line, call, token
from tests.simulation.loop import EPOCH, HARNESS
from tests.simulation.plan import Action
from tests.simulation.wiring import Node

if TYPE_CHECKING:
    from tests.simulation.world import World


class Operators:
    """The actions of :data:`~tests.simulation.plan.ACCESS`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._shares: list[tuple[str, str, str]] = []
        self.holders: list[Watcher] = []
        """Who has the links that were shared."""

    def do_deny(self, action: Action) -> None:
        user, entity = action.what
        rules.current.denied.add((user, entity))
        self._administer(action.who, "denied", lambda node: node.deny(user, entity), user, entity)

    def do_allow(self, action: Action) -> None:
        user, entity = action.what
        rules.current.denied.discard((user, entity))
        self._world.history.note("allowed", user, entity=entity)

    def do_recheck(self, action: Action) -> None:
        self._administer(action.who, "rechecked", lambda node: node.recheck())

    def do_revoke_token(self, action: Action) -> None:
        watcher = self._world.watchers[action.what[0]]
        number = str(watcher.number)
        if watcher.number:
            self._administer(
                action.who, "revoked", lambda node: node.revoke("token", "t" + number), number, ""
            )

    def do_revoke_user(self, action: Action) -> None:
        (user,) = action.what
        self._administer(
            action.who, "revoked user", lambda node: node.revoke("user", user), user, ""
        )

    def _administer(
        self, server: str, kind: str, work: Callable[[Node], Any], who: str = "", what: str = ""
    ) -> None:
        """Let a server do something for an operator, and note when it was done."""
        node = self._world.reachable(server)
        if node is None:
            return
        began, name = self._world.loop.time(), node.process.name

        async def done() -> None:
            error = ""
            try:
                await work(node)
            except Exception as failure:
                error = type(failure).__name__
            self._world.history.note(kind, who, what=what, began=began, error=error, server=name)

        self._world.loop.spawn(node.process, done())

    def do_share(self, action: Action) -> None:
        user, entity = action.what
        node = self._world.reachable(action.who)
        if node is None:
            return
        kind, _, entity_id = entity.partition(":")
        body = {"type": kind, "entityId": entity_id, "seconds": 3600}
        bearer = token(user, "staff", self._world.serial(), EPOCH + self._world.loop.time())
        line = Line(self._world, node, f"sharer {self._world.serial()}", lambda: None)

        def answered(status: int, answer: Any) -> None:
            if status != 201:
                return
            self._shares.append((answer["id"], bearer, entity))
            holder = Watcher(self._world, f"holder{len(self.holders) + 1}", "holder", "share")
            holder.hold(answer["token"], -len(self._shares))
            self.holders.append(holder)
            holder.track((entity,))
            holder.connect(action.who)

        call(self._world, line, "POST", "/api/tracking/shares", bearer, body, answered)

    def do_end_share(self, action: Action) -> None:
        which, times = action.what
        node = self._world.reachable(action.who)
        if node is None or not self._shares:
            return
        index = which % len(self._shares)
        share, bearer, _ = self._shares[index]
        line = Line(self._world, node, f"sharer {self._world.serial()}", lambda: None)
        began, name = self._world.loop.time(), node.process.name

        def answered(status: int, _: Any) -> None:
            error = "" if status == 200 else str(status)
            self._world.history.note(
                "revoked", str(-index - 1), what="", began=began, error=error, server=name
            )

        def end() -> None:
            if line.is_open:
                path = f"/api/tracking/shares/{share}"
                call(self._world, line, "DELETE", path, bearer, None, answered)

        for number in range(times):
            self._world.loop.call_later(1.1 * number, end, context=HARNESS)

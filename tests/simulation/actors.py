"""Devices and watchers: clients that know the protocol and nothing of the server's inside."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.simulation.client import Line, Socket, call, token
from tests.simulation.history import Fix
from tests.simulation.loop import EPOCH, HARNESS

if TYPE_CHECKING:
    from tests.simulation.world import World


class Device:
    """Sends fixes one after another, each when the one before is answered."""

    def __init__(
        self,
        world: World,
        name: str,
        entity: str,
        *,
        over_socket: bool,
        resolution: int,
        ahead: float,
    ) -> None:
        self.name = name
        self._world = world
        self._entity = entity
        self._over_socket = over_socket
        self._resolution = resolution
        self._ahead = ahead
        self._bearer = token(name, "device", 0, EPOCH - 100)
        self._server = world.plan.servers[0]
        self._waiting: deque[bool] = deque()
        self._sending: Fix | None = None
        self._line: Line | None = None
        self._socket: Socket | None = None
        self._ready = False
        self._newest = 0

    def publish(self, *, bad: bool) -> None:
        """Report a position when those before are answered."""
        self._waiting.append(bad)
        self._next()

    def move(self, server: str) -> None:
        """Use another server from the next fix on."""
        self._server = server
        if self._sending is None:
            self.leave()

    def leave(self) -> None:
        """Close the connection."""
        if self._socket is not None and self._socket.line.is_open:
            self._socket.close()
        if self._line is not None:
            self._line.is_open = False
        self._socket = self._line = None
        self._ready = False

    def _next(self) -> None:
        if self._sending is not None or not self._waiting:
            return
        line = self._line or (self._socket.line if self._socket else None)
        if line is None or not line.is_open or line.node.process.name.rstrip("'") != self._server:
            self.leave()
            node = self._world.reachable(self._server)
            if node is None:
                self._waiting.popleft()
                return
            name = f"{self.name} {self._world.serial()}"
            if self._over_socket:
                self._socket = Socket(
                    self._world,
                    node,
                    name,
                    self._bearer,
                    connected=self._connected,
                    received=lambda *_: None,
                    lost=self._lost,
                )
            else:
                self._line = Line(self._world, node, name, self._lost)
                self._ready = True
        if self._ready:
            self._send(self._waiting.popleft())

    def _connected(self) -> None:
        self._ready = True
        self._next()

    def _send(self, bad: bool) -> None:
        world = self._world
        number = world.serial()
        milliseconds = int((EPOCH + world.loop.time() + self._ahead) * 1000)
        clock = milliseconds // self._resolution * self._resolution
        self._newest = max(self._newest + (1 if self._resolution == 1 else 0), clock)
        moment = datetime.fromtimestamp(self._newest / 1000, UTC)
        stamp = moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
        fix = Fix(number, self._entity, self.name, stamp, bad)
        world.history.fixes[number] = fix
        self._sending = fix
        kind, _, entity_id = self._entity.partition(":")
        update = {
            "type": kind,
            "entityId": entity_id,
            "deviceId": self.name,
            "latitude": number / 10_000,
            "longitude": 1.5,
            "timestamp": stamp,
            "metadata": {"bad": bad},
        }
        line = self._line if self._socket is None else self._socket.line
        assert line is not None
        server = line.node.process.name
        world.history.note("sent", self.name, fix=number, server=server)

        def answered(status: int, answer: Any) -> None:
            if self._sending is not fix:
                return
            self._sending = None
            throttled = bool(answer and answer.get("throttled"))
            world.history.note(
                "answered", self.name, fix=number, status=status, throttled=throttled, server=server
            )
            self._next()

        if self._socket is not None:
            self._socket.emit(
                "location:publish",
                update,
                lambda answer: answered(200 if answer.get("success") else 503, answer),
            )
        else:
            call(world, line, "POST", "/api/tracking/location", self._bearer, update, answered)

    def _lost(self) -> None:
        fix, self._sending = self._sending, None
        self._socket = self._line = None
        self._ready = False
        if fix is not None:
            self._world.history.note(
                "answered", self.name, fix=fix.number, status=0, throttled=False, server=""
            )
        self._world.loop.call_later(0.1, self._next, context=HARNESS)


class Watcher:
    """Tracks entities; comes back when it was cut off, unless it has left."""

    def __init__(self, world: World, name: str, user: str, role: str) -> None:
        self.name = name
        self.user = user
        self.role = role
        self.bearer = ""
        self.number = 0
        """The number of its token."""
        self.tracked: set[str] = set()
        self.socket: Socket | None = None
        self.is_slow = False
        self._world = world
        self._count = 0
        self._wants = False
        self._connected = False
        self._renew(role)

    def _renew(self, role: str) -> None:
        self.role = role
        self.number = self._world.serial()
        self.issued = self._world.loop.time()
        self.bearer = token(self.user, role, self.number, EPOCH + self.issued)

    def hold(self, bearer: str, number: int) -> None:
        """Have somebody's share rather than a token of one's own."""
        self.bearer, self.number = bearer, number

    def connect(self, server: str) -> None:
        """Connect, or connect anew, and track what was tracked."""
        self.leave()
        self._wants = True
        node = self._world.reachable(server)
        if node is None:
            self._again()
            return
        self._count += 1
        name = f"{self.name}#{self._count}"
        self._note("connecting", name, server=node.process.name)
        self.socket = Socket(
            self._world,
            node,
            name,
            self.bearer,
            connected=self._is_connected,
            received=self._received,
            lost=self._lost,
        )
        self.socket.read(at_all=not self.is_slow)

    def _note(self, kind: str, name: str, **data: Any) -> None:
        data |= {"user": self.user, "role": self.role, "issued": self.issued}
        self._world.history.note(kind, name, token=self.number, **data)

    def leave(self) -> None:
        """Disconnect, and stay away."""
        self._wants = False
        socket, self.socket = self.socket, None
        if socket is not None and socket.line.is_open:
            self._world.history.note("left", socket.name)
            socket.close()
        self._connected = False

    def track(self, entities: tuple[str, ...]) -> None:
        """Track entities of any types."""
        self.tracked.update(entities)
        if self._connected:
            self._ask("track", entities)

    def untrack(self, entities: tuple[str, ...]) -> None:
        """Track them no more."""
        self.tracked.difference_update(entities)
        if self._connected:
            self._ask("untrack", entities)

    def read(self, *, at_all: bool) -> None:
        """Become slow, or quick again."""
        self.is_slow = not at_all
        if self.socket is not None:
            self._world.history.note("slow" if self.is_slow else "quick", self.socket.name)
            self.socket.read(at_all=at_all)

    def authenticate(self, role: str) -> None:
        """Show a new token."""
        self._renew(role)
        if not self._connected or self.socket is None:
            return
        socket, number = self.socket, self.number
        self._note("authenticating", socket.name)

        def answered(answer: Any) -> None:
            if answer.get("success"):
                self._world.history.note("authenticated", socket.name, role=role, token=number)

        socket.emit("authenticate", self.bearer, answered)

    def _ask(self, verb: str, entities: tuple[str, ...]) -> None:
        socket = self.socket
        assert socket is not None
        history = self._world.history
        one_by_one = self._world.plan.one_by_one
        kinds = dict.fromkeys(entity.partition(":")[0] for entity in entities)
        lists = [[each for each in entities if each.startswith(kind + ":")] for kind in kinds]
        for chosen in [[each] for each in entities] if one_by_one else lists:
            ask = self._world.serial()
            history.note(f"{verb} asked", socket.name, entities=chosen, ask=ask)

            def answered(answer: Any, chosen: list[str] = chosen, ask: int = ask) -> None:
                good = bool(answer.get("success"))
                history.note(f"{verb} answered", socket.name, entities=chosen, ask=ask, good=good)

            kind = chosen[0].partition(":")[0]
            ids = [entity.partition(":")[2] for entity in chosen]
            socket.emit(f"{verb}:{kind}", ids[0] if one_by_one else ids, answered)

    def _is_connected(self) -> None:
        self._connected = True
        assert self.socket is not None
        self._world.history.note("connected", self.socket.name)
        if self.tracked:
            self._ask("track", tuple(sorted(self.tracked)))

    def _received(self, event: str, argument: Any) -> None:
        assert self.socket is not None
        history, name = self._world.history, self.socket.name
        if event == "location:update":
            location = argument["location"]
            entity = f"{argument['type']}:{argument['entityId']}"
            number = round(location["latitude"] * 10_000)
            history.note("seen", name, entity=entity, fix=number, whole="metadata" in location)
        elif event == "tracking:revoked":
            entity = f"{argument['type']}:{argument['entityId']}"
            self.tracked.discard(entity)
            history.note("told revoked", name, entity=entity)

    def _lost(self) -> None:
        if self.socket is None:
            return
        self._world.history.note("cut off", self.socket.name)
        self.socket = None
        self._connected = False
        self._again()

    def _again(self) -> None:
        self._world.loop.call_later(0.7, self._reconnect, context=HARNESS)

    def _reconnect(self) -> None:
        if self._wants and self.socket is None and self._world.is_running:
            server = self._world.any_server(self.name)
            if server is None:
                self._again()
            else:
                self.connect(server)

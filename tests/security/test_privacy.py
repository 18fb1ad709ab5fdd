"""What each watcher sees of a vehicle, to the byte, and how often a view is rendered."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from types import ModuleType
from typing import Any

import attrs
import pytest
import redis.asyncio
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket

from atriz_realtime.api import (
    ConfigurationError,
    EntityRef,
    Identity,
    InvalidLocation,
    LocationEvent,
    View,
    hookimpl,
)
from atriz_realtime.asgi import create_app
from atriz_realtime.testing import TIMEOUT, Live, config, serving, token, until
from tests.support.clients.engineio import socket_url
from tests.support.clients.websocket import Wire, wire
from tests.support.servers.transports import BOTH_ON_UVICORN

PRIVACY = {
    "rules": {
        "customer": {
            "claim": "role",
            "values": ["customer"],
            "precision": 100,
            "hide": ["userId", "deviceId"],
        },
        "public": {
            "claim": "role",
            "values": ["public"],
            "entity_types": ["vehicle"],
            "precision": 5000,
            "keep": ["heading"],
        },
        "partner": {"claim": "role", "values": ["partner"], "hide": ["userId"]},
    }
}

HEAD = '42["location:update",{"type":"vehicle","entityId":"v1","location":'
WHOLE = (
    '{"deviceId":"d1","userId":"u7","latitude":52.66341,"longitude":-8.62675,"speed":48.5,'
    '"heading":270,"accuracy":4,"timestamp":"2026-01-31T12:00:00.000Z","metadata":{"plate":"x"}}'
)
CUSTOMER = (
    '{"deviceId":"hidden","userId":"hidden","latitude":52.663734,"longitude":-8.626313,'
    '"timestamp":"2026-01-31T12:00:00.000Z"}'
)
PUBLIC = (
    '{"deviceId":"d1","userId":"u7","latitude":52.641276,"longitude":-8.660374,"heading":270,'
    '"timestamp":"2026-01-31T12:00:00.000Z"}'
)
SEEN = {"dispatcher": WHOLE, "customer": CUSTOMER, "public": PUBLIC}

TRACKED = '430[{"success":true}]'


def at(second: int) -> dict[str, Any]:
    """The same fix, so many seconds later."""
    found: dict[str, Any] = json.loads(later(WHOLE, second))
    return found


def later(location: str, second: int) -> str:
    return location.replace("12:00:00", f"12:00:{second:02d}")


def frame(location: str) -> str:
    return f"{HEAD}{location}}}]"


@asynccontextmanager
async def raw(live: Live, role: str) -> AsyncIterator[ClientConnection]:
    """An authenticated websocket, whose handshake has been read."""
    async with websocket(socket_url(live)) as socket:
        await socket.recv()
        await socket.send("40" + json.dumps({"token": token(role=role)}))
        await socket.recv()
        yield socket


async def track(socket: ClientConnection) -> None:
    await socket.send('420["track:vehicle","v1"]')


async def received(socket: ClientConnection) -> str:
    async with asyncio.timeout(TIMEOUT):
        return str(await socket.recv())


async def publish(live: Live, second: int = 0) -> None:
    await live.server.tracking.publish_location_update("vehicle", "v1", at(second))


def private(**settings: Any) -> Any:
    return serving(plugins={"privacy": PRIVACY}, **settings)


@BOTH_ON_UVICORN
async def test_each_watcher_receives_its_view_to_the_byte(portable: bool) -> None:
    async with private(portable=portable) as live, AsyncExitStack() as stack:
        await publish(live)
        sockets = [
            (role, await stack.enter_async_context(raw(live, role)))
            for role in ("dispatcher", "customer", "public", "customer", "dispatcher")
        ]
        for role, socket in sockets:  # the current location
            await track(socket)
            assert await received(socket) == frame(SEEN[role])
            assert await received(socket) == TRACKED
        await publish(live, 1)
        await live.server.emit_vehicle_location_update("v1", at(2))
        for role, socket in sockets:
            assert await received(socket) == frame(later(SEEN[role], 1))
            assert await received(socket) == frame(later(SEEN[role], 2))


async def test_after_a_gap_watchers_receive_their_view() -> None:
    async with (
        private() as live,
        raw(live, "customer") as customer,
        raw(live, "dispatcher") as dispatcher,
    ):
        for socket in (customer, dispatcher):
            await track(socket)
            assert await received(socket) == TRACKED
        live.server.delivery.deaf()
        await live.server.tracking.cache_current_location("vehicle", "v1", at(5))
        live.server.delivery.hearing()
        assert await received(customer) == frame(later(CUSTOMER, 5))
        assert await received(dispatcher) == frame(later(WHOLE, 5))


async def test_http_reads_show_the_callers_view() -> None:
    async with private() as live:
        await publish(live)
        for role, seen in SEEN.items():
            options = {"headers": {"Authorization": f"Bearer {token(role=role)}"}}
            assert await live.get("/api/tracking/vehicle/v1", **options) == (200, json.loads(seen))
            _, listing = await live.get("/api/tracking/vehicle", **options)
            assert listing["locations"] == [{"entityId": "v1", "location": json.loads(seen)}]


async def test_a_change_of_user_changes_the_view() -> None:
    async with private() as live, raw(live, "dispatcher") as socket:
        await track(socket)
        assert await received(socket) == TRACKED
        await publish(live)
        assert await received(socket) == frame(WHOLE)
        await socket.send("421" + json.dumps(["authenticate", token(role="customer")]))
        assert await received(socket) == frame(CUSTOMER)  # at once, in the new view
        assert await received(socket) == '42["authenticated",{"success":true}]'
        assert await received(socket) == '431[{"success":true}]'
        await publish(live, 1)
        assert await received(socket) == frame(later(CUSTOMER, 1))
        await socket.send("422" + json.dumps(["authenticate", token(role="dispatcher")]))
        assert await received(socket) == frame(later(WHOLE, 1))


async def test_between_servers_fixes_are_sent_whole(
    redis_url: str, redis_client: redis.asyncio.Redis
) -> None:
    async with (
        private(redis_url=redis_url) as here,
        private(redis_url=redis_url) as there,
        raw(there, "customer") as customer,
        redis_client.pubsub() as channel,
    ):
        await channel.subscribe("tracking:vehicle:v1")
        assert (await channel.get_message(timeout=TIMEOUT) or {})["type"] == "subscribe"
        await track(customer)
        assert await received(customer) == TRACKED
        await publish(here)
        message = await channel.get_message(timeout=TIMEOUT)
        assert json.loads((message or {})["data"])["location"] == at(0)
        assert await received(customer) == frame(CUSTOMER)
        await here.server.emit_vehicle_location_update("v1", at(1))
        assert await received(customer) == frame(later(CUSTOMER, 1))


VEHICLES = [f"v{number}" for number in range(10)]
PADDING = "x" * 3_000


async def speeds_until(socket: Wire, newest: int) -> dict[str, list[int]]:
    """The speeds that a socket receives of each vehicle, until it has the newest of all."""
    found: dict[str, list[int]] = {vehicle: [] for vehicle in VEHICLES}
    while not all(found[vehicle][-1:] == [newest] for vehicle in VEHICLES):
        _, event = json.loads(str(await socket.message()).removeprefix("42"))
        assert event["location"]["userId"] == "hidden"
        found[event["entityId"]].append(event["location"]["speed"])
    return found


@BOTH_ON_UVICORN
async def test_a_stalled_watcher_gets_the_newest_of_each_vehicle(portable: bool) -> None:
    async with (
        private(portable=portable, max_pending_frames=8) as live,
        wire(live.port, "/socket.io/?EIO=4&transport=websocket") as socket,
    ):
        await socket.message()
        socket.send("40" + json.dumps({"token": token(role="partner")}))
        await socket.message()
        socket.send("420" + json.dumps(["track:vehicle", VEHICLES]))
        assert await socket.message() == TRACKED
        socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
        engine, newest = live.server.socket_io.eio, 0
        async with asyncio.timeout(TIMEOUT):
            while engine.conflated < 5 * len(VEHICLES):
                newest += 1
                fix = at(0) | {"speed": newest, "metadata": {"padding": PADDING}}
                for vehicle in VEHICLES:
                    await live.server.tracking.publish_location_update("vehicle", vehicle, fix)
                await asyncio.sleep(0)  # nothing above yields, and frames are written by the loop
        (session,) = engine.sockets.values()
        assert len(session.outbox) <= len(VEHICLES)
        socket.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for seen in (await speeds_until(socket, newest)).values():
            assert seen == sorted(set(seen)), "older after newer, or a duplicate"
            assert len(seen) < newest


# -- views of a plugin ---------------------------------------------------------------------


@attrs.define(eq=False)
class Guests:
    """Views for guests and children, which record how often they are rendered."""

    rendered: list[str] = attrs.field(factory=list)
    applied: Any = None
    """What ``apply`` does instead, when set."""
    asked: Any = None
    """What ``applies`` does instead, when set."""

    async def is_guest(self, identity: Identity, entity: EntityRef) -> bool:
        assert entity == EntityRef("vehicle", "v1")
        if self.asked is not None:
            return bool(await self.asked())
        return identity.claims.get("role") in ("guest", "child")

    def without_speed(self, event: LocationEvent) -> LocationEvent | None:
        if self.applied is not None:
            return self.applied(event)  # type: ignore[no-any-return]
        self.rendered.append("guest")
        return attrs.evolve(event, location=attrs.evolve(event.location, speed=None))

    async def is_child(self, identity: Identity, _: EntityRef) -> bool:
        return identity.claims.get("role") == "child"

    def without_metadata(self, event: LocationEvent) -> LocationEvent:
        assert event.location.speed is None, "the view with the lower order comes first"
        self.rendered.append("child")
        return attrs.evolve(event, location=attrs.evolve(event.location, metadata=None))

    @property
    def views(self) -> Iterable[View]:
        return [
            View("child", self.is_child, self.without_metadata, order=1),
            View("guest", self.is_guest, self.without_speed),
        ]


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> Guests:
    """Views, in the plugin ``guests``."""
    guests = Guests()
    module = ModuleType("guests")
    vars(module)["register_views"] = hookimpl(lambda: guests.views)
    monkeypatch.setitem(sys.modules, "guests", module)
    return guests


async def test_a_view_is_rendered_once_for_all_its_watchers(guests: Guests) -> None:
    async with serving(extra_plugins=["guests"]) as live, AsyncExitStack() as stack:
        sockets = [
            (role, await stack.enter_async_context(raw(live, role)))
            for role in ("guest", "host", "guest", "child", "guest", "child")
        ]
        for _, socket in sockets:
            await track(socket)
            assert await received(socket) == TRACKED
        await publish(live)
        for role, socket in sockets:
            text = await received(socket)
            assert ("speed" in text, "plate" in text) == (role == "host", role != "child")
        assert sorted(guests.rendered) == ["child", "guest"]


async def test_without_watchers_a_view_is_not_rendered(guests: Guests) -> None:
    async with serving(extra_plugins=["guests"]) as live:
        async with raw(live, "guest") as guest, raw(live, "host") as host:
            for socket in (guest, host):
                await track(socket)
                assert await received(socket) == TRACKED
            await guest.send('421["untrack:vehicle","v1"]')
            assert await received(guest) == '431[{"success":true}]'
            await publish(live)
            assert await received(host) == frame(WHOLE)
            await track(guest)
            assert "speed" not in await received(guest)
            guests.rendered.clear()
        await until(lambda: not live.server.connection_count)
        assert live.server.registry.contributed("register_views") == [
            ("child", "guests"),
            ("guest", "guests"),
        ]
        async with raw(live, "host") as host:
            await track(host)
            await publish(live, 1)
            assert guests.rendered == []


def broken(_: LocationEvent) -> LocationEvent:
    raise ZeroDivisionError


def refusing(_: LocationEvent) -> LocationEvent:
    raise InvalidLocation("cannot be")


def nonsense(event: LocationEvent) -> Any:
    return event.location


def hiding(_: LocationEvent) -> None:
    return None


async def at_fault() -> bool:
    raise ZeroDivisionError


async def too_late() -> bool:
    await asyncio.Event().wait()
    return False


@pytest.mark.parametrize(
    ("applied", "asked", "counted"),
    [
        (broken, None, "plugin guests failed"),
        (refusing, None, "plugin guests failed"),
        (nonsense, None, "plugin guests failed"),
        (hiding, None, None),
        (None, at_fault, "plugin guests failed"),
        (None, too_late, "plugin guests timed out"),
    ],
    ids=["raises", "refuses", "wrong type", "hides", "applies raises", "applies times out"],
)
async def test_a_view_that_fails_shows_nothing(
    guests: Guests, applied: Any, asked: Any, counted: str | None
) -> None:
    guests.applied, guests.asked = applied, asked
    async with (
        serving(extra_plugins=["guests"], plugin_timeout=0.05) as live,
        raw(live, "guest") as guest,
    ):
        await publish(live)
        await track(guest)
        assert await received(guest) == TRACKED
        await publish(live, 1)
        options = {"headers": {"Authorization": f"Bearer {token(role='guest')}"}}
        status, _ = await live.get("/api/tracking/vehicle/v1", **options)
        assert status == 404
        _, listing = await live.get("/api/tracking/vehicle", **options)
        assert listing["locations"] == []
        assert set(live.server.incidents.counts) == ({counted} if counted else set())
        guests.applied = guests.asked = None
        await guest.send('421["track:vehicle","v1"]')  # applies is called again
        assert "speed" not in await received(guest)


async def test_a_rule_for_an_unknown_entity_type_stops_the_start() -> None:
    rules = {"typo": {"hide": ["userId"], "entity_types": ["vehicel"]}}
    app = create_app(config(plugins={"privacy": {"rules": rules}}))
    with pytest.raises(ConfigurationError, match="no entity type 'vehicel'"):
        await app.state.realtime.start()

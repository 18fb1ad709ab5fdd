"""Channels are wanted while somebody here watches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from atriz_realtime.api import Deliver
from atriz_realtime.core.hub import channels as module
from atriz_realtime.core.publish.in_flight import InFlight
from atriz_realtime.testing import payload, until
from tests.core.parts import Fanned, Hub, channel


class Heard:
    """Notes what arrives, and which channels are given up."""

    def __init__(self) -> None:
        self.events: list[tuple[str, bytes]] = []
        self.forgotten: list[str] = []

    def received(self, channel: str, event: bytes) -> None:
        self.events.append((channel, event))

    def forget(self, channel: str) -> None:
        self.forgotten.append(channel)


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNSUBSCRIBE_DELAY", 0.01)


def start(hub: Hub, fanout: Fanned) -> Heard:
    heard = Heard()
    hub.channels.start(fanout, heard.received, heard.forget)
    return heard


async def test_the_first_watcher_subscribes_and_the_last_unsubscribes(hub: Hub) -> None:
    fanout = Fanned()
    heard = start(hub, fanout)
    one, two = await hub.connect(), await hub.connect()
    for member in (one, two):
        hub.enter(member, "vehicle:v1")
    assert fanout.asked == [f"+{channel()}"]
    assert hub.channels.is_subscribed(channel())
    assert hub.channels.watched_rooms() == ["vehicle:v1"]
    hub.leave(one, "vehicle:v1")
    await hub.disconnect(two)
    await until(lambda: heard.forgotten)
    assert fanout.asked == [f"+{channel()}", f"-{channel()}"]
    assert fanout.subscribed == set()
    assert not hub.channels.is_subscribed(channel())
    assert heard.forgotten == [channel()]


async def test_who_comes_right_back_costs_nothing(hub: Hub) -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
    fanout = Fanned()
    heard = start(hub, fanout)
    member = await hub.connect()
    for _ in range(3):
        hub.enter(member, "vehicle:v1")
        hub.leave(member, "vehicle:v1")
    hub.enter(member, "vehicle:v1")
    hub.enter(member, "vehicle:v2")
    hub.leave(member, "vehicle:v2")
    await until(lambda: heard.forgotten)
    assert fanout.asked == [f"+{channel()}", f"+{channel('v2')}", f"-{channel('v2')}"]
    assert hub.channels.is_subscribed(channel())
    assert failures == []  # each timer of a watcher that came back was cancelled


@pytest.mark.parametrize(
    "room", ["other", "user:u1", "vehicles:v1", "vehicle", "vehicle:", "vehicle:*", "vehicle:v*"]
)
async def test_rooms_that_are_no_entity_s_have_no_channel(hub: Hub, room: str) -> None:
    fanout = Fanned()
    start(hub, fanout)
    member = await hub.connect()
    hub.enter(member, room)
    assert fanout.asked == []
    assert hub.channels.watched_rooms() == []
    hub.leave(member, room)


async def test_rooms_that_filled_before_the_start_are_caught_up_with(hub: Hub) -> None:
    member = await hub.connect()
    for room in ("vehicle:v1", "delivery:d1", "other"):
        hub.enter(member, room)
    fanout = Fanned()
    start(hub, fanout)
    assert fanout.subscribed == {channel(), channel("d1", "delivery")}


async def test_ready_waits_for_the_confirmation(hub: Hub) -> None:
    fanout = Fanned(confirms=False)
    start(hub, fanout)
    hub.enter(await hub.connect(), "vehicle:v1")
    ready = [asyncio.ensure_future(hub.channels.confirmed("vehicle:v1")) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(waiting.done() for waiting in ready)
    ready.pop().cancel()  # one who gives up takes nobody along
    fanout.confirm()
    await ready[0]
    await hub.channels.confirmed("vehicle:v1")
    await hub.channels.confirmed("vehicle:nobody")


async def test_leaving_during_a_subscription_leaves_no_state(hub: Hub) -> None:
    fanout = Fanned(confirms=False)
    heard = start(hub, fanout)
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    hub.leave(member, "vehicle:v1")
    await until(lambda: heard.forgotten)
    await hub.channels.confirmed("vehicle:v1")
    fanout.confirm()
    assert fanout.subscribed == set()


async def test_a_late_confirmation_does_not_stand_for_a_later_subscription(hub: Hub) -> None:
    confirmations: list[asyncio.Future[None]] = []

    class Slow(Fanned):
        def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
            confirmations.append(asyncio.get_running_loop().create_future())
            return confirmations[-1]

    heard = start(hub, Slow())
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    hub.leave(member, "vehicle:v1")
    await until(lambda: heard.forgotten)
    hub.enter(member, "vehicle:v1")
    first, second = confirmations
    first.set_result(None)
    await asyncio.sleep(0)
    ready = asyncio.ensure_future(hub.channels.confirmed("vehicle:v1"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not ready.done()
    second.set_result(None)
    await ready


async def test_following_everything_brings_each_event_once(hub: Hub) -> None:
    fanout = Fanned()
    heard = start(hub, fanout)
    await hub.channels.subscribe_all()
    hub.enter(await hub.connect(), "vehicle:v1")
    await fanout.publish(channel("v1"), b"watched")
    await fanout.publish(channel("v2"), b"not watched")
    assert heard.events == [(channel("v1"), b"watched"), (channel("v2"), b"not watched")]
    hub.channels.unsubscribe_all()
    await fanout.publish(channel("v2"), b"not followed")
    assert len(heard.events) == 2
    assert fanout.subscribed == {channel("v1")}


async def test_following_everything_misses_nothing_while_a_channel_is_being_subscribed(
    hub: Hub,
) -> None:
    fanout = Fanned(confirms=False)
    heard = start(hub, fanout)
    await hub.channels.subscribe_all()
    hub.enter(await hub.connect(), "vehicle:v1")
    await fanout.publish(channel(), b"before")
    assert heard.events == [(channel(), b"before")]
    fanout.confirm()
    await fanout.publish(channel(), b"after")
    assert heard.events == [(channel(), b"before"), (channel(), b"after")]


async def test_a_channel_is_confirmed_when_whatever_is_published_arrives(hub: Hub) -> None:
    fanout = Fanned(confirms=False)
    start(hub, fanout)
    hub.enter(await hub.connect(), "vehicle:v1")
    assert not hub.channels.is_confirmed(channel())
    await hub.channels.subscribe_all()
    assert hub.channels.is_confirmed(channel())
    hub.channels.unsubscribe_all()
    assert not hub.channels.is_confirmed(channel())
    fanout.confirm()
    await until(lambda: hub.channels.is_confirmed(channel()))
    assert not hub.channels.is_confirmed(channel("v2"))


async def test_an_event_that_comes_on_two_subscriptions_is_delivered_once(hub: Hub) -> None:
    fanout = Fanned()
    delivered: list[bytes] = []
    in_flight = InFlight(
        lambda _, event: delivered.append(event),
        lambda _, __: False,
        hub.clock,
        hub.incidents.report,
    )
    hub.channels.start(fanout, in_flight.received, in_flight.forget)
    await hub.channels.subscribe_all()
    hub.enter(await hub.connect(), "vehicle:v1")
    fix = payload()
    in_flight.add(fix, comes_back=True)
    await fanout.publish(channel(), fix.event)
    assert delivered == [fix.event]

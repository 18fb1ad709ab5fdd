"""``follow``: what is known of one entity, for a view of any framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.frontend.test_tracker import locations, members, track, tracking
from tests.support.clients.node import Lines
from tests.support.servers.serving import serving, until
from tests.support.servers.tcp_proxy import proxying


def shown(speed: float | None = None, *, connected: bool = True, error: str | None = None) -> Any:
    return {"followed": {"speed": speed, "connected": connected, "error": error}}


def reports(tracker: Lines) -> list[Any]:
    return [line for line in tracker.printed if "followed" in line]


async def follow(tracker: Lines, entity_id: str) -> None:
    await tracker.send({"do": "follow", "type": "vehicle", "id": entity_id})


async def until_shown(tracker: Lines, report: Any) -> None:
    await until(lambda: reports(tracker)[-1:] == [report])


async def test_it_reports_what_is_known_at_once_and_each_change(project: Path) -> None:
    async with serving() as live, tracking(project, live.url) as tracker:
        await follow(tracker, "v1")
        await until_shown(tracker, shown())
        await until(lambda: members(live, "vehicle:v1"))
        await live.publish("v1", speed=5)
        await until_shown(tracker, shown(5))
        assert reports(tracker) == [shown(connected=False), shown(), shown(5)]

        await track(tracker, "v1")
        await tracker.until_printed({"tracked": ["v1"]})
        await tracker.send({"do": "end"})  # and once more
        await live.publish("v1", speed=6)
        await until(lambda: locations(tracker)[-1:] == [("v1", 6)])
        assert members(live, "vehicle:v1") == 1  # the other call of track goes on
        assert reports(tracker)[-1] == shown(5)

        await follow(tracker, "v1")
        await until_shown(tracker, shown(6))


async def test_a_refusal_of_the_entity_outlasts_the_connection(project: Path) -> None:
    plugins = ["tests.support.plugins.own_vehicles"]
    async with (
        serving(extra_plugins=plugins) as live,
        proxying(live.port) as proxy,
        tracking(project, f"http://127.0.0.1:{proxy.port}") as tracker,
    ):
        await follow(tracker, "u2-a")
        await until_shown(tracker, shown(error="unauthorized"))
        proxy.cut()
        await until_shown(tracker, shown(connected=False, error="unauthorized"))
        proxy.mend()
        await until_shown(tracker, shown(error="unauthorized"))


async def test_an_entity_above_the_limit_is_shown_when_there_is_room(project: Path) -> None:
    async with serving(max_subscriptions=1) as live, tracking(project, live.url) as tracker:
        await track(tracker, "v1")
        await tracker.until_printed({"tracked": ["v1"]})
        await follow(tracker, "v2")
        await until_shown(tracker, shown(error="subscription_limit"))
        await live.publish("v2", speed=5)
        await tracker.send({"do": "untrack", "type": "vehicle", "ids": ["v1"]})
        await until_shown(tracker, shown(5))


async def test_a_refusal_of_the_connection_ends_with_it(project: Path) -> None:
    async with serving() as live, tracking(project, live.url) as tracker:
        await follow(tracker, "v1")
        await until(lambda: members(live, "vehicle:v1"))
        rooms = live.server.socket_io.manager.rooms["/"]
        (sid,) = list(rooms["vehicle:v1"])
        await live.server.socket_io.disconnect(sid)
        await until_shown(tracker, shown(connected=False, error="refused"))
        await follow(tracker, "v2")  # which is told as well
        await until(lambda: reports(tracker).count(shown(connected=False, error="refused")) == 2)
        await tracker.send({"do": "reconnect"})
        await until(lambda: reports(tracker)[-2:] == [shown(), shown()])
        await until(lambda: members(live, "vehicle:v1") and members(live, "vehicle:v2"))

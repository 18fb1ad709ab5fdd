"""The React hooks of the built client, in the DOM renderer of React."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.clients.node import script
from tests.support.servers.serving import serving, token, until
from tests.support.servers.tcp_proxy import proxying

WAITING = {"location": None, "connected": True, "error": None}


def using(hook: str, *arguments: Any) -> dict[str, Any]:
    return {"hook": hook, "args": [*arguments]}


async def test_components_share_a_connection_and_show_positions(project: Path) -> None:
    mine = token()
    async with (
        serving() as live,
        script("tracked.mjs", folder=project, REACT_APP_WS_URL=live.url) as page,
    ):
        vehicle = using("useVehicleTracking", "v1", mine)
        delivery = using("useDeliveryTracking", "d1", mine)
        again = using("useTracking", "vehicle", "v1", mine, {"url": live.url})
        nothing = using("useTracking", "vehicle", "", mine)
        await page.send({"render": [vehicle, delivery, again, nothing]})
        await page.until_last_is([WAITING, WAITING, WAITING, {**WAITING, "connected": False}])
        rooms = live.server.socket_io.manager.rooms["/"]
        await until(lambda: {"vehicle:v1", "delivery:d1"} <= rooms.keys())
        assert live.server.connection_count == 1

        await live.publish("v1", speed=5)
        await until(
            lambda: (
                [shown["location"] and shown["location"]["speed"] for shown in page.printed[-1]]
                == [5, None, 5, None]
            )
        )

        await page.send({"render": [delivery]})  # the first component becomes the delivery
        await until(lambda: "vehicle:v1" not in rooms)
        await page.until_last_is([WAITING])
        assert live.server.connection_count == 1
        await page.send({"render": []})
        await until(lambda: live.server.connection_count == 0)


async def test_hooks_show_refusals_and_lost_connections(project: Path) -> None:
    async with (
        serving(extra_plugins=["tests.support.plugins.own_vehicles"]) as live,
        script("tracked.mjs", folder=project, REACT_APP_WS_URL=live.url) as page,
    ):
        hooks = [using("useVehicleTracking", f"{user}-a", token()) for user in ("u1", "u2")]
        await page.send({"render": hooks})
        await page.until_last_is([WAITING, {**WAITING, "error": "unauthorized"}])
        await live.server.close()
        await until(lambda: not any(shown["connected"] for shown in page.printed[-1]))


async def test_hooks_show_why_a_connection_is_not_made_again(project: Path) -> None:
    async with (
        serving() as live,
        script("tracked.mjs", folder=project, REACT_APP_WS_URL=live.url) as page,
    ):
        await page.send({"render": [using("useVehicleTracking", "v1", token())]})
        await page.until_last_is([WAITING])
        rooms = live.server.socket_io.manager.rooms["/"]
        await until(lambda: "vehicle:v1" in rooms)
        (sid,) = list(rooms["vehicle:v1"])
        await live.server.socket_io.disconnect(sid)
        await page.until_last_is([{**WAITING, "connected": False, "error": "refused"}])


async def test_the_hook_of_the_connection_shows_its_problem_and_connects_again(
    project: Path,
) -> None:
    mine = token()
    async with (
        serving() as live,
        proxying(live.port) as proxy,
        script(
            "tracked.mjs", folder=project, REACT_APP_WS_URL=f"http://127.0.0.1:{proxy.port}"
        ) as page,
    ):
        proxy.cut()
        hooks = [using("useVehicleTracking", "v1", mine), using("useConnection", mine)]
        await page.send({"render": hooks})
        away = {**WAITING, "connected": False}
        await page.until_last_is([away, {"status": "connecting", "problem": "unreachable"}])
        proxy.mend()
        connected = [WAITING, {"status": "connected", "problem": None}]
        await page.until_last_is(connected)
        assert live.server.connection_count == 1  # which both share

        (sid,) = list(live.server.socket_io.manager.rooms["/"]["vehicle:v1"])
        await live.server.socket_io.disconnect(sid)
        refused = {**away, "error": "refused"}
        await page.until_last_is([refused, {"status": "refused", "problem": "refused"}])
        await page.send({"click": "reconnect"})
        await page.until_last_is(connected)
        await page.send({"render": []})
        await until(lambda: live.server.connection_count == 0)

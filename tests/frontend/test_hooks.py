"""The React hooks of the built client, in the DOM renderer of React."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.frontend.test_tracker import members
from tests.support.clients.node import Lines, script
from tests.support.servers.serving import serving, token, until
from tests.support.servers.tcp_proxy import proxying

WAITING = {"location": None, "connected": True, "error": None}


def using(hook: str, *arguments: Any) -> dict[str, Any]:
    return {"hook": hook, "args": [*arguments]}


def speed(page: Lines) -> float | None:
    """What the first component shows."""
    location = page.printed[-1][0]["location"] if page.printed else None
    return location and location["speed"]


def with_a_new_function(returned: str, hook: str, *arguments: str, **options: str) -> Any:
    """A component that passes the hook a token function of its own on each render."""
    return {**using(hook, *arguments), "token": returned, "options": options}


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


@pytest.mark.parametrize("strict", [True, False])
async def test_a_token_function_may_be_another_on_each_render(project: Path, strict: bool) -> None:
    async with (
        serving() as live,
        script("tracked.mjs", folder=project, REACT_APP_WS_URL=live.url) as page,
    ):
        used = set()
        for render in (1, 2, 3):
            mine = token(render=render)
            hooks = [
                with_a_new_function(mine, "useVehicleTracking", "v1"),
                with_a_new_function(mine, "useConnection"),
            ]
            await page.send({"render": hooks, "strict": strict})
            await until(lambda: members(live, "vehicle:v1"))
            await live.publish("v1", speed=render)
            await until(lambda: speed(page) == render)  # noqa: B023
            used.update(live.server.socket_io.manager.rooms["/"]["vehicle:v1"])
        assert live.server.connection_count == len(used) == 1

        await live.server.socket_io.emit("token:expiring", {}, room="user:u1")
        gateway = live.server._gateway
        await until(
            lambda: [identity.claims["render"] for _, identity in gateway.identities()] == [3]
        )
        await page.send({"render": []})
        await until(lambda: live.server.connection_count == 0)


async def test_the_function_of_a_component_that_is_gone_is_not_called(project: Path) -> None:
    async with (
        serving() as live,
        script("tracked.mjs", folder=project, REACT_APP_WS_URL=live.url) as page,
    ):
        stays = with_a_new_function(token(who="stays"), "useVehicleTracking", "v1")
        leaves = with_a_new_function(token(who="leaves"), "useVehicleTracking", "v2")
        await page.send({"render": [stays, leaves]})
        await until(lambda: members(live, "vehicle:v1") and members(live, "vehicle:v2"))
        await page.send({"render": [stays]})
        await until(lambda: not members(live, "vehicle:v2"))
        await live.server.socket_io.emit("token:expiring", {}, room="user:u1")
        gateway = live.server._gateway
        await until(
            lambda: [identity.claims["who"] for _, identity in gateway.identities()] == ["stays"]
        )


async def test_another_user_gets_another_connection(project: Path) -> None:
    async with (
        serving() as live,
        script("tracked.mjs", folder=project, REACT_APP_WS_URL=live.url) as page,
    ):
        for user in ("u1", "u2"):
            vehicle = with_a_new_function(token(user), "useVehicleTracking", "v1", user=user)
            await page.send({"render": [vehicle]})
            await until(lambda: members(live, f"user:{user}"))  # noqa: B023
        await until(lambda: live.server.connection_count == 1)
        assert not members(live, "user:u1")


async def test_a_component_without_a_token_waits_for_one(project: Path) -> None:
    async with (
        serving() as live,
        script("tracked.mjs", folder=project, REACT_APP_WS_URL=live.url) as page,
    ):
        for mine in ("", token()):
            hooks = [using("useVehicleTracking", "v1", mine), using("useConnection", mine)]
            await page.send({"render": hooks})
            first = [{**WAITING, "connected": False}, {"status": "connecting", "problem": None}]
            await until(lambda: page.printed[:1] == [first])  # noqa: B023
        await page.until_last_is([WAITING, {"status": "connected", "problem": None}])
        assert not any("refused" in str(shown) for shown in page.printed)


async def test_a_map_and_a_banner_share_a_connection(project: Path) -> None:
    ids = [f"v{number}" for number in range(300)]
    mine = token()
    async with (
        serving() as live,
        script("tracked.mjs", folder=project, REACT_APP_WS_URL=live.url) as page,
    ):
        await page.send({"render": [{"fleet": ids, "token": ""}]})
        await page.until_last_is([{"status": None, "moves": 0}])
        banner = using("useConnection", mine)
        await page.send({"render": [{"fleet": ids, "token": mine}, banner]})
        await until(lambda: all(members(live, f"vehicle:{each}") for each in ids))
        await live.publish("v299")
        connected = {"status": "connected", "problem": None}
        await page.until_last_is([{"status": "connected", "moves": 1}, connected])
        assert live.server.connection_count == 1

        await page.send({"render": [banner]})  # the connection is still used
        await until(lambda: not members(live, "vehicle:v0"))
        await page.until_last_is([connected])
        assert live.server.connection_count == 1
        await page.send({"render": []})
        await until(lambda: live.server.connection_count == 0)


async def test_a_url_with_a_path_is_a_problem_that_is_shown(project: Path) -> None:
    async with serving() as live, script("tracked.mjs", folder=project) as page:
        elsewhere = {"url": f"{live.url}/fleet"}
        mine = token()
        hooks = [
            using("useVehicleTracking", "v1", mine, elsewhere),
            using("useConnection", mine, elsewhere),
        ]
        await page.send({"render": hooks})
        lost = {**WAITING, "connected": False, "error": "wrong_path"}
        await page.until_last_is([lost, {"status": "refused", "problem": "wrong_path"}])


async def test_hooks_with_other_transports_have_a_connection_of_their_own(project: Path) -> None:
    async with (
        serving() as live,
        script("tracked.mjs", folder=project, REACT_APP_WS_URL=live.url) as page,
    ):
        mine = token()
        polling = using("useVehicleTracking", "v1", mine, {"transports": ["polling"]})
        await page.send({"render": [polling, using("useVehicleTracking", "v1", mine)]})
        await page.until_last_is([WAITING, WAITING])
        manager = live.server.socket_io.manager
        sids = [manager.eio_sid_from_sid(sid, "/") for sid in manager.rooms["/"]["vehicle:v1"]]
        await until(
            lambda: (
                {live.server.socket_io.eio.transport(sid) for sid in sids}
                == {"polling", "websocket"}
            )
        )

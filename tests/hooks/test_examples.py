"""The example in each hook's docstring works, as a plugin of a live server."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any

import pytest
from click.testing import CliRunner

from atriz_realtime.api import ConfigurationError, hookspecs
from atriz_realtime.testing import Live, location, serving, token, until, watching
from tests.support.plugins.files import Plugins, call, host_of, registry_of

PREAMBLE = """
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import click
from starlette.responses import JSONResponse
from starlette.routing import Route

from atriz_realtime.defaults.memory import MemoryCache, MemoryFanout as MyFanout, MemorySettings
from atriz_realtime.defaults.memory.journal import MemoryJournal
from atriz_realtime.testing import FakeClock

def MyCache(clock):
    return MemoryCache(clock, MemorySettings())

def MyJournal(recorders):
    return MemoryJournal(FakeClock(), recorders, 1000, 1_000_000, print)
"""
"""The parts that the examples leave out: imports, and backends."""

HOOKS = [
    name
    for name, member in inspect.getmembers(hookspecs, inspect.isfunction)
    if hasattr(member, f"{hookspecs.PROJECT_NAME}_spec")
]

Serve = Callable[..., AbstractAsyncContextManager[Live]]
Check = Callable[[Serve, pytest.CaptureFixture[str]], Awaitable[None]]


def example(hook: str) -> str:
    """The code in a hook's docstring."""
    _, _, code = (inspect.getdoc(getattr(hookspecs, hook)) or "").partition("Example::\n")
    return PREAMBLE + textwrap.dedent(code)


async def settings(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve(plugins={"example": {"fleet": "north"}}):
        pass
    with pytest.raises(ConfigurationError, match="fleet is required"):
        async with serve():
            pass


async def authenticators(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve() as live, watching(live, user=None) as stranger:
        assert await stranger.call("authenticate", "let-me-in") == {"success": True}
        assert await stranger.call("track:vehicle", "v1") == {"success": True}
        status, _ = await live.get(
            "/api/tracking/vehicle", headers={"Authorization": "Bearer let-me-in"}
        )
        assert status == 200
        async with watching(live, "v1", user="a JWT's user"):  # the other authenticator's
            pass


async def authorizers(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve() as live, watching(live, user=None) as watcher:
        await watcher.call("authenticate", token("u1", vehicles=["v1"]))
        assert await watcher.call("track:vehicle", "v1") == {"success": True}
        refused = await watcher.call("track:vehicle", "v2")
        assert (refused["success"], refused["message"]) == (False, "Unauthorized")
        await live.publish("v2")  # the rule has no opinion about publishing


async def entity_types(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve() as live, watching(live, "D-0001", kind="drone") as watcher:
        await live.server.tracking.publish_location_update("drone", "D-0001", location())
        await until(lambda: watcher.updates)
        assert watcher.updates[0]["type"] == "drone"
        refused = await watcher.call("track:drone", "D-1")
        assert refused["code"] == "invalid_entity_id"
        status, _ = await live.get("/api/tracking/drone/D-0001")
        assert status == 200


async def throttles(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve(throttle="every-other") as live:
        answers = [await live.publish(timestamp=f"2026-01-31T12:00:0{n}Z") for n in range(4)]
    assert [answer.get("throttled", False) for answer in answers] == [False, True, False, True]


async def caches(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve(cache="mine") as live:
        assert live.server.registry.cache.name == "mine"
        await live.publish("v1", latitude=12.5)
        __, current = await live.get("/api/tracking/vehicle/v1")
        assert current["latitude"] == 12.5


async def fanouts(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve(fanout="mine") as live, watching(live, "v1") as watcher:
        assert live.server.registry.fanout.name == "mine"
        await live.publish("v1")
        await until(lambda: watcher.updates)


async def fanout_layers(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve() as live, watching(live, "v1") as watcher:
        await live.publish("v1")
        await until(lambda: watcher.updates)
        fanout: Any = live.server.delivery._fanout
        assert fanout.published == 1


async def filters(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve() as live, watching(live, "test-1", "v1") as watcher:
        await live.publish("test-1")
        await live.publish("v1")
        await until(lambda: watcher.updates)
        assert [update["entityId"] for update in watcher.updates] == ["v1"]
        status, _ = await live.get("/api/tracking/vehicle/test-1")
        assert status == 404


async def views(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with (
        serve() as live,
        watching(live, user=None) as guest,
        watching(live, "v1") as other,
    ):
        await guest.call("authenticate", token("g", role="guest"))
        await guest.call("track:vehicle", "v1")
        await live.publish("v1", speed=40)
        await until(lambda: guest.updates and other.updates)
        assert "speed" not in guest.updates[0]["location"]
        assert other.updates[0]["location"]["speed"] == 40


async def journals(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve(journal="mine") as live:  # no recorder needs it
        await live.publish("v1")


async def recorders(serve: Serve, printed: pytest.CaptureFixture[str]) -> None:
    async with serve(throttle_interval=60_000) as live:
        await live.publish("v1")
        await live.publish("v1")
    assert "2 fixes, of which 1 unsent" in printed.readouterr().out


async def observers(serve: Serve, printed: pytest.CaptureFixture[str]) -> None:
    async with serve() as live:
        await live.publish("v1", latitude=1.5, longitude=2.5)
        seen: list[str] = []

        def observed() -> bool:
            seen.append(printed.readouterr().out)
            return "vehicle:v1 1.5 2.5" in "".join(seen)

        await until(observed)


async def socket_events(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve() as live, watching(live, "v1") as watcher, watching(live) as honker:
        assert await honker.call("vehicle:honk", "v1") == {"success": True}
        await until(lambda: watcher.of("honk"))
        assert watcher.of("honk") == ["v1"]
        assert honker.of("honk") == []
        async with watching(live, user=None) as stranger:
            refused = await stranger.call("vehicle:honk", "v1")
            assert refused["code"] == "not_authenticated"


async def endpoints(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve() as live:
        assert await live.post("/api/echo", {"a": 1}) == (200, {"a": 1})


async def routes(serve: Serve, _: pytest.CaptureFixture[str]) -> None:
    async with serve() as live:
        await live.publish("v1")
        status, counts = await live.get("/api/how-many")
        assert (status, counts["vehicle"]) == (200, 1)


async def commands(_: Serve, __: pytest.CaptureFixture[str]) -> None:
    ((plugin, command),) = call(host_of("example"), "register_commands")
    assert plugin == "example"
    assert CliRunner().invoke(command).output == "hello\n"


async def checks(_: Serve, __: pytest.CaptureFixture[str]) -> None:
    (check,) = registry_of("example").checks
    missing = await check.run()
    assert missing == ["the base map basemap.mbtiles does not exist"]


async def started(serve: Serve, printed: pytest.CaptureFixture[str]) -> None:
    async with serve():
        assert "{'vehicle': 0, 'delivery': 0} are known" in printed.readouterr().out
    assert "nothing is open any more" in printed.readouterr().out


async def stopping(serve: Serve, printed: pytest.CaptureFixture[str]) -> None:
    async with serve() as live, watching(live):
        await live.server.close()
        assert "so long, 1 sockets" in printed.readouterr().out


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "register_settings": settings,
        "register_authenticators": authenticators,
        "register_authorizers": authorizers,
        "register_entity_types": entity_types,
        "register_throttles": throttles,
        "register_caches": caches,
        "register_fanouts": fanouts,
        "register_journals": journals,
        "register_fanout_layers": fanout_layers,
        "register_filters": filters,
        "register_views": views,
        "register_observers": observers,
        "register_recorders": recorders,
        "register_socket_events": socket_events,
        "register_endpoints": endpoints,
        "register_routes": routes,
        "register_commands": commands,
        "register_checks": checks,
        "server_started": started,
        "server_stopping": stopping,
    }
)


@pytest.mark.parametrize("hook", HOOKS)
async def test_the_example_works(
    hook: str, plugins: Plugins, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins.module("example", example(hook))

    def serve(**given: Any) -> AbstractAsyncContextManager[Live]:
        return serving(extra_plugins=["example"], **given)

    await CHECKS[hook](serve, capsys)


def test_every_hook_documents_when_it_is_called() -> None:
    assert CHECKS.keys() >= set(HOOKS)
    for hook in HOOKS:
        assert "once" in (inspect.getdoc(getattr(hookspecs, hook)) or ""), hook

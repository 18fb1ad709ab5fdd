"""The testing package for plugin authors: its fixtures work, and its suites find faults."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from atriz_realtime import create_app
from atriz_realtime.testing import (
    FakeClock,
    Live,
    config,
    event,
    location,
    moment,
    payload,
    serving,
    token,
    watching,
)
from atriz_realtime.testing.clock import START
from tests.support.plugins import flawed_backends
from tests.support.plugins.flawed_backends import FOUND


def pytest_on(path: Path, *options: str) -> tuple[dict[str, str], str]:
    """Run tests in a separate pytest; returns the outcome of each, and the output."""
    result = subprocess.run(
        [
            sys.executable,
            *["-m", "pytest", "-v", "-p", "no:cacheprovider", "--tb=short", "--timeout=20"],
            *options,
            str(path),
        ],
        cwd=path.parent,
        stdin=subprocess.DEVNULL,
        env={
            name: value for name, value in os.environ.items() if name != "CI"
        },  # which makes reports longer
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = re.findall(
        r"^\S+?\.py::(\S+(?: \S+)*?) (PASSED|FAILED|ERROR)", result.stdout, re.MULTILINE
    )
    assert outcomes, result.stdout + result.stderr
    return dict(outcomes), result.stdout


def run(folder: Path, source: str, conftest: str = "") -> tuple[dict[str, str], str]:
    """Run a plugin author's tests."""
    folder.joinpath("test_it.py").write_text(textwrap.dedent(source))
    folder.joinpath("conftest.py").write_text(conftest)
    return pytest_on(folder / "test_it.py")


# -- clock and samples ---------------------------------------------------------------------


def test_a_fake_clock_moves_only_when_advanced() -> None:
    clock = FakeClock()
    assert (clock.now(), clock.now()) == (START, START)
    before = clock.monotonic()
    clock.advance(1.5)
    assert (clock.now() - START, clock.monotonic() - before) == (1.5, 1.5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
    assert FakeClock(5).now() == 5


def test_samples_start_at_the_time_of_the_clock() -> None:
    assert moment().timestamp() == START
    assert location(2.5).timestamp == moment(2.5)
    assert event("v7", kind="delivery", speed=5).location.speed == 5
    assert payload("v7", 1).timestamp == "2026-01-31T12:00:01.000Z"
    assert str(payload("v7", kind="delivery").entity) == "delivery:v7"


# -- a plugin author's tests ---------------------------------------------------------------


def test_the_fixtures_serve_a_plugin(tmp_path: Path) -> None:
    outcomes, printed = run(
        tmp_path,
        """
        import pytest
        from atriz_realtime.api import EntityType, hookimpl
        from atriz_realtime.testing import FakeClock, FanoutContract, until

        class Bikes:
            @hookimpl
            def register_entity_types(self):
                return EntityType("bike")

        bikes = Bikes()

        @pytest.fixture
        def realtime_settings():
            return {"extra_plugins": [f"{__name__}:bikes"]}

        @pytest.mark.asyncio
        async def test_bikes(realtime_server, realtime_client):
            assert await realtime_client.call("track:bike", "b1") == {"success": True}
            body = {"type": "bike", "entityId": "b1", "latitude": 1, "longitude": 2}
            assert (await realtime_server.post("/api/tracking/location", body))[0] == 200
            await until(lambda: realtime_client.updates)
            assert realtime_client.updates[0]["entityId"] == "b1"

        def test_time(fake_clock):
            assert isinstance(fake_clock, FakeClock)

        def test_that_fails(fake_clock):
            assert fake_clock.now() == 0

        class TestNothing(FanoutContract):
            pass
        """,
        'pytest_plugins = ["atriz_realtime.testing"]',
    )
    suite = {name: outcome for name, outcome in outcomes.items() if "TestNothing" in name}
    assert set(suite.values()) == {"ERROR"}
    assert "override the fixture `fanout`" in printed
    assert {name: outcomes[name] for name in outcomes.keys() - suite.keys()} == {
        "test_bikes": "PASSED",
        "test_time": "PASSED",
        "test_that_fails": "FAILED",
    }
    assert "warning" not in printed


def test_a_failure_that_a_test_does_not_take_fails_it(tmp_path: Path) -> None:
    outcomes, printed = run(
        tmp_path,
        """
        import pytest
        from atriz_realtime.api import Observer, SocketEvent, hookimpl
        from atriz_realtime.testing import until

        pytestmark = pytest.mark.asyncio

        class Faulty:
            @hookimpl
            def register_observers(self):
                async def observe(event):
                    if event.entity_id == "bad":
                        raise LookupError("as planned")

                return Observer("faulty", observe)

            @hookimpl
            def register_socket_events(self):
                async def fail(client):
                    raise LookupError("as planned")

                return SocketEvent("fail", fail)

        faulty = Faulty()

        @pytest.fixture
        def realtime_settings():
            return {"extra_plugins": [f"faulty = {__name__}:faulty"]}

        async def test_good(realtime_server):
            await realtime_server.publish("good")

        async def test_refusal(realtime_server):
            assert (await realtime_server.get("/health/realtime"))[0] == 200
            assert (await realtime_server.get("/api/tracking/vehicle", headers={}))[0] == 401

        async def test_unseen(realtime_server):
            await realtime_server.publish("bad")

        async def test_taken(realtime_server, realtime_client):
            for _ in range(2):
                await realtime_server.publish("bad")
                failures = await until(realtime_server.take_failures)
                assert failures == {"plugin faulty failed": 1}
            assert (await realtime_client.call("fail"))["code"] == "plugin_failed"
            assert realtime_server.take_failures() == {"plugin faulty failed": 1}
            assert realtime_server.take_failures() == {}

        async def test_once_too_often(realtime_server, realtime_client):
            await realtime_client.call("fail")
            assert realtime_server.take_failures() == {"plugin faulty failed": 1}
            await realtime_client.call("fail")
        """,
        'pytest_plugins = ["atriz_realtime.testing"]',
    )
    assert outcomes == {
        "test_good": "PASSED",
        "test_refusal": "PASSED",
        "test_unseen": "ERROR",
        "test_taken": "PASSED",
        "test_once_too_often": "ERROR",
    }, printed
    assert "what the test did not expect: {'plugin faulty failed': 1}" in printed


async def test_a_request_of_any_method() -> None:
    async def answer(request: Request) -> Response:
        has_token = "authorization" in request.headers
        return JSONResponse([request.method, (await request.body()).decode(), has_token])

    app = create_app(config())
    app.add_route("/stop", answer, methods=["PUT", "DELETE"])
    async with serving(app) as live:
        assert await live.request("PUT", "/stop", json=1) == (200, ["PUT", "1", True])
        assert await live.request("DELETE", "/stop", headers={}) == (200, ["DELETE", "", False])


async def test_a_client_with_claims_or_with_a_token_of_its_own() -> None:
    async with serving(plugins={"claims": {"track": "watch"}}) as live:
        rules = {"vehicle": "bus-*"}
        async with watching(live, "bus-7", claims={"watch": rules}) as watcher:
            assert await watcher.call("track:vehicle", ["tram-7"]) != {"success": True}
        async with watching(live, "bus-7", auth={"token": token("u2", watch=rules)}):
            assert live.server.connection_count == 1


async def test_a_fix_may_be_published_with_a_token_of_ones_own() -> None:
    async with serving(plugins={"jwt_auth": {"required_claims": ["exp"]}}) as live:
        await live.publish("v1")
        await live.publish("d1", kind="delivery")
        await live.publish("v2", headers={"Authorization": f"Bearer {token('u2')}"}, speed=3)
        assert [
            (await live.get(f"/api/tracking/vehicle/{each}"))[1]["userId"] for each in ("v1", "v2")
        ] == ["u1", "u2"]
        headers = {"Authorization": f"Bearer {token(exp=None)}"}
        assert (await live.get("/api/tracking/vehicle", headers=headers))[0] == 401


def test_an_application_is_not_served_in_two_event_loops() -> None:
    app = create_app(config())

    async def refused(live: Live) -> None:
        with pytest.raises(RuntimeError, match="make a new application for each event loop"):
            async with serving(app):
                raise AssertionError("it is being served")
        with pytest.raises(RuntimeError, match=r"give the test the loop_scope of the fixture"):
            await live.get("/readyz")
        with pytest.raises(RuntimeError, match=r"give the test the loop_scope of the fixture"):
            async with watching(live):
                raise AssertionError("it is connected")

    served = serving(app)
    loop = asyncio.new_event_loop()
    try:
        live = loop.run_until_complete(entered(served))
        asyncio.run(refused(live))
        answer = loop.run_until_complete(live.get("/readyz"))
        assert answer == (200, {"status": "ready"})
        loop.run_until_complete(left(served))
    finally:
        loop.close()


def test_an_application_is_not_served_in_two_threads() -> None:
    app = create_app(config())

    async def serve() -> None:
        async with serving(app):
            raise AssertionError("it is being served")

    async def main() -> None:
        async with serving(app) as live:
            with pytest.raises(RuntimeError, match="make a new application for each event loop"):
                await asyncio.to_thread(asyncio.run, serve())
            assert await live.get("/readyz") == (200, {"status": "ready"})

    asyncio.run(main())


async def entered(served: AbstractAsyncContextManager[Live]) -> Live:
    """Begin to serve; the server runs on whenever its event loop does."""
    return await served.__aenter__()


async def left(served: AbstractAsyncContextManager[Live]) -> None:
    """Stop what :func:`entered` has begun."""
    await served.__aexit__(None, None, None)


async def test_an_answer_is_decoded_if_it_is_json() -> None:
    def page(body: str, kind: str | None) -> Callable[[Request], Response]:
        return lambda _: Response(body, media_type=kind)

    app = create_app(config())
    for path, body, kind in (
        ("/token", "eyJ.e30.x", "text/plain"),
        ("/json", '{"a": 1}', "application/json"),
        ("/problem", '{"a": 2}', "application/problem+json"),
        ("/empty", "", None),
    ):
        app.add_route(path, page(body, kind))
    async with serving(app) as live:
        assert await live.get("/token") == (200, "eyJ.e30.x")
        assert await live.get("/json") == (200, {"a": 1})
        assert await live.get("/problem") == (200, {"a": 2})
        assert await live.get("/empty") == (200, None)
        status, page_of_starlette = await live.post("/token", None)
        assert (status, page_of_starlette) == (405, "Method Not Allowed")


async def test_a_refused_track_is_shown_or_tested() -> None:
    async with serving(plugins={"claims": {"track": "watch"}}) as live:
        with pytest.raises(AssertionError, match=r"refused track:vehicle: .*'unauthorized'"):
            async with watching(live, "bus-8", claims={"watch": {"vehicle": "bus-7"}}):
                raise AssertionError("it may not track that")
        async with watching(live, claims={"watch": {"vehicle": "bus-7"}}) as watcher:
            answer = await watcher.call("track:vehicle", "bus-8")
            assert (answer["success"], answer["code"]) == (False, "unauthorized")


@pytest.mark.parametrize("library", ["aiohttp", "pytest_asyncio", "uvicorn"])
def test_a_library_that_is_missing_names_the_extra(library: str) -> None:
    program = f"import sys; sys.modules[{library!r}] = None; import atriz_realtime.testing"
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    last = child.stderr.splitlines()[-1]
    assert f"atriz_realtime.testing needs {library}: " in last
    assert "atriz-realtime[testing]" in last


async def test_settings_for_an_application_that_has_its_own_are_refused() -> None:
    app = create_app(config())
    with pytest.raises(TypeError, match="settings already: throttle_interval"):
        async with serving(app, throttle_interval=5):
            raise AssertionError("it is being served")


def test_the_suites_find_faults() -> None:
    only = " or ".join(f"({suite} and {test})" for suite, test in FOUND.items())
    outcomes, printed = pytest_on(Path(flawed_backends.__file__), "-k", only)
    found = {name.partition("[")[0] for name, outcome in outcomes.items() if outcome == "FAILED"}
    assert found == {f"{suite}::{test}" for suite, test in FOUND.items()}, printed

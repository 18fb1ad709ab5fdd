"""How often the tracker calls for a token, and what it says when there is none."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from atriz_realtime import RealtimeExtension
from atriz_realtime.core.clients import expiry
from tests.frontend.test_tracker import error, errors, follow, members, track, tracking
from tests.support.clients.node import Lines
from tests.support.servers.serving import Live, config, serving, token, until

REFUSALS = 6
"""After so many in a row the tracker gives up."""


@attrs.define(eq=False)
class Endpoint:
    """Where a front end fetches its tokens, on the server that it connects to."""

    make: Callable[[], str]
    """A token; an empty one is an error of the endpoint."""
    live: Live = attrs.field(init=False)
    asked: int = attrs.field(default=0, init=False)
    gate: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    """While it is closed, nothing is answered."""

    @property
    def url(self) -> str:
        return f"{self.live.url}/token"

    async def answer(self, _: Request) -> Response:
        self.asked += 1
        await self.gate.wait()
        made = self.make()
        return PlainTextResponse(made or "broken", 200 if made else 500)


@asynccontextmanager
async def handing_out(make: Callable[[], str]) -> AsyncIterator[Endpoint]:
    """Serve an endpoint of tokens, and a realtime server."""
    endpoint = Endpoint(make)
    endpoint.gate.set()
    app = Starlette(routes=[Route("/token", endpoint.answer)])
    app.state.realtime = RealtimeExtension(config()).install(app)
    async with serving(app) as endpoint.live:
        yield endpoint
        endpoint.gate.set()


def living(seconds: float) -> str:
    return token(exp=int(time.time() + seconds))


async def pauses(tracker: Lines) -> list[float]:
    """The milliseconds between two calls for a token, for each call but the first."""
    await tracker.send({"do": "asked"})
    await until(lambda: "asked" in tracker.printed[-1])
    return [later - sooner for sooner, later in itertools.pairwise(tracker.printed[-1]["asked"])]


def assert_apart(pauses: list[float], *least: float) -> None:
    """Assert that calls were so many milliseconds apart; timers may be a little early."""
    found = zip(pauses, least, strict=False)
    assert all(pause > 0.98 * shortest for pause, shortest in found), pauses


async def test_a_token_that_is_announced_at_once_is_not_fetched_in_a_storm(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "NOTICE_SHARE", 1)  # as servers did that tell at once
    async with (
        handing_out(lambda: living(30)) as tokens,
        tracking(project, tokens.live.url, tokenUrl=tokens.url) as tracker,
    ):
        await follow(tracker, "v1")
        await until(lambda: tokens.asked >= 4)
        assert_apart(await pauses(tracker), 500, 1_000, 2_000)
        assert errors(tracker) == []
        assert {"status": "reconnecting"} not in tracker.printed


async def test_a_token_that_comes_from_a_cache_is_not_fetched_in_a_storm(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "NOTICE_SHARE", 1)
    cached = living(5)
    async with (
        handing_out(lambda: cached) as tokens,
        tracking(project, tokens.live.url, tokenUrl=tokens.url) as tracker,
    ):
        await follow(tracker, "v1")
        await tracker.until_printed({"status": "reconnecting"})
        assert_apart(await pauses(tracker), *[500] * tokens.asked)


async def test_short_tokens_are_renewed_before_they_expire(project: Path) -> None:
    async with (
        handing_out(lambda: living(6)) as tokens,
        tracking(project, tokens.live.url, tokenUrl=tokens.url) as tracker,
    ):
        await follow(tracker, "v1")
        await until(lambda: tokens.asked >= 3)
        assert members(tokens.live, "vehicle:v1") == 1
        assert {"status": "reconnecting"} not in tracker.printed


async def test_a_renewal_is_tried_again_while_the_token_lasts(project: Path) -> None:
    made = iter([living(600), "", living(600)])
    async with (
        handing_out(lambda: next(made)) as tokens,
        tracking(project, tokens.live.url, tokenUrl=tokens.url) as tracker,
    ):
        await follow(tracker, "v1")
        await tokens.live.server.socket_io.emit("token:expiring", {"expiresIn": 10}, room="user:u1")
        await until(lambda: tokens.asked == 3)
        assert errors(tracker) == ["token_unavailable"]
        assert {"status": "reconnecting"} not in tracker.printed


async def test_a_renewal_that_goes_on_failing_is_reported_once(project: Path) -> None:
    made = iter([living(600), "", "", living(600)])
    async with (
        handing_out(lambda: next(made)) as tokens,
        tracking(project, tokens.live.url, tokenUrl=tokens.url) as tracker,
    ):
        await follow(tracker, "v1")
        await tokens.live.server.socket_io.emit("token:expiring", {"expiresIn": 10}, room="user:u1")
        await until(lambda: tokens.asked == 4)
        assert errors(tracker) == ["token_unavailable"]


async def test_an_endpoint_that_fails_is_tried_again(project: Path) -> None:
    made = iter(["", token()])
    async with (
        handing_out(lambda: next(made)) as tokens,
        tracking(project, tokens.live.url, tokenUrl=tokens.url) as tracker,
    ):
        await follow(tracker, "v1")
        said = error("token_unavailable", "Error: no token: HTTP 500")
        assert [line for line in tracker.printed if "error" in line] == [{"error": said}]


async def test_an_endpoint_that_goes_on_failing_ends_in_a_refusal(project: Path) -> None:
    async with (
        handing_out(str) as tokens,
        tracking(project, tokens.live.url, tokenUrl=tokens.url) as tracker,
    ):
        await track(tracker, "v1")
        said = error("token_unavailable", "Error: no token: HTTP 500")
        await until(lambda: {"refused": said} in tracker.printed, timeout=90)
        assert errors(tracker) == ["token_unavailable"]  # it is reported once
        assert tokens.asked == REFUSALS
        assert {"status": "refused"} in tracker.printed


async def test_no_token_is_asked_for_again_when_there_will_be_none(project: Path) -> None:
    async with (
        serving() as live,
        tracking(project, live.url, tokens=[{"code": "not_authenticated"}, token()]) as tracker,
    ):
        await track(tracker, "v1")
        await tracker.until_last_is({"refused": error("not_authenticated", "sign in")})
        assert errors(tracker) == ["not_authenticated"]
        assert {"status": "refused"} in tracker.printed
        assert await pauses(tracker) == []  # it was asked for once
        await tracker.send({"do": "reconnect"})
        await until(lambda: members(live, "vehicle:v1") == 1)


async def test_a_function_that_throws_without_a_promise_leaves_nothing_behind(
    project: Path,
) -> None:
    signed_out = {"code": "not_authenticated", "sync": True}
    async with (
        serving() as live,
        tracking(project, live.url, tokens=[signed_out]) as tracker,
    ):
        await track(tracker, "v1")
        await tracker.until_last_is({"refused": error("not_authenticated", "sign in")})
        async with asyncio.timeout(5):  # the function's own would take eight seconds
            while tracker.printed[-1] != {"timers": 0}:
                printed = len(tracker.printed)
                await tracker.send({"do": "timers"})
                await until(lambda: len(tracker.printed) > printed)  # noqa: B023


async def test_a_renewal_ends_when_there_will_be_no_token(project: Path) -> None:
    signed_out = {"code": "not_authenticated"}
    async with (
        serving() as live,
        tracking(project, live.url, tokens=[living(4), signed_out]) as tracker,
    ):
        await follow(tracker, "v1")
        await tracker.until_printed({"status": "refused"})
        assert set(errors(tracker)) == {"not_authenticated"}
        assert len(await pauses(tracker)) == 2  # the renewal, and the next connection


async def test_an_endpoint_that_does_not_answer_is_reported(project: Path) -> None:
    async with (
        handing_out(token) as tokens,
        tracking(project, tokens.live.url, tokenUrl=tokens.url) as tracker,
    ):
        tokens.gate.clear()
        await track(tracker, "v1")
        late = error("token_unavailable", "Error: the token took too long")
        await tracker.until_printed({"error": late})
        tokens.gate.set()
        await tracker.until_printed({"tracked": ["v1"]})


@pytest.mark.parametrize("how", ["token", "tokens"])
async def test_white_space_around_a_token_is_not_sent(project: Path, how: str) -> None:
    """The text of a response, or of a file, may end with a newline."""
    sent: list[object] = []
    given = token()
    padded = f" {given}\n"
    options = {"token": padded} if how == "token" else {"tokens": [padded]}
    async with serving() as live:
        live.server.socket_io.on("connect", lambda *given: sent.append(given[-1]))
        async with tracking(project, live.url, **options) as tracker:
            await follow(tracker, "v1")
            assert sent == [{"token": given}]


@pytest.mark.parametrize("returned", ["", " \n", 7])
async def test_a_callback_that_returns_no_token_is_reported(
    project: Path, returned: object
) -> None:
    async with (
        serving() as live,
        tracking(project, live.url, tokens=[returned, token()]) as tracker,
    ):
        await follow(tracker, "v1")
        nothing = error("token_unavailable", "TypeError: the function returned no token")
        assert {"error": nothing} in tracker.printed

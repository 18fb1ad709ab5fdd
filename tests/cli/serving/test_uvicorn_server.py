"""Serving with a companion, the end, and the tuning of the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import click
import pytest
import uvicorn

from atriz_realtime import create_app
from atriz_realtime.cli.addresses import bind, port_of
from atriz_realtime.cli.serving import uvicorn_server
from tests.support.servers.http_server import Connection, get
from tests.support.servers.serving import config, until


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what earlier tests have left, and what these tests have unfrozen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    yield
    gc.freeze()


def test_a_companion_that_fails_stops_the_server_and_says_why() -> None:
    async def companion() -> None:
        raise ValueError("no more")

    sockets = bind("127.0.0.1", 0)
    with pytest.raises(ValueError, match="no more"):
        uvicorn_server.run(create_app(config()), sockets, ready=lambda: None, companion=companion)


def test_a_companion_that_returns_stops_the_server() -> None:
    said = []

    async def companion() -> None:
        said.append("done")

    sockets = bind("127.0.0.1", 0)
    uvicorn_server.run(
        create_app(config()), sockets, ready=lambda: said.append("ready"), companion=companion
    )
    assert said == ["ready", "done"]


def test_a_port_on_which_another_server_has_begun_to_listen_meanwhile_is_an_error() -> None:
    first = bind("127.0.0.1", 0)
    second = bind("127.0.0.1", port_of(first))
    first[0].listen()
    place = f"127.0.0.1:{port_of(first)}: the port is in use"
    with first[0], pytest.raises(click.ClickException, match=place):
        uvicorn_server.run(
            create_app(config(port=port_of(first))), second, ready=lambda: None, companion=None
        )


def test_the_garbage_collector_is_tuned_while_the_server_runs() -> None:
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    seen = []

    async def companion() -> None:
        seen.append((gc.get_threshold(), gc.get_freeze_count()))

    uvicorn_server.run(
        create_app(config()), bind("127.0.0.1", 0), ready=lambda: None, companion=companion
    )
    [(meanwhile, count)] = seen
    assert meanwhile[0] > thresholds[0]
    assert count > frozen
    assert (gc.get_threshold(), gc.get_freeze_count()) == (thresholds, 0)


# -- the end -------------------------------------------------------------------------------


@asynccontextmanager
async def running(sockets: list[socket.socket]) -> AsyncIterator[uvicorn_server.Server]:
    """Serve here, and stop at the end at the latest."""
    app, ready = create_app(config()), asyncio.Event()
    realtime = app.state.realtime
    web = uvicorn.Config(
        app,
        http=realtime.http_protocol(),
        ws=realtime.websocket_protocol(),
        log_config=None,
        lifespan="on",
    )
    server = uvicorn_server.Server(web, realtime, ready.set)
    serving = asyncio.create_task(server.serve(sockets))
    try:
        await ready.wait()
        yield server
    finally:
        server.should_exit = True
        await serving
        uvicorn_server.restore_garbage_collector()


async def connect(sockets: list[socket.socket]) -> Connection:
    return Connection(*await asyncio.open_connection("127.0.0.1", port_of(sockets)))


async def test_what_still_comes_on_a_kept_alive_connection_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uvicorn_server, "LAST_REQUESTS", 600.0)
    sockets = bind("127.0.0.1", 0)
    async with running(sockets) as server:
        client = await connect(sockets)
        assert "connection" not in (await client.call(get("/livez"))).headers
        server.should_exit = True
        await until(lambda: not server.servers[0].is_serving())
        answer = await client.call(get("/livez"))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.until_closed() == b""
        await client.close()


async def test_a_connection_that_waits_to_be_accepted_is_not_reset() -> None:
    sockets, further = bind("127.0.0.1", 0), bind("127.0.0.1", 0)
    further[0].listen()
    async with running(sockets) as server:
        client = await connect(further)
        await client.send(get("/livez"))
        sockets += further  # nobody accepts there
        server.should_exit = True
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        await client.close()

"""A server that leaves: connections close after their next answer, and no request is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from starlette.applications import Starlette

from tests.support.servers.http_server import OPEN, Connection, HttpServer, echo, get, http_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS = {"an endpoint": echo("x"), "Socket.IO": OPEN, "anything else": get("/livez")}


@pytest_asyncio.fixture(loop_scope="module")
async def leaving(application: Callable[..., Starlette]) -> AsyncIterator[HttpServer]:
    async with http_server(application()) as server:
        yield server


async def is_last(client: Connection, *segments: bytes) -> bool:
    """Whether the answer says that it is the last one, and the connection closes."""
    answer = await client.call(*segments)
    assert answer.status == 200
    if answer.headers.get("connection") != "close":
        return False
    assert await client.until_closed() == b""
    return True


@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_connection_closes_after_its_next_answer(leaving: HttpServer, kind: str) -> None:
    async with leaving.connect() as old, leaving.connect() as new:
        assert not await is_last(old, REQUESTS[kind])
        leaving.realtime.leave()
        assert await is_last(old, REQUESTS[kind])
        assert await is_last(new, REQUESTS[kind])


@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_request_that_is_not_read_yet_is_answered(leaving: HttpServer, kind: str) -> None:
    async with leaving.connect() as busy, leaving.connect() as idle:
        for client in (busy, idle):
            assert not await is_last(client, REQUESTS[kind])
        busy.writer.write(REQUESTS[kind])  # the loop has not turned since
        for connection in list(leaving.web.server_state.connections):
            connection.shutdown()
        assert await is_last(busy)
        assert await idle.until_closed() == b""

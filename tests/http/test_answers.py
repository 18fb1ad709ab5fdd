"""Answers are the same with and without ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette

from tests.support.servers.http_server import (
    AUTHORIZATION,
    Answer,
    Connection,
    HttpServer,
    echo,
    fix,
    http_server,
    request,
)
from tests.support.servers.serving import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

GUEST = [b"POST /api/tracking/location HTTP/1.1", b"Host: here"]

SAME = {
    "accepted": (200, request(fix())),
    "not JSON": (400, request(b"{")),
    "no object": (400, request(b"[]")),
    "no body": (400, request()),
    "no token": (401, b"\r\n".join([*GUEST, b"Content-Length: 2", b"", b"{}"])),
    "bad token": (401, request(fix()).replace(AUTHORIZATION, b"Authorization: Bearer x")),
    "unknown type": (422, request(fix().replace(b"vehicleId", b'type": "boat", "entityId'))),
    "too large": (413, request(b"x" * 2_001)),
    "no position": (422, request(fix(latitude=91))),
    "batch": (200, request(b'{"updates":[%b,{}]}' % fix(), "/api/tracking/batch")),
    "broken endpoint": (500, request(b"{}", "/api/fails")),
    "cancelled": (500, request(b"{}", "/api/cancelled")),
    "no answer": (500, request(b"{}", "/api/nothing")),
    "registered twice": (200, request(b"{}", "/api/twice")),
}


def compared(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """What must be the same in both answers."""
    headers = {k: v for k, v in answer.headers.items() if k not in ("date", "vary", "connection")}
    return answer.status, headers, answer.body


@pytest.mark.parametrize("case", SAME)
async def test_an_answer_is_the_same_as_over_asgi(server: HttpServer, case: str) -> None:
    status, sent = SAME[case]
    async with server.connect() as first, server.connect() as second:
        answer = await first.call(sent)
        assert server.over_asgi == []
        line, _, rest = sent.partition(b"\r\n")
        over_asgi = await second.call(line.replace(b" HTTP", b"?asgi HTTP") + b"\r\n" + rest)
        assert len(server.over_asgi) == 1
    assert compared(answer) == compared(over_asgi)
    assert answer.status == status
    assert answer.headers.get("www-authenticate") == ("bearer" if status == 401 else None)
    assert answer.headers["content-type"] == "application/json"


async def test_a_throttled_fix(application: Callable[..., Starlette]) -> None:
    async with (
        http_server(application(throttle_interval=60)) as server,
        server.connect() as client,
    ):
        assert "throttled" not in (await client.call(request(fix()))).json
        assert (await client.call(request(fix()))).json["throttled"] is True
        assert server.over_asgi == []


async def test_an_endpoint_that_fails_is_an_incident(
    server: HttpServer, client: Connection
) -> None:
    before = server.realtime.incidents.counts.get("endpoint failed", 0)
    answer = await client.call(request(b"{}", "/api/fails"))
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert (await client.call(request(b"{}", "/api/nothing"))).status == 500
    assert server.realtime.incidents.counts["endpoint failed"] == before + 2
    assert (await client.call(echo("on"))).json == "on"


async def test_an_endpoint_that_awaits_what_was_cancelled_is_an_incident(
    server: HttpServer, client: Connection
) -> None:
    before = server.realtime.incidents.counts.get("endpoint failed", 0)
    answer = await client.call(request(b"{}", "/api/cancelled"))
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert server.realtime.incidents.counts["endpoint failed"] == before + 1
    assert server.realtime.reports.own().statistics["http"]["handled"] == 0
    assert (await client.call(echo("on"))).json == "on"


async def test_a_task_that_answers_can_be_cancelled(
    server: HttpServer, client: Connection, endpoints: Any
) -> None:
    before = server.realtime.incidents.counts.get("endpoint failed", 0)
    await client.send(request(b"{}", "/api/slow"))
    await until(lambda: endpoints.called)
    connection: Any = next(iter(server.web.server_state.connections))
    answering = connection._answering
    answering.cancel()
    await asyncio.wait([answering])
    assert answering.cancelled()
    assert server.realtime.incidents.counts.get("endpoint failed", 0) == before


# -- proxies ------------------------------------------------------------------------------
FORWARDED = b"X-Forwarded-For: 198.51.100.7"


@pytest.mark.parametrize(
    ("options", "headers", "address"),
    [
        ({}, [], "127.0.0.1"),
        ({}, [FORWARDED], "198.51.100.7"),
        ({}, [b"X-Forwarded-For: 203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ({"forwarded_allow_ips": "192.0.2.1"}, [FORWARDED], "127.0.0.1"),
        ({"forwarded_allow_ips": "*"}, [b"x-forwarded-for: 203.0.113.9, 10.0.0.1"], "203.0.113.9"),
        ({"proxy_headers": False}, [FORWARDED], "127.0.0.1"),
    ],
)
async def test_a_client_behind_proxies(
    application: Callable[..., Starlette],
    endpoints: Any,
    options: dict[str, Any],
    headers: list[bytes],
    address: str,
) -> None:
    async with http_server(application(), **options) as server, server.connect() as client:
        answer = await client.call(request(b"{}", "/api/caller", *headers))
        assert answer.json[0] == address
        assert server.over_asgi == []
        over_asgi = await client.call(request(b"{}", "/api/caller?asgi", *headers))
        assert over_asgi.json == answer.json

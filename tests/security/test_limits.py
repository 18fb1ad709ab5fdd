"""Limits for one user and for one address."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime.api import ConfigurationError, HttpAnswer, RateLimited
from atriz_realtime.asgi import create_app
from atriz_realtime.defaults.shared.updates import MAX_REJECTED
from atriz_realtime.engine.request.proxies import FORWARDED_HOST, TrustedProxies
from atriz_realtime.http.endpoints import error_answer
from tests.security.conftest import Serve
from tests.security.test_edge import PATH, is_served, joined
from tests.support.clients.polling import polling
from tests.support.clients.websocket import (
    CONTINUATION,
    OFFER,
    PING,
    PONG,
    TEXT,
    engine_wire,
    frame,
    wire,
)
from tests.support.servers.http_server import OPEN, fix, http_server, request
from tests.support.servers.serving import Live, config, serving, token, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOCATION = "/api/tracking/location"
BAD_TOKEN = {"Authorization": "Bearer x.y.z"}
EVENT = '42["untrack:vehicle","v1"]'


async def test_row_21_one_user_over_many_sockets(serve: Serve) -> None:
    async with (
        serve(max_user_events_per_second=0.001, max_user_events_burst=20) as live,
        AsyncExitStack() as opened,
    ):
        sockets = [await opened.enter_async_context(joined(live)) for _ in range(5)]
        for socket in sockets:
            for _ in range(4):
                await is_served(socket)
        sockets[0].send(EVENT)
        assert await sockets[0].message() == '42["error","Rate limit"]'
        async with engine_wire(live.port, PATH) as other:
            other.send("40" + json.dumps({"token": token("u2")}))
            await other.message()
            await is_served(other)
            for socket in sockets[1:]:
                for _ in range(20):
                    socket.send(EVENT)
            for socket in sockets[2:]:
                await socket.until_closed()
            await is_served(other)
        assert live.server.incidents.counts["flooding client cut"] >= 3


async def test_row_21_a_reconnect_does_not_refill(serve: Serve) -> None:
    async with serve(max_user_events_per_second=0.001, max_user_events_burst=5) as live:
        async with joined(live) as socket:
            for _ in range(5):
                await is_served(socket)
        async with joined(live) as socket:
            socket.send(EVENT)
            assert await socket.message() == '42["error","Rate limit"]'


async def test_row_21_one_socket_is_closed(serve: Serve) -> None:
    async with (
        serve(max_events_per_second=0.001, max_events_burst=5) as live,
        joined(live) as socket,
    ):
        for _ in range(50):
            socket.send(EVENT)
        assert await socket.messages(2) == ['42["error","Rate limit"]', "41"]
        await socket.until_closed()


async def test_row_22_more_subscriptions_than_one_socket_may_have(serve: Serve) -> None:
    async with serve(max_subscriptions=10, max_events_per_second=0) as live, joined(live) as socket:
        for number in range(10_000):
            socket.send(f'42["track:vehicle","v{number}"]')
        assert await socket.message() == '42["error","Subscription limit"]'
        await socket.until_closed()
        assert live.server.incidents.counts["misbehaving client cut"] == 1


@pytest.mark.parametrize("packet", ["3", '430["x"]', '437["x"]'], ids=["pong", "zero", "ack"])
async def test_row_39_answers_that_nobody_waits_for(serve: Serve, packet: str) -> None:
    async with (
        serve(max_errors_per_second=0.001, max_errors_burst=50) as live,
        joined(live) as socket,
    ):
        for _ in range(50):
            socket.send(packet)
        await is_served(socket)
        for _ in range(500):
            socket.send(packet)
        assert await socket.message() == "41"
        await socket.until_closed()
        assert live.server.incidents.counts["misbehaving client cut"] == 1


async def test_row_39_answers_that_the_server_waits_for_cost_nothing(serve: Serve) -> None:
    async with (
        serve(max_errors_per_second=0.001, max_errors_burst=1) as live,
        joined(live) as socket,
    ):
        (sid,) = live.server.socket_io.manager.rooms["/"][None]
        answers: list[int] = []
        for number in range(1, 51):
            await live.server.socket_io.emit("ask", to=sid, callback=answers.append)
            assert await socket.message() == f'42{number}["ask"]'
            socket.send(f"43{number}[{number}]")
        await is_served(socket)
        assert answers == list(range(1, 51))


@pytest.mark.parametrize(
    "sent",
    [frame(PING), frame(PONG), frame(TEXT, "4", fin=False) + frame(CONTINUATION, fin=False) * 60],
    ids=["pings", "pongs", "fragments"],
)
async def test_row_39_frames_that_nobody_waits_for(sent: bytes) -> None:
    async with (
        serving(max_errors_per_second=0.001, max_errors_burst=50) as live,
        joined(live) as socket,
    ):
        socket.write(sent * 500)
        await socket.until_closed()
        assert live.server.incidents.counts["misbehaving client cut"] == 1


async def test_row_39_events_in_another_namespace(serve: Serve) -> None:
    heard: list[Any] = []
    async with serve(max_events_per_second=0.001, max_events_burst=20) as live:
        live.server.socket_io.on("e", lambda *data: heard.append(data), namespace="/other")
        async with joined(live) as socket:
            socket.send("40/other")
            await socket.message()
            for _ in range(500):
                socket.send('42/other,["e"]')
            await socket.until_closed()
        assert len(heard) == 20
        assert live.server.incidents.counts["flooding client cut"] == 1


async def test_row_41_errors_in_lists_are_counted_and_their_answer_is_short(serve: Serve) -> None:
    async with (
        serve(max_errors_per_second=0.001, max_errors_burst=1_500) as live,
        joined(live) as socket,
    ):
        refused = '421["location:publish",[' + ",".join(["{}"] * 1_000) + "]]"
        socket.send(refused)
        answer = str(await socket.message())
        (entries,) = [each["rejected"] for each in json.loads(answer[3:])]
        assert [each["index"] for each in entries] == list(range(MAX_REJECTED + 1))
        assert entries[-1] == {
            "index": MAX_REJECTED,
            "code": "bad_request",
            "message": f"{1_000 - MAX_REJECTED} more updates were refused",
        }
        assert len(answer) < 15_000
        await is_served(socket)
        socket.send(refused)
        await socket.until_closed()
        assert live.server.incidents.counts["misbehaving client cut"] == 1


async def test_row_41_answers_that_are_never_read(serve: Serve) -> None:
    settings = {"max_events_per_second": 0, "max_errors_per_second": 0}
    async with serve(**settings) as live, joined(live) as socket:
        live.server.socket_io.on("echo", lambda _, text: text)
        socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(400):
            socket.send('421["echo","' + "x" * 60_000 + '"]')
        await until(lambda: live.server.incidents.counts.get("slow client cut"))


async def failing(live: Live, count: int) -> list[int]:
    return [(await live.post(LOCATION, {}, headers=BAD_TOKEN))[0] for _ in range(count)]


async def test_an_address_that_guesses_is_refused(serve: Serve) -> None:
    settings = {"max_auth_failures": 5, "auth_failure_window": 3_600, "max_auth_backoff": 3_600}
    async with serve(**settings) as live, joined(live) as before:
        assert await failing(live, 6) == [401] * 6
        for path in (LOCATION, "/api/tracking/vehicle"):
            method = "POST" if path == LOCATION else "GET"
            status, answer = await live.request(method, path, json={})
            assert (status, answer["code"]) == (429, "rate_limited")
        async with engine_wire(live.port, PATH) as socket:
            socket.send("40" + json.dumps({"token": token()}))
            answer = json.loads(str(await socket.message()).removeprefix("44"))
            assert answer["data"]["code"] == "rate_limited"
            socket.send("40")
            assert str(await socket.message()).startswith("40{")
            socket.send("421" + json.dumps(["authenticate", token()]))
            assert "Too many failed authentications" in str(await socket.messages(2))
        await is_served(before)
        before.send("421" + json.dumps(["authenticate", token()]))
        assert '431[{"success":true}]' in await before.messages(2)
        assert live.server.incidents.counts["address refused"] == 1


async def test_it_is_told_when_to_come_back_whichever_way_it_asks() -> None:
    app = create_app(config(max_auth_failures=1, max_auth_backoff=30))
    async with http_server(app) as server:
        bad = request(fix()).replace(b"Bearer ", b"Bearer x")
        async with server.connect() as client:
            assert [(await client.call(bad)).status for _ in range(2)] == [401, 401]
            answer = await client.call(bad)
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")
            assert server.over_asgi == []
            answer = await client.call(bad.replace(b"/location HTTP", b"/location?asgi HTTP"))
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")
            answer = await client.call(request(b"", "/api/tracking/vehicle", method="GET"))
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")


async def test_an_answer_may_have_headers() -> None:
    made = HttpAnswer(b"{}", 429, headers=((b"retry-after", b"3"),))
    assert error_answer(RateLimited(retry_after=3)).headers == made.headers
    assert error_answer(RateLimited()).headers == ()


# -- behind proxies ------------------------------------------------------------------------

FORWARDED: list[tuple[list[str], str | None, list[str], str | None]] = [
    (["127.0.0.1"], "127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
    (["127.0.0.1"], "127.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
    (["127.0.0.1"], "127.0.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
    (["127.0.0.1", "10.0.0.0/8"], "127.0.0.1", ["1.1.1.1, 2.2.2.2, 10.1.2.3"], "2.2.2.2"),
    (["10.0.0.0/8"], "127.0.0.1", ["198.51.100.7"], "127.0.0.1"),
    (["127.0.0.1"], "127.0.0.1", [], "127.0.0.1"),
    (["127.0.0.1"], "127.0.0.1", ["198.51.100.7, unknown"], "127.0.0.1"),
    (["127.0.0.1"], "::ffff:127.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
    (["127.0.0.1"], "127.0.0.1", ["198.51.100.7:5000"], "198.51.100.7"),
    (["unix"], None, ["198.51.100.7"], "198.51.100.7"),
    (["127.0.0.1"], None, ["198.51.100.7"], None),
    (["0.0.0.0/0"], "127.0.0.1", [", ".join(["1.1.1.1"] * 10_000)], "1.1.1.1"),
]


@pytest.mark.parametrize(("trusted", "peer", "lines", "client"), FORWARDED)
async def test_the_client_is_the_one_that_the_last_trusted_proxy_names(
    trusted: list[str], peer: str | None, lines: list[str], client: str | None
) -> None:
    headers = [(b"x-forwarded-for", line.encode()) for line in lines]
    assert TrustedProxies(trusted).client(peer, headers) == client


@pytest.mark.parametrize(
    ("own", "protocol", "scheme"),
    [
        ("http", "https", "https"),
        ("https", "http", "http"),
        ("https", "https, http", "http"),
        ("http", "gopher", "http"),
    ],
)
async def test_the_scheme_is_the_forwarded_one(own: str, protocol: str, scheme: str) -> None:
    scope: dict[str, Any] = {"type": "http", "scheme": own, "client": ("127.0.0.1", 5)}
    scope["headers"] = [(b"x-forwarded-proto", protocol.encode())]
    TrustedProxies(["127.0.0.1"]).rewrite(scope)
    assert (scope["scheme"], scope["client"]) == (scheme, ("127.0.0.1", 5))


@pytest.mark.parametrize(
    ("peer", "host"), [("127.0.0.1", "live.example.com"), ("198.51.100.7", None)]
)
async def test_the_host_is_the_one_that_the_last_trusted_proxy_names(
    peer: str, host: str | None
) -> None:
    scope: dict[str, Any] = {"type": "http", "scheme": "http", "client": (peer, 5)}
    scope["headers"] = [(b"x-forwarded-host", b"evil.example.com, live.example.com")]
    TrustedProxies(["127.0.0.1"]).rewrite(scope)
    assert scope.get(FORWARDED_HOST) == host


async def test_an_invalid_proxy_stops_the_start() -> None:
    for wrong in ("proxy.example.com", "10.0.0.1/8", "*"):
        with pytest.raises(ConfigurationError, match="trusted_proxies"):
            config(trusted_proxies=[wrong])


@pytest.mark.parametrize(("trusted", "seen"), [("127.0.0.1", "198.51.100.7"), ("10.0.0.1", None)])
async def test_sockets_are_counted_by_the_client_s_address(
    serve: Serve, trusted: str, seen: str | None
) -> None:
    offer = [*OFFER.items(), ("X-Forwarded-For", "203.0.113.9, 198.51.100.7")]
    async with serve(trusted_proxies=trusted, max_auth_failures=1) as live:
        async with wire(live.port, f"{PATH}?EIO=4&transport=websocket", offer) as socket:
            opened = json.loads(str(await socket.message())[1:])
            request = live.server.socket_io.eio.sockets[opened["sid"]].request
            assert request.client is not None
            assert request.client[0] == (seen or "127.0.0.1")
        async with polling(live.port, PATH) as client:
            answer = await client.open(**{"X-Forwarded-For": "203.0.113.9, 198.51.100.7"})
            assert answer.status == 200
            request = live.server.socket_io.eio.sockets[client.sid].request
            assert request.client is not None
            assert request.client[0] == (seen or "127.0.0.1")
        guessing = {**BAD_TOKEN, "X-Forwarded-For": "198.51.100.7"}
        answers = [await live.post(LOCATION, {}, headers=guessing) for _ in range(2)]
        assert [status for status, _ in answers] == [401, 401]
        status, _ = await live.post(LOCATION, {}, headers=BAD_TOKEN)
        assert status == (401 if seen else 429)  # 401 from another address, 429 from the same


async def status_of(path: Path, call: bytes) -> bytes:
    """The status of the response to a request over a unix socket."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(call)
    line = await reader.readline()
    writer.close()
    return line.split(b" ")[1]


@pytest.mark.parametrize(("trusted", "refused"), [(["unix"], b"429"), (["10.0.0.1"], b"401")])
async def test_a_proxy_on_a_unix_socket(tmp_path: Path, trusted: list[str], refused: bytes) -> None:
    app = create_app(config(trusted_proxies=trusted, max_auth_failures=1))
    path = tmp_path / "s"
    async with http_server(app, uds=str(path), proxy_headers=False):

        async def ask(address: str, *, asgi: bool = False) -> bytes:
            where = LOCATION + ("?asgi" if asgi else "")
            call = request(fix(), where, f"X-Forwarded-For: {address}".encode())
            return await status_of(path, call.replace(b"Bearer ", b"Bearer x"))

        assert [await ask("198.51.100.7") for _ in range(2)] == [b"401"] * 2
        assert await ask("198.51.100.7") == refused
        assert await ask("198.51.100.7", asgi=True) == refused
        assert await ask("203.0.113.9") == b"401"


# -- connections ---------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [request(fix()), OPEN], ids=["endpoint", "polling"])
async def test_uvicorn_s_limit_concurrency_holds(sent: bytes) -> None:
    async with (
        http_server(create_app(config()), limit_concurrency=2) as server,
        server.connect() as first,
    ):
        assert (await first.call(sent)).status == 200
        async with server.connect() as second:
            await until(lambda: server.connections == 2)
            assert (await second.call(sent)).status == 503
        await until(lambda: server.connections == 1)
        assert (await first.call(sent)).status == 200

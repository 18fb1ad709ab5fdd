"""Opening a session, on each transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from atriz_realtime.engine import EngineServer, admission
from tests.engine.host import PATH, Exchanged, Host, hosting
from tests.support.clients.polling import poller, polling
from tests.support.clients.websocket import ACCEPT, KEY, OFFER, engine_wire, wire
from tests.support.servers.serving import until
from tests.support.servers.transports import ON_UVICORN, Transport

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def quick(transport: Transport) -> AsyncIterator[Host]:
    """A server with intervals of fractions of a second."""
    async with hosting(transport, ping_interval=0.3, ping_timeout=0.25, max_payload=12_345) as host:
        yield host


async def test_a_poll_opens_a_session(quick: Host) -> None:
    async with polling(quick.port) as client:
        assert client.opened == {
            "sid": client.sid,
            "upgrades": ["websocket"],
            "pingInterval": 300,
            "pingTimeout": 250,
            "maxPayload": 12_345,
        }
        assert list(map(type, client.opened.values())) == [str, list, int, int, int]
        assert "EIO=4" in quick.environs[client.sid]["QUERY_STRING"]


async def test_a_websocket_opens_a_session_without_upgrades(quick: Host) -> None:
    async with engine_wire(quick.port) as socket:
        assert socket.opened == {
            "sid": socket.sid,
            "upgrades": [],
            "pingInterval": 300,
            "pingTimeout": 250,
            "maxPayload": 12_345,
        }
        assert "EIO=4" in quick.environs[socket.sid]["QUERY_STRING"]


async def test_the_open_packet_is_plain_text(host: Host) -> None:
    async with poller(host.port) as client:
        answer = await client.open()
        kind = answer.headers["Content-Type"].lower().replace(" ", "")
        assert kind == "text/plain;charset=utf-8"


async def test_session_ids_are_unique_and_long(host: Host) -> None:
    sids = set()
    async with poller(host.port) as client:
        for _ in range(5):
            await client.open()
            sids.add(client.sid)
    async with engine_wire(host.port) as socket:
        sids.add(socket.sid)
    assert len(sids) == 6
    assert all(len(sid) >= 20 for sid in sids)


async def test_messages_of_the_connect_handler_come_after_the_open_packet(host: Host) -> None:
    query = "EIO=4&transport={}&greet=1"
    async with poller(host.port) as client:
        answer = await client.request("GET", query.format("polling"))
        first, *more = answer.packets
        assert first.startswith('0{"')
        client.opened = {"sid": first.split('"sid":"')[1].split('"')[0]}
        assert (more or (await client.get()).packets) == ["4welcome"]
    async with wire(host.port, f"{PATH}?{query.format('websocket')}") as socket:
        assert str(await socket.message()).startswith("0{")
        assert await socket.message() == "4welcome"


async def test_what_a_connect_handler_sends_before_it_awaits_comes_after_the_open_packet(
    transport: Transport,
) -> None:
    async with hosting(transport) as host:

        async def connect(sid: str, environ: dict[str, Any]) -> None:
            await host.engine.send(sid, "first")
            await asyncio.sleep(0.01)  # longer than a flush takes
            await host.engine.send(sid, "second")

        host.engine.on("connect", connect)
        async with wire(host.port, f"{PATH}?EIO=4&transport=websocket") as socket:
            assert str(await socket.message()).startswith("0{")
            assert await socket.messages(2) == ["4first", "4second"]
        async with polling(host.port) as client:
            assert (await client.get()).packets == ["4first", "4second"]


async def test_a_websocket_s_key_is_answered(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        assert socket.headers["sec-websocket-accept"] == ACCEPT
        assert socket.headers["upgrade"].lower() == "websocket"
        assert socket.headers["connection"].lower() == "upgrade"
        assert "sec-websocket-extensions" not in socket.headers  # none was offered
        assert "sec-websocket-protocol" not in socket.headers


async def test_header_names_and_tokens_are_case_insensitive(host: Host) -> None:
    offer = [
        ("CONNECTION", "keep-alive, UPGRADE"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("SEC-WEBSOCKET-KEY", KEY),
    ]
    async with wire(host.port, f"{PATH}?EIO=4&transport=websocket", offer) as socket:
        assert str(await socket.message()).startswith("0{")


@ON_UVICORN
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Sec-WebSocket-Key", None),
        ("Sec-WebSocket-Key", "short"),
        ("Sec-WebSocket-Version", None),
        ("Sec-WebSocket-Version", "12"),
    ],
)
async def test_an_invalid_websocket_handshake_is_refused(
    host: Host, name: str, value: str | None
) -> None:
    headers = {field: text for field, text in OFFER.items() if field != name}
    if value is not None:
        headers[name] = value
    async with poller(host.port) as client:
        answer = await client.request("GET", "EIO=4&transport=websocket", headers=headers)
        assert answer.status in {400, 426}


@pytest.mark.parametrize("manner", ["refuse", "raise"])
async def test_the_application_refuses_a_session(host: Host, manner: str) -> None:
    async with poller(host.port) as client:
        known = set(host.environs)
        polled = await client.request("GET", f"EIO=4&transport=polling&{manner}=1")
        assert polled.status >= 400
        (sid,) = set(host.environs) - known
        answer = await client.request("GET", f"EIO=4&transport=polling&sid={sid}")
        assert answer.error == (400, {"code": 1, "message": "Session ID unknown"})
        assert not host.ended[sid]
        refused = await client.handshake(f"EIO=4&transport=websocket&{manner}=1")
        assert refused.status == polled.status


async def test_a_session_that_the_connect_handler_closes_is_refused(transport: Transport) -> None:
    async with hosting(transport) as host:

        async def connect(sid: str, environ: dict[str, Any]) -> None:
            await host.engine.send(sid, "lost")
            await host.engine.disconnect(sid)

        host.engine.on("connect", connect)
        async with poller(host.port) as client:
            assert (await client.request("GET", "EIO=4&transport=polling")).status == 400
            assert (await client.handshake("EIO=4&transport=websocket")).status == 400
        await until(lambda: not host.engine.sockets)


@pytest.mark.parametrize("reason", ["too many wait", "closing"])
async def test_a_session_that_cannot_be_opened_now_is_refused_with_503(
    host: Host, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason == "closing":
        monkeypatch.setattr(host.engine.sessions, "is_closing", True)
    else:
        monkeypatch.setattr(admission, "MAX_WAITING", 0)
        monkeypatch.setattr(admission, "ADMITTED_PER_TURN", 0)
        monkeypatch.setattr(host.engine._admission, "_left", 0)
    known = len(host.environs)
    async with poller(host.port) as client:
        refused = 503, {"code": 3, "message": "Try again later"}
        assert (await client.request("GET", "EIO=4&transport=polling")).error == refused
        assert (await client.handshake("EIO=4&transport=websocket")).status == 503
        assert len(host.environs) == known
        monkeypatch.undo()
        await client.open()
        await client.echoes()


async def test_a_poll_is_refused_with_503_when_the_start_fails() -> None:
    async def start() -> None:
        raise OSError("as planned")

    engine, opening = EngineServer(ready=start), Exchanged("GET", "")
    engine.polling.answer(opening)
    (task,) = engine.sessions._tasks
    await asyncio.wait([task])
    assert opening.status == 503
    assert isinstance(task.exception(), OSError)
    assert not engine.sockets


async def test_headers_reach_the_application(host: Host) -> None:
    async with poller(host.port) as client:
        await client.open(**{"X-Vehicle": "v1"})
        environ = host.environs[client.sid]
        assert environ["HTTP_X_VEHICLE"] == "v1"
        assert environ["REQUEST_METHOD"] == "GET"
        assert environ["PATH_INFO"] == PATH
    target = f"{PATH}?EIO=4&transport=websocket"
    async with wire(host.port, target, [*OFFER.items(), ("X-Vehicle", "v2")]) as socket:
        sid = str(await socket.message()).split('"sid":"')[1].split('"')[0]
        environ = host.environs[sid]
        assert environ["HTTP_X_VEHICLE"] == "v2"
        assert environ["PATH_INFO"] == PATH

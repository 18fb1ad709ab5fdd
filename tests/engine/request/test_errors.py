"""Invalid requests: status 400, and the error codes that clients know."""

from __future__ import annotations

import pytest

from atriz_realtime.engine import admission
from tests.engine.host import Host, hosting
from tests.support.clients.polling import poller, polling
from tests.support.clients.websocket import engine_wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN_TRANSPORT = {"code": 0, "message": "Transport unknown"}
UNKNOWN_SID = {"code": 1, "message": "Session ID unknown"}
BAD_METHOD = {"code": 2, "message": "Bad handshake method"}
BAD_REQUEST = {"code": 3, "message": "Bad request"}
UNAVAILABLE = {"code": 3, "message": "Try again later"}
UNSUPPORTED_VERSION = {"code": 5, "message": "Unsupported protocol version"}

QUERIES = [
    ("EIO=4", UNKNOWN_TRANSPORT),
    ("EIO=4&transport=", UNKNOWN_TRANSPORT),
    ("EIO=4&transport=abc", UNKNOWN_TRANSPORT),
    ("EIO=4&transport=__proto__", UNKNOWN_TRANSPORT),
    ("EIO=4&transport={}&sid=unknown", UNKNOWN_SID),
    ("EIO=4&transport={}&sid=%00%ff", UNKNOWN_SID),
    ("transport={}", UNSUPPORTED_VERSION),
    ("EIO=&transport={}", UNSUPPORTED_VERSION),
    ("EIO=abc&transport={}", UNSUPPORTED_VERSION),
    ("EIO=3&transport={}", UNSUPPORTED_VERSION),
    ("EIO=44&transport={}", UNSUPPORTED_VERSION),
]


@pytest.mark.parametrize(("query", "error"), QUERIES)
async def test_invalid_polls(host: Host, query: str, error: object) -> None:
    async with poller(host.port) as client:
        answer = await client.request("GET", query.format("polling"))
        assert answer.error == (400, error)
        assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(("query", "error"), QUERIES)
async def test_invalid_websockets(host: Host, query: str, error: object) -> None:
    async with poller(host.port) as client:
        answer = await client.handshake(query.format("websocket"))
        assert answer.error == (400, error)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_a_handshake_is_a_get(host: Host, method: str) -> None:
    async with poller(host.port) as client:
        answer = await client.request(method, "EIO=4&transport=polling", body="4hello")
        assert answer.error == (400, BAD_METHOD)


async def test_a_post_for_an_unknown_session(host: Host) -> None:
    async with poller(host.port) as client:
        answer = await client.request("POST", "EIO=4&transport=polling&sid=unknown", body="4hello")
        assert answer.error == (400, UNKNOWN_SID)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_another_method_for_an_open_session(host: Host, method: str) -> None:
    async with polling(host.port) as client:
        answer = await client.request(method, client.query, body="4hello")
        assert answer.status == 400
        await client.echoes()


async def test_the_websocket_transport_without_a_websocket(host: Host) -> None:
    async with poller(host.port) as client:
        answer = await client.request("GET", "EIO=4&transport=websocket")
        assert answer.error == (400, BAD_REQUEST)


async def test_the_polling_transport_over_a_websocket(host: Host) -> None:
    async with polling(host.port) as client:
        assert (await client.handshake("EIO=4&transport=polling")).status == 400
        assert (await client.handshake(client.query)).status == 400
        await client.echoes()


async def test_parameters_are_mandatory_for_open_sessions_too(host: Host) -> None:
    async with polling(host.port) as client:
        answer = await client.request("GET", f"transport=polling&sid={client.sid}")
        assert answer.error == (400, UNSUPPORTED_VERSION)
        answer = await client.request("GET", f"EIO=4&sid={client.sid}")
        assert answer.error == (400, UNKNOWN_TRANSPORT)
        await client.echoes()


async def test_polls_for_a_session_on_a_websocket(host: Host) -> None:
    async with engine_wire(host.port) as socket, poller(host.port) as client:
        client.opened = socket.opened
        assert (await client.get()).error == (400, BAD_REQUEST)
        assert (await client.post("4hello")).error == (400, BAD_REQUEST)
        assert not host.messages[socket.sid]
        socket.send("4hello")
        assert await socket.message() == "4hello"


async def refuses_handshakes(host: Host) -> None:
    async with poller(host.port) as client:
        for answer in (
            await client.request("GET", "EIO=4&transport=polling"),
            await client.handshake("EIO=4&transport=websocket"),
        ):
            assert answer.error == (503, UNAVAILABLE)


async def test_a_storm_of_handshakes_is_refused_and_open_sessions_go_on(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with polling(host.port) as client:
        monkeypatch.setattr(admission, "ADMITTED_PER_TURN", 0)
        monkeypatch.setattr(admission, "MAX_WAITING", 0)
        monkeypatch.setattr(host.engine._admission, "_left", 0)
        await refuses_handshakes(host)
        await client.echoes()


async def test_a_server_that_has_shut_down_opens_no_session() -> None:
    async with hosting("uvicorn") as host:
        await host.engine.shutdown()
        await refuses_handshakes(host)

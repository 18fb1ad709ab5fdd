"""Requests from web pages: accepted from allowed origins, answered with 403 from others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.engine.host import PATH, Host, hosting
from tests.support.clients.polling import poller, polling
from tests.support.clients.websocket import OFFER, wire
from tests.support.servers.transports import Transport

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD, EVIL = "https://app.example.com", "https://evil.example.com"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def listed(transport: Transport) -> AsyncIterator[Host]:
    """A server that allows a list of origins."""
    async with hosting(transport, cors_allowed_origins=[GOOD, "https://b.example.com"]) as host:
        yield host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(transport: Transport) -> AsyncIterator[Host]:
    """A server that allows its own origin."""
    async with hosting(transport, cors_allowed_origins=None) as host:
        yield host


def offer(origin: str) -> list[tuple[str, str]]:
    return [*OFFER.items(), ("Origin", origin)]


async def test_a_listed_origin(listed: Host) -> None:
    async with poller(listed.port) as client:
        answer = await client.open(Origin=GOOD)
        assert answer.headers["Access-Control-Allow-Origin"] == GOOD
        pushed = await client.request("POST", client.query, body="4hello", headers={"Origin": GOOD})
        assert pushed.headers["Access-Control-Allow-Origin"] == GOOD
        polled = await client.request("GET", client.query, headers={"Origin": GOOD})
        assert polled.headers["Access-Control-Allow-Origin"] == GOOD
        assert polled.packets == ["4hello"]
    target = f"{PATH}?EIO=4&transport=websocket"
    async with wire(listed.port, target, offer(GOOD)) as socket:
        assert str(await socket.message()).startswith("0{")


@pytest.mark.parametrize(
    "origin", [EVIL, f"{GOOD}.evil.example.com", "http://app.example.com", f"{GOOD}:8443", "null"]
)
async def test_another_origin(listed: Host, origin: str) -> None:
    known = len(listed.environs)
    async with poller(listed.port) as client:
        polled = await client.request("GET", "EIO=4&transport=polling", headers={"Origin": origin})
        # the page may read that it is refused, but nothing that depends on the user
        assert polled.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in polled.headers
        assert polled.error == (403, {"code": 4, "message": "Forbidden"})
        assert (await client.handshake("EIO=4&transport=websocket", Origin=origin)).status == 403
    assert len(listed.environs) == known


async def test_another_origin_in_an_open_session(listed: Host) -> None:
    async with polling(listed.port) as client:
        evil = {"Origin": EVIL}
        assert (await client.request("GET", client.query, headers=evil)).status == 403
        pushed = await client.request("POST", client.query, body="4no", headers=evil)
        assert pushed.status == 403
        answer = await client.handshake(f"EIO=4&transport=websocket&sid={client.sid}", Origin=EVIL)
        assert answer.status == 403
        assert not listed.messages[client.sid]
        await client.echoes()


async def test_a_request_without_an_origin_is_accepted(listed: Host, own: Host) -> None:
    for host in (listed, own):
        async with polling(host.port) as client:
            await client.echoes()


async def test_the_server_s_own_origin(own: Host) -> None:
    origin = f"http://127.0.0.1:{own.port}"
    async with poller(own.port) as client:
        await client.open(Origin=origin)
        for other in (EVIL, "http://127.0.0.1:1", f"https://127.0.0.1:{own.port}1"):
            polled = await client.request(
                "GET", "EIO=4&transport=polling", headers={"Origin": other}
            )
            assert polled.status == 403
            assert (await client.handshake("EIO=4&transport=websocket", Origin=other)).status == 403
    async with wire(own.port, f"{PATH}?EIO=4&transport=websocket", offer(origin)) as socket:
        assert str(await socket.message()).startswith("0{")


async def test_all_origins(host: Host) -> None:
    async with poller(host.port) as client:
        answer = await client.open(Origin=EVIL)
        assert answer.headers["Access-Control-Allow-Origin"] in {"*", EVIL}
    async with wire(host.port, f"{PATH}?EIO=4&transport=websocket", offer(EVIL)) as socket:
        assert str(await socket.message()).startswith("0{")


async def test_a_preflight(listed: Host) -> None:
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    async with polling(listed.port) as client:
        answer = await client.request(
            "OPTIONS", client.query, headers={**preflight, "Origin": GOOD}
        )
        assert answer.status in {200, 204}
        assert answer.headers["Access-Control-Allow-Origin"] == GOOD
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Allow-Headers"].lower() in {"content-type", "*"}
        answer = await client.request(
            "OPTIONS", client.query, headers={**preflight, "Origin": EVIL}
        )
        assert answer.status == 403  # so that the browser does not send the request
        assert "Access-Control-Allow-Methods" not in answer.headers

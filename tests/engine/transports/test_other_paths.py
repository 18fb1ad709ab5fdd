"""Paths of the application beside the engine's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import InvalidStatus

from atriz_realtime.engine import EngineServer
from tests.engine.host import PATH
from tests.support.clients.websocket import engine_wire
from tests.support.servers.transports import Transport, serving_engine

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port(transport: Transport) -> AsyncIterator[int]:
    """The port of an application that serves the engine and a chat."""
    engine = EngineServer()
    engine.on("connect", lambda *_: None)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] == PATH:
            await engine.handle_request(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["path"].encode()})
        elif scope["path"] == "/chat":
            await receive()
            await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"].upper()})
        else:
            await receive()
            await send({"type": "websocket.close"})

    async with serving_engine(transport, app, engine, PATH) as port:
        yield port


async def test_websockets_of_other_paths(port: int) -> None:
    url = f"ws://127.0.0.1:{port}"
    async with websocket(f"{url}/chat", subprotocols=["chat"]) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "chat"
        await socket.send("hello")
        assert await socket.recv() == "HELLO"
    with pytest.raises(InvalidStatus) as refused:
        async with websocket(f"{url}/elsewhere"):
            pass
    assert refused.value.response.status_code == 403
    async with engine_wire(port) as engine:
        assert engine.opened["upgrades"] == []


async def test_requests_of_other_paths(port: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/elsewhere") as response,
    ):
        assert await response.text() == "/elsewhere"

"""Websockets over ASGI: what a server may do that uvicorn and hypercorn rarely do."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.admission import ADMITTED_PER_TURN
from atriz_realtime.testing import TIMEOUT
from tests.engine.host import PATH, Host

SCOPE: dict[str, Any] = {
    "type": "websocket",
    "path": PATH,
    "query_string": b"EIO=4&transport=websocket",
    "headers": [],
    "client": ("127.0.0.1", 1),
    "scheme": "ws",
}


async def test_messages_before_a_close_are_handled_though_answers_cannot_be_sent() -> None:
    host = Host(EngineServer(ping_interval=25, ping_timeout=20))
    texts = [str(number) for number in range(20)]
    incoming = deque[dict[str, Any]](
        [
            {"type": "websocket.connect"},
            *({"type": "websocket.receive", "text": f"4{text}"} for text in texts),
            {"type": "websocket.disconnect", "code": 1000},
        ]
    )
    failed = 0

    async def receive() -> dict[str, Any]:
        for _ in range(3):
            await asyncio.sleep(0)  # answers are written meanwhile
        return incoming.popleft()

    async def send(message: dict[str, Any]) -> None:
        nonlocal failed
        if message.get("text", "").startswith("4"):
            failed += 1
            raise OSError("the client has closed the websocket")

    async with asyncio.timeout(TIMEOUT):
        await host.engine.handle_request(SCOPE, receive, send)
        ((sid, messages),) = host.messages.items()
        assert messages == texts
        assert failed
        await host.until_ended(sid)


async def test_clients_that_have_gone_take_nobody_s_turn() -> None:
    """They leave while they wait for their turn to be admitted."""
    host = Host(EngineServer(ping_interval=25, ping_timeout=20))
    sent: list[str] = []
    leaves = asyncio.Event()

    async def connect(*, stays: bool) -> None:
        incoming = deque[dict[str, Any]]([{"type": "websocket.connect"}])
        if not stays:
            incoming.append({"type": "websocket.disconnect", "code": 1006})

        async def receive() -> dict[str, Any]:
            if not incoming:
                await leaves.wait()
                return {"type": "websocket.disconnect", "code": 1006}
            return incoming.popleft()

        async def send(message: dict[str, Any]) -> None:
            if stays:
                sent.append(message["type"])

        await host.engine.handle_request(SCOPE, receive, send)

    waiting = 20 * ADMITTED_PER_TURN
    clients = [asyncio.create_task(connect(stays=False)) for _ in range(waiting)]
    clients.append(asyncio.create_task(connect(stays=True)))
    for _ in range(10):  # turns of the loop, in which half as many would have been admitted
        await asyncio.sleep(0)
    assert sent[:1] == ["websocket.accept"]
    leaves.set()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(*clients)
    assert len(host.environs) <= 2 * ADMITTED_PER_TURN + 1

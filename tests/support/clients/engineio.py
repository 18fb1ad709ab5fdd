"""Engine.IO and Socket.IO spoken by hand over a websocket, so that a test sees every byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket

from tests.support.servers.serving import Live, token


def socket_url(live: Live) -> str:
    """The URL of a server's Engine.IO websockets."""
    return f"ws://127.0.0.1:{live.port}/socket.io/?EIO=4&transport=websocket"


@asynccontextmanager
async def raw_socket(live: Live) -> AsyncIterator[ClientConnection]:
    """An authenticated websocket, whose handshake has been read."""
    async with websocket(socket_url(live)) as raw:
        assert str(await raw.recv()).startswith('0{"sid":')
        await raw.send("40" + json.dumps({"token": token()}))
        assert str(await raw.recv()).startswith('40{"sid":')
        yield raw


@asynccontextmanager
async def raw_watcher(live: Live, entity_id: str) -> AsyncIterator[ClientConnection]:
    """An authenticated websocket that tracks a vehicle of which no location is cached."""
    async with raw_socket(live) as raw:
        await raw.send("420" + json.dumps(["track:vehicle", entity_id]))
        assert await raw.recv() == '430[{"success":true}]'
        yield raw

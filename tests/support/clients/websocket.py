"""A websocket client that sends any bytes and sees every frame (RFC 6455)."""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs

from tests.support.servers.serving import TIMEOUT

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of the example in section 1.3, and the answer that a server must give to it."""
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

OFFER = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}

MASK = b"\x9a\x05\xf1\x3e"


def length(size: int) -> tuple[int, bytes]:
    """The seven length bits of a payload, and the extended length that follows them."""
    if size < 126:
        return size, b""
    if size < 1 << 16:
        return 126, struct.pack("!H", size)
    return 127, struct.pack("!Q", size)


def frame(
    opcode: int,
    payload: bytes | str = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    size: int | None = None,
) -> bytes:
    """The bytes of a frame, valid or not.

    :param reserved: the three reserved bits.
    :param size: the length to declare, when it is not the payload's.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    short, extended = length(len(data) if size is None else size)
    head = bytes([fin << 7 | reserved << 4 | opcode, masked << 7 | short]) + extended
    if not masked:
        return head + data
    repeated = MASK * (len(data) // 4 + 1)
    return head + MASK + bytes(byte ^ key for byte, key in zip(data, repeated, strict=False))


def close(code: int | None = None, reason: bytes | str = b"") -> bytes:
    """The bytes of a close frame."""
    data = reason.encode() if isinstance(reason, str) else reason
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + data)


@attrs.frozen
class Frame:
    """A frame that the server sent."""

    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def code(self) -> int | None:
        """The status code of a close frame."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else None


@attrs.define(eq=False)
class Wire:
    """A websocket after its handshake."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    headers: Mapping[str, str]
    """Of the server's response, by names in lower case."""
    opened: Any = None
    """The content of the Engine.IO ``open`` packet, when the session was opened here."""
    close_sent: bool = False
    """Whether a close frame was sent."""

    @property
    def sid(self) -> str:
        """The id of the Engine.IO session."""
        sid: str = self.opened["sid"]
        return sid

    def write(self, *frames: bytes) -> None:
        """Send bytes as they are."""
        self.writer.writelines(frames)
        self.close_sent |= any(data[0] & 15 == CLOSE for data in frames)

    def send(self, message: str | bytes) -> None:
        """Send a message in one frame."""
        self.write(frame(TEXT if isinstance(message, str) else BINARY, message))

    async def frame(self) -> Frame:
        """Read the server's next frame.

        :raises asyncio.IncompleteReadError: when the server closed the connection instead.
        """
        async with asyncio.timeout(TIMEOUT):
            first, second = await self.reader.readexactly(2)
            assert first & 0x70 == 0, "a reserved bit is set"
            assert second < 128, "a server's frames are not masked"
            size = second
            if size > 125:
                wide = 2 if size == 126 else 8
                size = int.from_bytes(await self.reader.readexactly(wide), "big")
            return Frame(first & 15, await self.reader.readexactly(size), first > 127)

    async def message(self) -> str | bytes:
        """Read the server's next message."""
        part = await self.frame()
        assert part.opcode in {TEXT, BINARY}, part
        kind, data = part.opcode, part.payload
        while not part.fin:
            part = await self.frame()
            assert part.opcode == CONTINUATION, part
            data += part.payload
        return data.decode() if kind == TEXT else data

    async def messages(self, count: int) -> list[str | bytes]:
        """Read so many messages."""
        return [await self.message() for _ in range(count)]

    async def until_closed(self) -> int | None:
        """Wait until the server has closed websocket and connection; returns the close code."""
        code = None
        try:
            while True:
                part = await self.frame()
                if part.opcode == CLOSE:
                    code = part.code
                    break
            if not self.close_sent:
                self.write(close(code))
            async with asyncio.timeout(TIMEOUT):
                assert await self.reader.read() == b"", "nothing follows a close frame"
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        return code

    def abort(self) -> None:
        """Abort the connection without a close frame."""
        self.writer.transport.abort()


@asynccontextmanager
async def wire(
    port: int,
    target: str,
    headers: Iterable[tuple[str, str]] | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Wire]:
    """Open a websocket; the handshake must succeed.

    :param headers: instead of :data:`OFFER`.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        lines = [f"{name}: {value}" for name, value in headers or OFFER.items()]
        head = "\r\n".join([f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", *lines, "", ""])
        writer.write(head.encode())
        async with asyncio.timeout(TIMEOUT):
            answer = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        assert answer[0].startswith("HTTP/1.1 101 "), answer[0]
        fields = (line.split(":", 1) for line in answer[1:] if line)
        yield Wire(reader, writer, {name.lower(): value.strip() for name, value in fields})
    finally:
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def engine_wire(
    port: int, path: str = "/engine.io/", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Wire]:
    """Open an Engine.IO session on a websocket, and read its ``open`` packet."""
    async with wire(port, f"{path}?EIO=4&transport=websocket", tls=tls) as opened:
        packet = str(await opened.message())
        assert packet.startswith("0")
        opened.opened = json.loads(packet[1:])
        yield opened

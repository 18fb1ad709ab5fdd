"""Messages over a websocket, and their frames (RFC 6455)."""

from __future__ import annotations

import struct

import pytest
from websockets.asyncio.client import connect as websocket

from tests.engine.host import PATH, Host
from tests.support.clients.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close,
    engine_wire,
    frame,
)
from tests.support.servers.transports import ON_UVICORN, Transport

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZES = [0, 1, 124, 125, 126, 127, 65_534, 65_535, 65_536, 99_999]


@pytest.mark.parametrize("size", SIZES)
async def test_a_text(host: Host, size: int) -> None:
    async with engine_wire(host.port) as socket:
        text = ("0123456789" * 10_000)[:size]
        socket.send(f"4{text}")
        assert await socket.message() == f"4{text}"
        assert host.messages[socket.sid] == [text]


@pytest.mark.parametrize("size", SIZES)
async def test_a_binary(host: Host, size: int) -> None:
    async with engine_wire(host.port) as socket:
        data = (bytes(range(256)) * 400)[:size]
        socket.send(data)
        assert await socket.message() == data
        assert host.messages[socket.sid] == [data]


async def test_text_beyond_ascii(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        socket.send("4é€😀\x00\x1e\u2028")
        assert await socket.message() == "4é€😀\x00\x1e\u2028"


async def test_each_packet_has_a_frame_of_its_own(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        for data in ("a", b"b", "c"):
            await host.engine.send(socket.sid, data)
        assert [await socket.frame() for _ in range(3)] == [
            Frame(TEXT, b"4a"),
            Frame(BINARY, b"b"),
            Frame(TEXT, b"4c"),
        ]


async def test_many_frames_in_one_segment(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        sent = [f"4{number}" for number in range(500)]
        socket.write(b"".join(frame(TEXT, text) for text in sent))
        assert await socket.messages(500) == sent


async def test_a_frame_byte_by_byte(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        for data in (frame(TEXT, "4" + "a" * 130), frame(PING, "?"), frame(BINARY, b"\x01\x02")):
            for byte in data:
                socket.write(bytes([byte]))
                await socket.writer.drain()
        received = [await socket.frame() for _ in range(3)]
        assert Frame(PONG, b"?") in received  # a pong may overtake messages
        received.remove(Frame(PONG, b"?"))
        assert received == [Frame(TEXT, b"4" + b"a" * 130), Frame(BINARY, b"\x01\x02")]


async def test_a_client_that_offers_compression(host: Host) -> None:
    url = f"ws://127.0.0.1:{host.port}{PATH}?EIO=4&transport=websocket"
    async with websocket(url, compression="deflate") as client:
        assert str(await client.recv()).startswith("0{")
        await client.send("4" + "hello " * 1000)
        assert await client.recv() == "4" + "hello " * 1000
        await client.send(bytes(2000))
        assert await client.recv() == bytes(2000)


# -- fragments -------------------------------------------------------------------------------


async def test_a_fragmented_text(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        euro = "€".encode()
        socket.write(
            frame(TEXT, b"4" + euro[:1], fin=False),
            frame(CONTINUATION, b"", fin=False),
            frame(CONTINUATION, euro[1:2], fin=False),
            frame(CONTINUATION, euro[2:] + b"!"),
        )
        assert await socket.message() == "4€!"


async def test_a_fragmented_binary(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(
            frame(BINARY, b"", fin=False),
            frame(CONTINUATION, b"\x01\x02", fin=False),
            frame(CONTINUATION, b"\x03"),
        )
        assert await socket.message() == b"\x01\x02\x03"


async def test_control_frames_between_fragments(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(frame(TEXT, "4he", fin=False), frame(PING, "now"))
        assert await socket.frame() == Frame(PONG, b"now")
        socket.write(frame(PONG, "unasked"), frame(CONTINUATION, "llo"))
        assert await socket.message() == "4hello"


async def test_a_close_between_fragments(host: Host, transport: Transport) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(frame(TEXT, "4he", fin=False), close(1000))
        code = await socket.until_closed()
        assert code == 1000 or transport != "uvicorn"  # other servers may treat it as an error
        await host.until_ended(socket.sid)
        assert not host.messages[socket.sid]


# -- control frames --------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(125)])
async def test_a_ping_is_answered_with_its_payload(host: Host, payload: bytes) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(frame(PING, payload))
        assert await socket.frame() == Frame(PONG, payload)


async def test_an_unsolicited_pong_is_ignored(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(frame(PONG, "unasked"), frame(TEXT, "4hello"))
        assert await socket.frame() == Frame(TEXT, b"4hello")


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999])
async def test_a_close_is_answered_with_its_code(host: Host, code: int) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(close(code, "because"))
        assert await socket.until_closed() == code
        await host.until_ended(socket.sid)


async def test_a_close_without_a_code(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(close())
        answer = await socket.frame()
        assert (answer.opcode, answer.code) in {(CLOSE, None), (CLOSE, 1000)}
        await socket.until_closed()
        await host.until_ended(socket.sid)


async def test_frames_after_a_close_are_ignored(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(close(1000) + frame(TEXT, "4too late"))
        assert await socket.until_closed() == 1000
        await host.until_ended(socket.sid)
        assert not host.messages[socket.sid]


# -- protocol errors -----------------------------------------------------------------------

INVALID = {
    "unmasked text": (frame(TEXT, "4hello", masked=False), {1002}),
    "unmasked ping": (frame(PING, masked=False), {1002}),
    "first reserved bit": (frame(TEXT, "4hello", reserved=4), {1002}),
    "second reserved bit": (frame(TEXT, "4hello", reserved=2), {1002}),
    "third reserved bit": (frame(TEXT, "4hello", reserved=1), {1002}),
    "reserved bit of a control frame": (frame(PING, reserved=4), {1002}),
    "unknown data opcode": (frame(3, "4hello"), {1002}),
    "unknown control opcode": (frame(11), {1002}),
    "continuation without a start": (frame(CONTINUATION, "4hello"), {1002}),
    "continuation after the end": (
        frame(TEXT, "4h", fin=False) + frame(CONTINUATION, "i") + frame(CONTINUATION, "!"),
        {1002},
    ),
    "start within a message": (frame(TEXT, "4h", fin=False) + frame(TEXT, "4i"), {1002}),
    "binary within a text": (frame(TEXT, "4h", fin=False) + frame(BINARY, b"i"), {1002}),
    "fragmented ping": (frame(PING, "?", fin=False), {1002}),
    "fragmented close": (frame(CLOSE, fin=False), {1002}),
    "long ping": (frame(PING, bytes(126)), {1002}),
    "long pong": (frame(PONG, bytes(126)), {1002}),
    "long close": (close(1000, bytes(124)), {1002}),
    "one byte of a code": (frame(CLOSE, b"\x03"), {1002}),
    "code 0": (close(0), {1002}),
    "code 999": (close(999), {1002}),
    "code 1004": (close(1004), {1002}),
    "code 1005": (close(1005), {1002}),
    "code 1006": (close(1006), {1002}),
    "code 1015": (close(1015), {1002}),
    "code 2999": (close(2999), {1002}),
    "code 5000": (close(5000), {1002}),
    "reason of invalid UTF-8": (close(1000, b"\xff\xfe"), {1002, 1007}),
    "length with its highest bit": (
        bytes([0x82, 0xFF]) + struct.pack("!Q", 1 << 63) + bytes(4),
        {1002, 1009},
    ),
    "invalid UTF-8": (frame(TEXT, b"4\xff\xfe"), {1007}),
    "surrogate": (frame(TEXT, b"4\xed\xa0\x80"), {1007}),
    "overlong form": (frame(TEXT, b"4\xc0\xaf"), {1007}),
    "beyond the last character": (frame(TEXT, b"4\xf4\x90\x80\x80"), {1007}),
    "character cut off": (frame(TEXT, b"4\xe2\x82"), {1007}),
    "character cut off by the last fragment": (
        frame(TEXT, b"4\xe2", fin=False) + frame(CONTINUATION, b"\x82"),
        {1007},
    ),
    "invalid UTF-8 in fragments": (
        frame(TEXT, b"4a", fin=False) + frame(CONTINUATION, b"\xff"),
        {1007},
    ),
    "text beyond the limit": (frame(TEXT, "4" + "a" * 100_000), {1009}),
    "binary beyond the limit": (frame(BINARY, bytes(100_001)), {1009}),
    "bytes beyond the limit": (frame(TEXT, "4" + "é" * 50_000), {1009}),
    "fragments beyond the limit": (
        frame(BINARY, bytes(60_000), fin=False) + frame(CONTINUATION, bytes(60_000)),
        {1009},
    ),
    "announced beyond every limit": (frame(BINARY, size=1 << 62), {1009}),
}


@ON_UVICORN
@pytest.mark.parametrize(("sent", "codes"), INVALID.values(), ids=INVALID)
async def test_an_invalid_frame_ends_the_session(host: Host, sent: bytes, codes: set[int]) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(sent)
        assert await socket.until_closed() in codes
        await host.until_ended(socket.sid)
        assert not [text for text in host.messages[socket.sid] if text not in {"i", "hi"}]


@pytest.mark.parametrize("packet", ["abc", "9", "", "-1", "\u0664hello", "2"])
async def test_an_invalid_packet_closes_the_session(host: Host, packet: str) -> None:
    async with engine_wire(host.port) as socket:
        socket.send(packet)
        await socket.until_closed()
        await host.until_ended(socket.sid)
        assert not host.messages[socket.sid]


async def test_a_message_beyond_the_limit_is_closed_without_a_reason(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(frame(TEXT, "4" + "a" * 100_000))
        assert (await socket.frame()).payload == (1009).to_bytes(2, "big")

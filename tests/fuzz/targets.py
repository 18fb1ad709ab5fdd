"""Everything that parses bytes from clients: each raises only its own kind of error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import httpx

from atriz_realtime.api import (
    AuthenticationRejected,
    Credentials,
    LocationEvent,
    RealtimeError,
    decode_json,
    encode,
)
from atriz_realtime.asgi import create_app
from atriz_realtime.core.hub.packets import SocketIOPacket as Packet
from atriz_realtime.defaults.jwt_auth import JwtAuthenticator, JwtSettings
from atriz_realtime.engine.protocol import frames, packets
from atriz_realtime.engine.protocol.frames import Control, FrameError, FrameReader
from atriz_realtime.engine.protocol.packets import InvalidPacket
from tests.support.servers.serving import SECRET, config, token

LIMIT = 4_096
"""Bytes of a message; small, so that a fuzzer exceeds it."""

MAX_PACKETS = 64
"""Packets of a polling body at most."""

Target = Callable[[bytes], None]


def read_frames(data: bytes) -> None:
    """Websocket frames, whole and cut where the first byte says."""
    cut = data[0] if data else 0
    whole, parts = FrameReader(LIMIT), FrameReader(LIMIT)
    assert messages(whole, data[1:]) == messages(parts, data[1 : 1 + cut], data[1 + cut :])
    assert held(parts) <= 2 * LIMIT + len(data)


def messages(reader: FrameReader, *chunks: bytes) -> list[object]:
    """The messages that a reader finds in chunks of bytes; the code of an error comes last."""
    found: list[object] = []
    try:
        for chunk in chunks:
            found.extend(reader.feed(chunk))
    except FrameError as error:
        found.append(error.code)
    for message in found:
        if isinstance(message, str | bytes):
            assert len(message) <= LIMIT
        elif isinstance(message, Control) and message.opcode == frames.CLOSE:
            with suppress(FrameError):
                frames.check_close(message.payload)
    return found


def held(reader: FrameReader) -> int:
    """Bytes that a reader buffers."""
    return sum(len(each) for each in (reader._buffer, reader._fragments) if each is not None)


def read_payload(data: bytes) -> None:
    """The body of a long-polling request, and the packets in it."""
    try:
        found = packets.parse_payload(data, MAX_PACKETS)
    except InvalidPacket:
        return
    for kind, content in found:
        assert kind in packets.TYPES
        if kind == packets.MESSAGE:  # encoded again, it parses to the same
            assert packets.parse(packets.message(content).text) == (kind, content)


def read_packet(data: bytes) -> None:
    """A Socket.IO packet."""
    try:
        packet = Packet(encoded_packet=data.decode(errors="surrogateescape") or " ")
        if packet.attachment_count:
            packet.add_attachment(b"1")
    except ValueError:
        return
    if isinstance(packet.data, list) and packet.attachment_count == 0:
        decoded = Packet(encoded_packet=packet.encode())
        assert (decoded.packet_type, decoded.id, decoded.data) == (
            *(packet.packet_type, packet.id, packet.data),
        )


def read_event(data: bytes) -> None:
    """A location event, as it is published and as it is stored."""
    try:
        value = decode_json(data)
        if not isinstance(value, dict):
            return
        event = LocationEvent.from_wire(value)
    except RealtimeError:
        return
    payload = encode(event)
    decoded = LocationEvent.from_wire(decode_json(payload.event))
    assert encode(decoded).event == payload.event


def read_token(data: bytes) -> None:
    """A bearer token; a fuzzer cannot sign one."""
    credentials = Credentials(token=data.decode(errors="replace") or None, source="event")
    try:
        identity = CHECKS.identify(credentials)
    except AuthenticationRejected:
        return
    assert identity is None, "accepted"


class Api:
    """A server without a network, and an HTTP client of it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        app = create_app(config(max_body=LIMIT, max_batch=10))
        self._lifespan = app.router.lifespan_context(app)
        self._loop.run_until_complete(self._lifespan.__aenter__())
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://fuzz",
            headers={"Authorization": f"Bearer {token()}"},
        )

    def post(self, path: str, body: bytes) -> httpx.Response:
        """POST a body."""
        return self._loop.run_until_complete(self._client.post(path, content=body))


@cache
def api() -> Api:
    """The server, one for the whole run."""
    return Api()


def post_update(data: bytes) -> None:
    """The body of a published fix, or of a batch when the first byte is odd."""
    is_batch = bool(data) and data[0] % 2 == 1
    path = "/api/tracking/batch" if is_batch else "/api/tracking/location"
    response = api().post(path, data[1:])
    answer = response.json()
    assert response.status_code < 500, answer
    assert answer["success"] is (response.status_code == 200), answer
    if response.status_code != 200:
        assert answer["code"], answer


CHECKS = JwtAuthenticator(SECRET, JwtSettings())

TARGETS: dict[str, Target] = {
    "frames": read_frames,
    "payload": read_payload,
    "packet": read_packet,
    "event": read_event,
    "token": read_token,
    "update": post_update,
}

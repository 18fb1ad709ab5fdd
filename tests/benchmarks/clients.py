"""The clients of a swarm, and its publishers."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence

from tests.benchmarks import browser
from tests.benchmarks.exchange import HttpConnection
from tests.benchmarks.frames import UPGRADE
from tests.benchmarks.swarm import UPDATE, LoadError, Swarm
from tests.benchmarks.websocket import WebSocket

SEPARATOR = b"\x1e"
"""Between the packets of one polling response or request."""

REFUSALS = (b"41", b"44", b'42["error"')


def connect_packet(token: str) -> bytes:
    """Connects to the default namespace."""
    return b"40" + json.dumps({"token": token}).encode()


def event(*arguments: object) -> bytes:
    """An event without an acknowledgement."""
    return b"42" + json.dumps(arguments, separators=(",", ":")).encode()


class PlainClient:
    """Opens its session on a websocket, and tracks its ids with one event.

    It sends its token once and waits for the acknowledgement of ``track``, so it costs a server
    the least: deliveries are what it is for.

    :param distant: use the small buffers of a network.
    """

    counts = True

    def __init__(
        self, swarm: Swarm, token: str, ids: Sequence[str], *, distant: bool = False
    ) -> None:
        self._swarm = swarm
        self._token = token
        self._ids = ids
        self._websocket = WebSocket(swarm, self, UPGRADE, distant=distant)

    def stall(self) -> None:
        """Stop reading."""
        self._websocket.stall()

    def close(self) -> None:
        """Close the connection."""
        self._websocket.close()

    def opened(self) -> None:
        """The server speaks first."""

    def packet(self, payload: bytes) -> None:
        """Take the next step."""
        if payload == b"2":
            self._websocket.send(b"3")
        elif payload.startswith(b"0{"):
            self._websocket.send(connect_packet(self._token))
        elif payload.startswith(b"40"):
            ids = self._ids[0] if len(self._ids) == 1 else self._ids
            self._websocket.send(b"420" + event("track:vehicle", ids)[2:])
        elif payload.startswith(b"430"):
            if b'"success":true' not in payload:
                raise LoadError(f"may not track: {payload!r}")
            self._swarm.tracking += 1
        elif payload.startswith(REFUSALS):
            raise LoadError(f"refused: {payload!r}")


class Transport(enum.Enum):
    """How an ordinary client transports its packets."""

    UPGRADE = enum.auto()
    """By polling, and by a websocket as soon as the probe of it is answered: ``io(url)``."""
    WEBSOCKET = enum.auto()
    """``io(url, {transports: ['websocket']})``."""
    POLLING = enum.auto()
    """``io(url, {transports: ['polling']})``."""


class OrdinaryClient:
    """What socket.io-client does in a browser for the documented code.

    The token is in the handshake, then in ``authenticate``, and each id is tracked with an event.
    The client counts as tracking when the cached location of every id has come.

    A browser opens the websocket together with the CONNECT, whose answer overtakes it or not, as
    the network has it.  Here the answer is always first and ``authenticate`` follows the upgrade,
    so that all servers have the same to do.
    """

    def __init__(
        self,
        swarm: Swarm,
        token: str,
        ids: Sequence[str],
        transport: Transport = Transport.UPGRADE,
    ) -> None:
        self._swarm = swarm
        self._token = token
        self._ids = ids
        self._transport = transport
        self._sid = ""
        self._unsent: list[bytes] = []
        self._first, self._second = HttpConnection(swarm), HttpConnection(swarm)
        self._websocket: WebSocket | None = None
        self._probed = self._upgraded = False
        self.counts = False
        self.missing = 0
        """Cached locations that have not come yet."""
        if transport is Transport.WEBSOCKET:
            self._upgraded = True
            self._websocket = WebSocket(swarm, self, browser.upgrade(swarm.port))
        else:
            self._first.request(browser.poll(swarm.port), self._polled)

    def track(self, ids: Sequence[str], *, at_once: bool = False) -> None:
        """Track entities that have cached locations.

        :param at_once: with one event for the whole list, not with one for each.
        """
        self.counts = not ids
        self.missing = len(ids)
        if not ids:
            self._swarm.tracking += 1
        arguments = [ids] if at_once else ids
        self._send(*(event("track:vehicle", argument) for argument in arguments))

    def stall(self) -> None:
        """Stop reading from the websocket."""
        if self._websocket is not None:
            self._websocket.stall()

    def close(self) -> None:
        """Close the connections."""
        for connection in (self._first, self._second, self._websocket):
            if connection is not None:
                connection.close()

    def opened(self) -> None:
        """Probe the websocket, unless the session began on it."""
        if self._websocket is not None and self._transport is Transport.UPGRADE:
            self._websocket.send(b"2probe")

    def packet(self, payload: bytes) -> None:
        """Take the next step."""
        if payload.startswith(UPDATE):
            self._update(payload)
        elif payload == b"2":
            self._send(b"3")
        elif payload.startswith(b"0{"):
            self._sid = json.loads(payload[1:])["sid"]
            self._send(connect_packet(self._token))
        elif payload.startswith(b"40"):
            if self._transport is Transport.UPGRADE:
                request = browser.upgrade(self._swarm.port, self._sid)
                self._websocket = WebSocket(self._swarm, self, request)
            else:
                self._send(event("authenticate", self._token))
        elif payload == b"3probe":
            self._probed = True
            self._upgrade()
        elif payload.startswith(b'42["authenticated"'):
            if b'"success":true' not in payload:
                raise LoadError(f"refused: {payload!r}")
            self.track(self._ids)
        elif payload.startswith(REFUSALS):
            raise LoadError(f"refused: {payload!r}")

    def _update(self, payload: bytes) -> None:
        if self.missing:
            self.missing -= 1
            if not self.missing:
                self.counts = True
                self._swarm.tracking += 1
        else:
            self._swarm.delivered += 1
            if self._swarm.timed:
                self._swarm.record(payload, 0, len(payload))

    def _upgrade(self) -> None:
        """Leave polling, as soon as the server has answered the pending poll."""
        if self._probed and not self._upgraded and not self._second.busy and not self._first.busy:
            self._upgraded = True
            self._send(b"5", event("authenticate", self._token))

    def _polled(self, body: bytes) -> None:
        for payload in body.split(SEPARATOR):
            self.packet(payload)
        if self._probed:
            self._upgrade()
        else:
            self._second.request(browser.poll(self._swarm.port, self._sid), self._polled)

    def _send(self, *payloads: bytes) -> None:
        if self._upgraded and self._websocket is not None:
            self._websocket.send(*payloads)
        else:
            self._unsent += payloads
            self._post()

    def _post(self) -> None:
        if self._unsent and not self._first.busy:
            body = SEPARATOR.join(self._unsent)
            self._unsent.clear()
            self._first.request(browser.post(self._swarm.port, self._sid, body), self._posted)

    def _posted(self, body: bytes) -> None:
        if body.lower() != b"ok":
            raise LoadError(f"refused: {body!r}")
        self._post()
        self._upgrade()


class Publisher:
    """Posts fixes on one connection, with one token."""

    def __init__(self, swarm: Swarm, token: str) -> None:
        self._swarm = swarm
        self._connection = HttpConnection(swarm)
        self._head = (
            "POST /api/tracking/location HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()

    def post(self, body: bytes) -> None:
        """Send a request."""
        self._connection.request(b"%b%d\r\n\r\n%b" % (self._head, len(body), body), self._answered)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _answered(self, _: bytes) -> None:
        self._swarm.answered += 1
        self._swarm.idle.append(self)

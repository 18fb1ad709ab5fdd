"""Bytes go to the kernel at once where they can, and after what the transport still has."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.transports import connections
from atriz_realtime.engine.transports.connections import (
    client_of,
    descriptor,
    request_on,
    seen_through_proxies,
    send,
)


class Connection(asyncio.Transport):
    """A transport of one end of a pair of sockets, which records what it is left to send."""

    def __init__(self, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self.left = b""
        self.unsent = 0
        self.closing = False
        self.aborted = False

    def write(self, data: Any) -> None:
        self.left += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.aborted = True


Pair = tuple[Connection, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield Connection({"socket": ours}), theirs


def received(end: socket.socket) -> bytes:
    data = b""
    try:
        while more := end.recv(1_000_000):
            data += more
    except BlockingIOError:
        pass
    return data


def test_what_the_kernel_takes_is_sent_at_once(pair: Pair) -> None:
    transport, end = pair
    send(transport, descriptor(transport), b"hello")
    assert (received(end), transport.left) == (b"hello", b"")


def test_what_it_does_not_take_is_left_to_the_transport(pair: Pair) -> None:
    transport, end = pair
    data = bytes(range(256)) * 20_000
    send(transport, descriptor(transport), data)
    taken = received(end)
    assert 0 < len(taken) < len(data)
    assert taken + transport.left == data


def test_a_full_kernel_takes_nothing(pair: Pair) -> None:
    transport, _ = pair
    send(transport, descriptor(transport), bytes(5_000_000))
    transport.left = b""
    send(transport, descriptor(transport), b"next")
    assert transport.left == b"next"


@pytest.mark.parametrize("reason", ["unsent", "encrypted"])
def test_the_transport_sends_in_order(pair: Pair, reason: str) -> None:
    transport, end = pair
    if reason == "encrypted":
        transport = Connection({"socket": transport.get_extra_info("socket"), "sslcontext": True})
    else:
        setattr(transport, reason, 1)
    send(transport, descriptor(transport), b"hello")
    assert (received(end), transport.left) == (b"", b"hello")


def test_a_transport_that_is_closing_is_sent_nothing(pair: Pair) -> None:
    transport, end = pair
    transport.closing = True
    send(transport, descriptor(transport), b"hello")
    assert (received(end), transport.left) == (b"", b"")


def test_a_lost_connection_is_aborted(pair: Pair) -> None:
    transport, end = pair
    end.close()
    send(transport, descriptor(transport), b"hello")
    assert transport.aborted
    assert transport.left == b""


def test_the_peer_has_an_address_unless_it_is_on_a_unix_socket() -> None:
    assert client_of(Connection({"peername": ("10.0.0.1", 5, 0, 0)})) == ("10.0.0.1", 5)
    assert client_of(Connection({"peername": ""})) is None
    assert client_of(Connection({})) is None


@pytest.mark.parametrize(
    ("peer", "forwarded", "seen"),
    [
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        (None, [], None),
    ],
)
def test_a_client_is_the_one_that_uvicorn_sees(
    peer: str | None, forwarded: list[str], seen: str | None
) -> None:
    config = uvicorn.Config(lambda: None, log_config=None, forwarded_allow_ips="127.0.0.1")
    headers = [(b"host", b"here"), *((b"x-forwarded-for", each.encode()) for each in forwarded)]
    assert seen_through_proxies(config, peer, headers) == seen


@pytest.mark.parametrize("named", ["wss", "https"])
def test_a_proxy_may_name_the_scheme_of_a_websocket(named: str) -> None:
    head = f"GET / HTTP/1.1\r\nX-Forwarded-Proto: {named}\r\nX-Forwarded-For: 192.0.2.1\r\n"
    config = uvicorn.Config(lambda: None, log_config=None, forwarded_allow_ips="*")
    request = request_on("http", ("127.0.0.1", 1), head.encode(), config, None)
    assert (request.scheme, request.client) == ("https", ("192.0.2.1", 0))


def test_a_proxy_that_is_not_trusted_is_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_noted_untrusted", set())
    config = uvicorn.Config(lambda: None, log_config=None, forwarded_allow_ips="127.0.0.1")
    trusted = TrustedProxies(["10.0.0.5"])
    plain = b"GET / HTTP/1.1\r\nHost: here\r\n"
    forwarded = plain + b"X-Forwarded-For: 192.0.2.1\r\n"
    request_on("http", ("203.0.113.9", 1), plain, config, trusted)
    request_on("http", ("10.0.0.5", 1), forwarded, config, trusted)
    request_on("http", ("127.0.0.1", 1), forwarded, config, None)
    assert not caplog.messages
    for proxies, address in ((None, "203.0.113.9"), (trusted, "203.0.113.8")):
        request = request_on("http", (address, 1), forwarded, config, proxies)
        assert request.client == (address, 1)
    (message,) = caplog.messages
    assert message.startswith("X-Forwarded-For from 203.0.113.9 is ignored")
    assert "trusted_proxies" in message

"""What protocols on uvicorn's connections share: raw writes, bounded buffers, a request's client.

An asyncio transport buffers what it is given until the end of the loop's turn, and has to be
woken for it.  That costs half a microsecond for each write, besides the system call.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import select
import socket
import sys
from collections.abc import Sequence
from typing import Any

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from atriz_realtime.engine.request.proxies import FORWARDED_HOST, Header, TrustedProxies
from atriz_realtime.engine.request.request import Address, Request

logger = logging.getLogger("atriz_realtime")

UNSENT = 16_384
"""Unsent bytes that the kernel buffers for a slow client (TCP_NOTSENT_LOWAT).  Newer frames can
no longer replace those in there."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)

_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
_TCP_NOTSENT_LOWAT = 25 if sys.platform == "linux" else None
"""From ``linux/tcp.h``; Python has no name for it."""


def bound_buffers(connection: socket.socket, ack_timeout: int) -> None:
    """Bound what a client that does not read costs in memory and time.

    :param connection: a connection, or a listening socket whose connections inherit the options.
    :param ack_timeout: see :class:`.UvicornWebSocket`.
    """
    if connection.family not in _INTERNET:
        return
    with contextlib.suppress(OSError):  # an old kernel, or another one
        if _TCP_USER_TIMEOUT is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, ack_timeout)
        if _TCP_NOTSENT_LOWAT is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT)


def bound_buffers_of(transport: Any, ack_timeout: int) -> None:
    """:func:`bound_buffers` of a transport's connection."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        return
    # uvloop's own object asks the kernel for the socket's type with each option
    options = socket.socket(connection.family, socket.SOCK_STREAM, 0, connection.fileno())
    try:
        bound_buffers(options, ack_timeout)
    finally:
        options.detach()  # the transport owns the descriptor


def descriptor(transport: Any) -> int:
    """The file descriptor for :func:`send`; -1 where everything has to go through the transport."""
    if sys.platform == "win32" or transport.get_extra_info("sslcontext") is not None:
        return -1
    connection = transport.get_extra_info("socket")
    return -1 if connection is None else int(connection.fileno())


def send(transport: Any, fd: int, data: bytes) -> bool:
    """Send bytes now, or after those that the transport still has to send.

    Bytes for a transport that is closing are dropped: uvloop's raises for them.

    :param fd: the transport's :func:`descriptor`.
    :returns: whether some may wait in the transport.
    """
    if transport.is_closing():
        return False
    if fd >= 0 and not transport.get_write_buffer_size():
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            transport.abort()
            return False
        if sent == len(data):
            return False
        data = data[sent:]
    transport.write(data)
    return True


def is_readable(fd: int) -> bool:
    """Whether bytes, or the end of the connection, wait to be read.

    :param fd: the transport's :func:`descriptor`.
    """
    if fd < 0:
        return False
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def client_of(transport: Any) -> Address | None:
    """The peer's address; ``None`` when it has none, as on a Unix socket."""
    peer = transport.get_extra_info("peername")
    return (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None


def scheme_of(transport: Any) -> str:
    """The scheme of the requests that come on a connection: ``http`` or ``https``."""
    return "http" if transport.get_extra_info("sslcontext") is None else "https"


def request_on(
    scheme: str,
    client: Address | None,
    head: bytes,
    config: uvicorn.Config,
    proxies: TrustedProxies | None,
) -> Request:
    """The request that came on a connection, with the client that trusted proxies name.

    :param scheme: the connection's.
    :param client: the peer's address.
    :param proxies: the trusted proxies; ``None`` for those that uvicorn trusts.
    """
    request = Request(head, client, scheme)
    if (proxies is not None or config.proxy_headers) and request.fields.is_forwarded:
        scope = request.scope()
        if proxies is not None:
            proxies.rewrite(scope)
        else:
            _rewrite_as_uvicorn(config, scope)
        if client is not None and scope["client"] == client:
            _note_untrusted(client[0], request, proxies)
        scheme = scope["scheme"].replace("ws", "http")
        request = Request(head, scope["client"], scheme, scope.get(FORWARDED_HOST))
    return request


_UNTRUSTED = (
    "if that is your proxy, list it in trusted_proxies, or limits count all its clients as one"
)

_noted_untrusted: set[str] = set()
"""The first address whose ``X-Forwarded-For`` was ignored."""


def _note_untrusted(address: str, request: Request, proxies: TrustedProxies | None) -> None:
    """Warn once in a process that an address which is no trusted proxy names other clients."""
    if _noted_untrusted or b"x-forwarded-for" not in request.fields.first:
        return
    if proxies is None or not proxies.trusts(address):
        _noted_untrusted.add(address)
        logger.warning("X-Forwarded-For from %s is ignored: %s", address, _UNTRUSTED)


def seen_through_proxies(
    config: uvicorn.Config, address: str | None, headers: Sequence[Header]
) -> str | None:
    """The client's address, as applications behind uvicorn's middleware see it.

    :param address: the peer's.
    """
    for name, _ in headers:
        if name == b"x-forwarded-for":
            break
    else:
        return address
    scope = {"type": "http", "client": (address, 0), "scheme": "http", "headers": headers}
    _rewrite_as_uvicorn(config, scope)
    client: str | None = scope["client"][0]  # type: ignore[assignment]
    return client


def _rewrite_as_uvicorn(config: uvicorn.Config, scope: dict[str, Any]) -> None:
    """Set a scope's client and scheme as uvicorn's middleware does."""
    hosts = config.forwarded_allow_ips or "127.0.0.1"
    middleware = _middleware(hosts if isinstance(hosts, str) else ",".join(hosts))
    with contextlib.suppress(StopIteration):  # it awaits nothing
        middleware(scope, _no_application, _no_application).send(None)


@functools.cache
def _middleware(hosts: str) -> Any:
    return ProxyHeadersMiddleware(_no_application, hosts)


async def _no_application(*_: Any) -> None:
    """Stand in for the application behind the middleware."""

"""The addresses that a server listens on, and where clients reach it."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Sequence

import click

BACKLOG = 16_384
"""Connections that may wait to be accepted.  Linux lets no more of them wait than
``net.core.somaxconn`` says, 4,096 by default; a client whose connection finds no room tries again
after a second, then after two more."""

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

_REASONS = {
    errno.EADDRINUSE: "the port is in use; choose another with --port",
    errno.EACCES: "permission denied; ports below 1024 need a privilege",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind all addresses of a host name, with the same port.

    The server listens once it has started.  Until then connections are refused, so that a proxy
    turns to another server instead of waiting.

    :raises click.ClickException: when an address cannot be bound, with the reason.
    """
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in _addresses(host):
            place = (address, port_of(sockets) if sockets else port)
            try:
                sockets.append(_bound(place, family))
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                missing = error  # such as ::1 of localhost where IPv6 is off
        if missing is not None and not sockets:
            raise missing
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise cannot_listen(location(host, port), error) from error
    return sockets


def cannot_listen(place: str, error: OSError) -> click.ClickException:
    """The error that says where, and why."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return click.ClickException(f"cannot listen on {place}: {reason}")


def _bound(place: tuple[str, int], family: socket.AddressFamily) -> socket.socket:
    """A socket as :func:`socket.create_server` makes it, which does not listen yet."""
    made = socket.socket(family)
    try:
        if os.name == "posix":  # elsewhere the option lets two servers have one port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(place)
    except OSError:
        made.close()
        raise
    return made


def beyond_loopback(host: str) -> bool:
    """Whether other machines may reach a server that listens on a host.

    :raises click.ClickException: when the name cannot be resolved.
    """
    return not all(
        ipaddress.ip_address(address.partition("%")[0]).is_loopback
        for _, address in _addresses(host)
    )


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise click.ClickException(f"cannot listen on {host!r}: no such host") from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def port_of(sockets: Sequence[socket.socket]) -> int:
    """The port of sockets from :func:`bind`."""
    port: int = sockets[0].getsockname()[1]
    return port


def location(host: str, port: int) -> str:
    """A host and a port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local_url(host: str, port: int) -> str:
    """The URL at which this machine reaches a server that listens on a host."""
    with contextlib.suppress(ValueError):  # a name
        if ipaddress.ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
    return f"http://{location(host, port)}"

"""The addresses that a server listens on, and where clients reach it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence

import click

BACKLOG = 2_048
"""Connections that may wait to be accepted."""

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

_REASONS = {
    errno.EADDRINUSE: "the port is in use; choose another with --port",
    errno.EACCES: "permission denied; ports below 1024 need a privilege",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind all addresses of a host name, with the same port.

    :raises click.ClickException: when an address cannot be bound, with the reason.
    """
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in _addresses(host):
        try:
            bound_port = port_of(sockets) if sockets else port
            sockets.append(
                socket.create_server((address, bound_port), family=family, backlog=BACKLOG)
            )
        except OSError as error:
            if error.errno in _NO_SUCH_ADDRESS:  # such as ::1 of localhost where IPv6 is off
                missing = error
                continue
            for bound in sockets:
                bound.close()
            raise _cannot_listen(host, port, error) from error
    if not sockets and missing is not None:
        raise _cannot_listen(host, port, missing) from missing
    return sockets


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


def _cannot_listen(host: str, port: int, error: OSError) -> click.ClickException:
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return click.ClickException(f"cannot listen on {location(host, port)}: {reason}")


def port_of(sockets: Sequence[socket.socket]) -> int:
    """The port of sockets from :func:`listen`."""
    port: int = sockets[0].getsockname()[1]
    return port


def location(host: str, port: int) -> str:
    """A host and a port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str) -> str:
    """The host at which this machine reaches a server that listens on a host."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "::1" if address.version == 6 else "127.0.0.1"

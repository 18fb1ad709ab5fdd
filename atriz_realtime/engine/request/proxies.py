"""The client of a request that came through trusted proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

Header = tuple[bytes, bytes]

UNIX = "unix"
"""Stands for all proxies that connect over a Unix socket, which have no address."""

MAX_HOPS = 32
"""Proxies that one request may have come through; the headers of further ones are not read."""

FORWARDED_HOST = "atriz_realtime.forwarded_host"
"""Key of a scope: the host that the client asked for, according to trusted proxies."""


class TrustedProxies:
    """Believes the ``X-Forwarded-For``, ``-Proto`` and ``-Host`` of certain proxies.

    Each proxy appends the address that it received the request from. Read from the right, the
    first address that is no trusted proxy's is the client's; the client may have written
    everything left of it itself.

    :param trusted: addresses, networks such as ``10.0.0.0/8``, and :data:`UNIX`.
    :raises ValueError: for anything else.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._unix = UNIX in trusted
        self._networks = [ipaddress.ip_network(each) for each in trusted if each != UNIX]

    def trusts(self, address: str | None) -> bool:
        """Whether a peer is a trusted proxy.

        :param address: ``None`` over a Unix socket.
        """
        if not address:
            return self._unix
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client(self, address: str | None, headers: Sequence[Header]) -> str | None:
        """The client's address.

        :param address: the peer's.
        """
        return self._resolve(address, headers)[0]

    def rewrite(self, scope: Any) -> None:
        """Set an ASGI scope's client, scheme and host to those that trusted proxies name."""
        peer = scope.get("client")
        address, hops = self._resolve(peer[0] if peer else None, scope["headers"])
        if not hops:
            return
        if address != (peer[0] if peer else None):
            scope["client"] = (address, 0)
        scheme = _forwarded(scope["headers"], b"x-forwarded-proto", hops)
        if scheme in ("http", "https"):
            websocket = scope["type"] == "websocket"
            scope["scheme"] = scheme.replace("http", "ws") if websocket else scheme
        host = _forwarded(scope["headers"], b"x-forwarded-host", hops)
        if host:
            scope[FORWARDED_HOST] = host

    def _resolve(self, address: str | None, headers: Sequence[Header]) -> tuple[str | None, int]:
        """The client's address, and the number of trusted proxies between it and the server."""
        if not self.trusts(address):
            return address, 0
        hops = 1
        for named in reversed(_items(headers, b"x-forwarded-for")[-MAX_HOPS:]):
            parsed = _parsed(_without_port(named))
            if parsed is None:
                break
            address = str(parsed)
            if not self.trusts(address):
                break
            hops += 1
        return address, hops


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _without_port(named: str) -> str:
    if named.startswith("["):
        return named[1:].partition("]")[0]
    return named.partition(":")[0] if named.count(":") == 1 else named


def _forwarded(headers: Sequence[Header], name: bytes, hops: int) -> str:
    """The value that the outermost of ``hops`` proxies added; each appends its own."""
    values = _items(headers, name)
    return values[max(0, len(values) - hops)] if values else ""


def _items(headers: Sequence[Header], name: bytes) -> list[str]:
    """The items of a list header, from all of its lines."""
    values = [value.decode("latin-1") for key, value in headers if key == name]
    return [item.strip() for value in values for item in value.split(",")]

"""Who a request comes from, where trusted proxies stand before the server."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uvicorn

Header = tuple[bytes, bytes]

UNIX = "unix"
"""Stands for proxies that connect over a unix socket: they have no address."""

MAX_HOPS = 32
"""Proxies in a row that are looked through."""

FORWARDED_HOST = "atriz_realtime.forwarded_host"
"""Where a scope has the host that trusted proxies say the client asked for."""


class TrustedProxies:
    """The proxies whose ``X-Forwarded-For``, ``-Proto`` and ``-Host`` are believed.

    Each proxy adds at the right whom it got the request from. The client is whoever the
    last trusted one names; what stands left of that the client may have written itself.

    :param trusted: addresses, networks such as ``10.0.0.0/8``, and :data:`UNIX`.
    :raises ValueError: for what is none of these.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._unix = UNIX in trusted
        self._networks = [ipaddress.ip_network(each) for each in trusted if each != UNIX]

    def trusts(self, address: str | None) -> bool:
        """Whether a peer is one of them."""
        if not address:
            return self._unix
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client(self, address: str | None, headers: Sequence[Header]) -> str | None:
        """The client's address, for a request from a peer's."""
        return self._seen(address, headers)[0]

    def look_through(self, scope: Any) -> None:
        """Put into a scope what they say of the client, the scheme and the host."""
        peer = scope.get("client")
        address, hops = self._seen(peer[0] if peer else None, scope["headers"])
        if not hops:
            return
        if address != (peer[0] if peer else None):
            scope["client"] = (address, 0)
        scheme = _said(scope["headers"], b"x-forwarded-proto", hops)
        if scheme in ("http", "https"):
            websocket = scope["type"] == "websocket"
            scope["scheme"] = scheme.replace("http", "ws") if websocket else scheme
        host = _said(scope["headers"], b"x-forwarded-host", hops)
        if host:
            scope[FORWARDED_HOST] = host

    def _seen(self, address: str | None, headers: Sequence[Header]) -> tuple[str | None, int]:
        """The client's address, and how many proxies are before the server."""
        if not self.trusts(address):
            return address, 0
        hops = 1
        for named in reversed(_listed(headers, b"x-forwarded-for")[-MAX_HOPS:]):
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


def _said(headers: Sequence[Header], name: bytes, hops: int) -> str:
    """What the first of so many proxies says, each having added its own at the right."""
    values = _listed(headers, name)
    return values[max(0, len(values) - hops)] if values else ""


def _listed(headers: Sequence[Header], name: bytes) -> list[str]:
    """The items of a header that is a list, of all lines of that name."""
    values = [value.decode("latin-1") for key, value in headers if key == name]
    return [item.strip() for value in values for item in value.split(",")]


def seen_through_proxies(
    config: uvicorn.Config, address: str | None, headers: Sequence[Header]
) -> str | None:
    """The client's address, as uvicorn's middleware lets applications see it."""
    for name, _ in headers:
        if name == b"x-forwarded-for":
            break
    else:
        return address
    scope = {"type": "http", "client": (address, 0), "scheme": "http", "headers": headers}
    look_through(config, scope)
    client: str | None = scope["client"][0]  # type: ignore[assignment]
    return client


def look_through(config: uvicorn.Config, scope: dict[str, Any]) -> None:
    """Put into a scope what trusted proxies say of the client and the scheme."""
    hosts = config.forwarded_allow_ips or "127.0.0.1"
    middleware = _middleware(hosts if isinstance(hosts, str) else ",".join(hosts))
    with contextlib.suppress(StopIteration):  # nothing in it waits
        middleware(scope, _nothing, _nothing).send(None)


@functools.cache
def _middleware(hosts: str) -> Any:
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware  # noqa: PLC0415  # an extra

    return ProxyHeadersMiddleware(_nothing, hosts)


async def _nothing(*_: Any) -> None:
    """The application behind the middleware, which has done all there is to do."""

"""Who a request comes from, where trusted proxies stand before the server."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

Header = tuple[bytes, bytes]


def seen_through_proxies(
    config: uvicorn.Config, address: str | None, headers: Sequence[Header]
) -> str | None:
    """The client's address, as uvicorn's middleware lets applications see it."""
    if not any(name == b"x-forwarded-for" for name, _ in headers):
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
    return ProxyHeadersMiddleware(_nothing, hosts)


async def _nothing(*_: Any) -> None:
    """The application behind the middleware, which has done all there is to do."""

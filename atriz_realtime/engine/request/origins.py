"""Which web pages may connect: https://www.rfc-editor.org/rfc/rfc6454, and CORS.

A browser names the page's origin in every websocket handshake and in each request to another
origin.  Other programs need not name one; they have to authenticate instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from atriz_realtime.engine.request.request import Request

ANY = "*"

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """The origin of a page, as browsers write it.

    :raises ValueError: when the URL is no http or https address.
    """
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ValueError(f"{url!r} is no address such as https://live.example.com")
    host = f"[{host}]" if ":" in host else host if host.isascii() else host.encode("idna").decode()
    port = parts.port
    suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"


class Origins:
    """The allowed origins.

    :param allowed: ``None`` for the server's own origin, which the ``Host`` of a request and of
        trusted proxies names; ``*`` for every origin; or a list.
    """

    def __init__(self, allowed: str | Sequence[str] | None) -> None:
        listed = [allowed] if isinstance(allowed, str) else allowed
        self._all = listed is not None and ANY in listed
        self._listed = None if listed is None else frozenset(listed)
        self._pages: set[str] = set()

    def allow_page(self, url: str) -> None:
        """Allow the origin of a page as well, which whoever runs the server has configured.

        :raises ValueError: when the URL is no http or https address.
        """
        self._pages.add(origin_of(url))

    def allow(self, request: Request) -> bool:
        """Whether a request comes from an allowed page, or from no page."""
        origin = request.header(b"origin")
        return origin is None or self._allows(origin, request)

    def _allows(self, origin: str, request: Request) -> bool:
        if self._all or origin in self._pages:
            return True
        if self._listed is not None:
            return origin in self._listed
        hosts = (request.header(b"host"), request.forwarded_host)
        return origin in [f"{request.scheme}://{host}" for host in hosts if host is not None]

    def headers(self, request: Request) -> list[tuple[bytes, bytes]]:
        """The CORS headers that let the page read the response."""
        origin = request.header(b"origin")
        if origin is None or not self._allows(origin, request):
            return []
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"Origin"),
        ]

    def preflight(self, request: Request) -> list[tuple[bytes, bytes]]:
        """The CORS headers that let the page send the request that a preflight asks about."""
        wanted = request.header(b"access-control-request-headers")
        headers = [(b"access-control-allow-methods", b"OPTIONS, GET, POST")]
        if wanted is not None:
            headers.append((b"access-control-allow-headers", wanted.encode("latin-1")))
        return headers

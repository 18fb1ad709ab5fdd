"""An HTTP request as bytes, small enough to stay with an idle session."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, unquote_plus

from atriz_realtime.engine.request.header_fields import HeaderFields, header_fields
from atriz_realtime.engine.request.proxies import FORWARDED_HOST

Address = tuple[str, int]

MAX_HEAD = 65_536
"""Bytes that the head of a request may have; the one that opens a session stays with it."""

MAX_PARAMETERS = 32
"""Query parameters that are read; clients send five, and those of the application."""


class Request:
    """A request's line and headers as bytes, parsed when they are needed.

    :param head: the request line and the headers, each line ending in CR LF.
    :param client: the client's address and port; ``None`` over a Unix socket.
    :param scheme: ``http`` or ``https``.
    :param forwarded_host: the host that the client asked for, according to a trusted proxy.
    """

    __slots__ = ("_block", "_line", "client", "forwarded_host", "scheme")

    def __init__(
        self, head: bytes, client: Address | None, scheme: str, forwarded_host: str | None = None
    ) -> None:
        self._line, _, self._block = head.partition(b"\r\n")
        self.client = client
        self.scheme = scheme
        self.forwarded_host = forwarded_host

    @classmethod
    def of_scope(cls, scope: Any) -> Request:
        """The request of an ASGI scope, of HTTP or a websocket."""
        query = scope.get("query_string", b"")
        target = scope.get("raw_path") or scope["path"].encode()
        method = scope.get("method", "GET").encode()
        lines = [
            b"%b %b%b HTTP/1.1\r\n" % (method, target, b"?" + query if query else b""),
            *(b"%b: %b\r\n" % (name.lower(), value) for name, value in scope["headers"]),
        ]
        client = scope.get("client")
        scheme = scope.get("scheme", "http").replace("ws", "http")
        address = (client[0], client[1] or 0) if client else None
        return cls(b"".join(lines), address, scheme, scope.get(FORWARDED_HOST))

    @property
    def address(self) -> str | None:
        """The client's address, where that is known."""
        return self.client[0] if self.client else None

    @property
    def size(self) -> int:
        """Bytes of the line and the headers."""
        return len(self._line) + len(self._block) + 2

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self._line[: self._line.index(b" ")].decode("latin-1")

    @property
    def target(self) -> str:
        """The path and the query, percent-encoded."""
        return self._line.split(b" ", 2)[1].decode("latin-1")

    @property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query_string(self) -> str:
        """The query, percent-encoded."""
        return self._line.split(b" ", 2)[1].partition(b"?")[2].decode("latin-1")

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers: names in lower case, and values."""
        parts = (line.partition(b":") for line in self._block.split(b"\r\n") if line)
        return [(name.lower(), value.strip()) for name, _, value in parts]

    def header(self, name: bytes) -> str | None:
        """The first value of a header.

        :param name: in lower case.
        """
        return header_fields(self._block).first.get(name)

    @property
    def fields(self) -> HeaderFields:
        """What the headers say."""
        return header_fields(self._block)

    def query(self) -> dict[str, str]:
        """The query's parameters; a repeated one has its last value."""
        query = self.query_string
        pairs = query.split("&", MAX_PARAMETERS)[:MAX_PARAMETERS]
        parts = [pair.partition("=") for pair in pairs]
        if "%" in query or "+" in query:
            return {unquote_plus(name): unquote_plus(value) for name, _, value in parts}
        return {name: value for name, _, value in parts}

    def scope(self) -> dict[str, Any]:
        """The request as an ASGI scope."""
        return {
            "type": "http",
            "http_version": "1.1",
            "method": self.method,
            "scheme": self.scheme,
            "path": self.path,
            "raw_path": self.target.partition("?")[0].encode("latin-1"),
            "query_string": self.query_string.encode("latin-1"),
            "headers": self.headers,
            "client": self.client,
        }

    def environ(self) -> dict[str, Any]:
        """The request as a WSGI environment, as ``connect`` handlers of python-socketio get it."""
        host, port = self.client or ("", 0)
        environ: dict[str, Any] = {
            "wsgi.errors": sys.stderr,
            "wsgi.version": (1, 0),
            "wsgi.async": True,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.url_scheme": self.scheme,
            "SERVER_SOFTWARE": "asgi",
            "SERVER_NAME": "asgi",
            "SERVER_PORT": "0",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SCRIPT_NAME": "",
            "REQUEST_METHOD": self.method,
            "PATH_INFO": self.path,
            "QUERY_STRING": self.query_string,
            "RAW_URI": self.target,
            "REMOTE_ADDR": host,
            "REMOTE_PORT": str(port),
            "asgi.scope": self.scope(),
        }
        environ.update(as_environ(self.headers))
        return environ


def as_environ(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers under their WSGI names; the values of a repeated one are joined by commas."""
    environ: dict[str, str] = {}
    for name, value in headers:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ

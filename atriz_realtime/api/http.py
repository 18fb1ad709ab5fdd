"""HTTP calls as an :class:`~atriz_realtime.api.Endpoint` sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
from starlette.requests import HTTPConnection, Request

from atriz_realtime.api.errors import InvalidRequest
from atriz_realtime.api.model import Credentials
from atriz_realtime.api.wire import decode_json


class Headers(Mapping[str, str]):
    """The headers of a request by name in lower case; of repeated ones the first.

    :param raw: names in lower case and values, in the order of the request.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        wanted = name.encode("latin-1", "replace")
        for each, value in self._raw:
            if each == wanted:
                return value.decode("latin-1")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1") for name, _ in self._raw))

    def __len__(self) -> int:
        return len({name for name, _ in self._raw})


@attrs.frozen(eq=False)
class HttpCall:
    """An HTTP request to an :class:`Endpoint`."""

    headers: Headers
    """Its headers."""
    body: bytes = attrs.field(repr=False)
    """Its whole body, no longer than ``max_body``."""
    address: str | None
    """The caller's network address."""
    offered: Credentials | None = attrs.field(default=None, repr=False)
    """The credentials, when they have been read already."""

    def credentials(self) -> Credentials:
        """What the caller authenticates with."""
        return self.offered or Credentials.from_http(self.headers, self.address)

    def json_object(self) -> dict[str, Any]:
        """The body, read as a JSON object.

        :raises InvalidRequest: when it is anything else.
        """
        return _json_object(self.body)


def credentials_of(request: HTTPConnection) -> Credentials:
    """What the caller of a Starlette route authenticates with."""
    address = request.client.host if request.client else None
    return Credentials.from_http(Headers(request.headers.raw), address)


async def json_object_of(request: Request) -> dict[str, Any]:
    """The body of a request to a Starlette route, read as a JSON object.

    :raises InvalidRequest: when it is anything else.
    :raises PayloadTooLarge: when it is larger than ``max_body``.
    """
    return _json_object(await request.body())


def _json_object(body: bytes) -> dict[str, Any]:
    data = decode_json(body)
    if not isinstance(data, dict):
        raise InvalidRequest("the body must be a JSON object")
    return data


@attrs.frozen(eq=False)
class HttpAnswer:
    """What an :class:`Endpoint` answers."""

    body: bytes
    """JSON."""
    status: int = 200
    """The HTTP status; not one without a body, such as 204."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further headers, such as ``(b"retry-after", b"3")``: names in lower case."""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.body, bytes):
            raise TypeError(f"the body must be bytes, not {type(self.body).__name__}")
        if not 200 <= self.status <= 599 or self.status in (204, 205, 304):
            raise ValueError(f"status {self.status} has no body")

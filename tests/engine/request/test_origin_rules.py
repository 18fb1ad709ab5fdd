"""The rules for origins, and the CORS headers that follow from them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from atriz_realtime.engine.request.origins import Origins
from atriz_realtime.engine.request.request import Request

PAGE = "https://app.example"


def asked(scheme: str = "http", **headers: str) -> Request:
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return Request(("GET / HTTP/1.1\r\n" + "".join(lines)).encode("latin-1"), None, scheme)


@pytest.mark.parametrize(
    ("allowed", "origin", "allows"),
    [
        ("*", PAGE, True),
        (["*"], "null", True),
        ([PAGE], PAGE, True),
        (PAGE, PAGE, True),
        ([PAGE], f"{PAGE}:444", False),
        ([PAGE], f"{PAGE}.evil.example", False),
        ([PAGE], "http://app.example", False),
        ([PAGE], "null", False),
        ([PAGE], "", False),
        ([], PAGE, False),
        ([PAGE], "http://here", False),  # a list does not imply the server's own
        (None, "http://here", True),
        (None, "https://here", False),
        (None, "http://here:8000", False),
        (None, "null", False),
    ],
)
def test_an_origin_is_allowed_or_not(
    allowed: str | Sequence[str] | None, origin: str, allows: bool
) -> None:
    origins, request = Origins(allowed), asked(host="here", origin=origin)
    assert origins.allow(request) is allows
    told = dict(origins.headers(request))
    assert told == (
        {
            b"access-control-allow-origin": origin.encode(),
            b"access-control-allow-credentials": b"true",
            b"vary": b"Origin",
        }
        if allows
        else {}
    )


@pytest.mark.parametrize("allowed", ["*", [PAGE], [], None])
def test_a_request_without_an_origin_is_allowed(allowed: str | Sequence[str] | None) -> None:
    origins, request = Origins(allowed), asked(host="here")
    assert origins.allow(request)
    assert origins.headers(request) == []


@pytest.mark.parametrize(
    ("origin", "allows"),
    [
        ("http://shop.example", True),
        ("http://here", True),
        ("https://shop.example", False),
        ("http://evil.example", False),
    ],
)
def test_the_server_s_own_origin_behind_a_proxy(origin: str, allows: bool) -> None:
    """Forwarding headers count only when they come from trusted proxies."""
    untrusted = {"x_forwarded_host": "evil.example", "x_forwarded_proto": "https"}
    request = asked(host="here", origin=origin, **untrusted)
    request.forwarded_host = "shop.example"
    assert Origins(None).allow(request) is allows


def test_without_a_host_the_server_has_no_origin() -> None:
    assert not Origins(None).allow(asked(origin="http://here"))
    assert Origins(None).allow(asked("https", host="here", origin="https://here"))


def test_a_preflight_is_granted_the_headers_that_it_asks_for() -> None:
    asks = asked(access_control_request_headers="x-a, x-b")
    assert dict(Origins("*").preflight(asks)) == {
        b"access-control-allow-methods": b"OPTIONS, GET, POST",
        b"access-control-allow-headers": b"x-a, x-b",
    }
    assert len(Origins("*").preflight(asked())) == 1

"""A request, parsed from its head."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atriz_realtime.engine.request.request import MAX_PARAMETERS, Request, as_environ

HEAD = (
    b"GET /a%20b/?EIO=4&t=x%2By&t=z+z&flag HTTP/1.1\r\n"
    b"host: here\r\ncookie: a=1\r\nx-two: 1\r\nx-two:2 \r\ncontent-type: text/plain\r\n"
    b"x-odd: caf\xe9\r\n"
)


def made(head: bytes = HEAD, client: tuple[str, int] | None = ("1.2.3.4", 5)) -> Request:
    return Request(head, client, "https")


def test_the_request_line() -> None:
    request = made()
    assert request.method == "GET"
    assert request.target == "/a%20b/?EIO=4&t=x%2By&t=z+z&flag"
    assert request.path == "/a b/"
    assert request.query_string == "EIO=4&t=x%2By&t=z+z&flag"
    assert request.query() == {"EIO": "4", "t": "z z", "flag": ""}


def test_a_line_without_a_query() -> None:
    request = made(b"GET /a HTTP/1.1\r\nhost: ?x=1\r\n")
    assert (request.path, request.query_string) == ("/a", "")
    assert request.query() == {"": ""}


def test_a_bounded_number_of_parameters_is_read() -> None:
    query = "&".join(f"p{n}={n}" for n in range(10 * MAX_PARAMETERS))
    found = made(f"GET /?{query} HTTP/1.1\r\n".encode()).query()
    assert len(found) == MAX_PARAMETERS
    assert found[f"p{MAX_PARAMETERS - 1}"] == str(MAX_PARAMETERS - 1)


def test_headers() -> None:
    request = made()
    assert request.header(b"host") == "here"
    assert request.header(b"x-two") == "1"
    assert request.header(b"x-odd") == "café"
    assert request.header(b"ost") is None
    assert request.header(b"x-none") is None
    assert (b"x-two", b"2") in request.headers
    assert len(request.headers) == 6
    assert made(b"GET / HTTP/1.1\r\n").headers == []


def test_a_header_s_name_is_found_only_at_the_start_of_a_line() -> None:
    request = made(b"GET /?host: HTTP/1.1\r\nx: host: there\r\nhost: here\r\n")
    assert request.header(b"host") == "here"


def scope(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/a b/",
        "raw_path": b"/a%20b/",
        "query_string": b"x=1",
        "headers": [(b"Host", b"here"), (b"x-a", b"1")],
        "client": ("1.2.3.4", 5),
        "scheme": "https",
    } | changes


def test_an_asgi_scope_and_back() -> None:
    request = Request.of_scope(scope())
    assert (request.method, request.target) == ("GET", "/a%20b/?x=1")
    assert request.headers == [(b"host", b"here"), (b"x-a", b"1")]
    assert request.size == len(b"GET /a%20b/?x=1 HTTP/1.1\r\nhost: here\r\nx-a: 1\r\n")
    assert Request.of_scope(request.scope()).scope() == request.scope()
    assert request.scope()["client"] == ("1.2.3.4", 5)


@pytest.mark.parametrize(("given_scheme", "scheme"), [("ws", "http"), ("wss", "https")])
def test_the_scope_of_a_websocket(given_scheme: str, scheme: str) -> None:
    request = Request.of_scope({"path": "/é", "headers": [], "scheme": given_scheme})
    assert (request.method, request.scheme, request.client) == ("GET", scheme, None)
    assert request.target.encode("latin-1").decode() == "/é"


def test_a_client_without_a_port() -> None:
    assert Request.of_scope(scope(client=("unix:", None))).client == ("unix:", 0)


def test_the_wsgi_environment() -> None:
    environ = made().environ()
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"] == "/a b/"
    assert environ["QUERY_STRING"] == "EIO=4&t=x%2By&t=z+z&flag"
    assert environ["RAW_URI"] == "/a%20b/?EIO=4&t=x%2By&t=z+z&flag"
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("1.2.3.4", "5")
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTP_COOKIE"] == "a=1"
    assert environ["HTTP_X_TWO"] == "1,2"
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert environ["asgi.scope"]["path"] == "/a b/"
    assert made(client=None).environ()["REMOTE_ADDR"] == ""


def test_headers_in_the_wsgi_environment() -> None:
    headers = [(b"content-length", b"3"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert as_environ(headers) == {"CONTENT_LENGTH": "3", "HTTP_X_A": "1,2"}


names = st.from_regex(rb"[a-z][a-z-]{0,9}", fullmatch=True)
values = st.from_regex(rb"[!-~]([ -~]{0,9}[!-~])?", fullmatch=True)


@given(st.lists(st.tuples(names, values), max_size=6))
def test_any_headers_are_found(headers: list[tuple[bytes, bytes]]) -> None:
    request = Request.of_scope(scope(headers=headers))
    assert request.headers == headers
    for name, value in reversed(dict(reversed(headers)).items()):
        assert request.header(name) == value.decode()

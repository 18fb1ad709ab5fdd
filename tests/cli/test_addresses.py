"""Binding sockets, and the meaning of hosts."""

from __future__ import annotations

import re
import socket

import click
import pytest

from atriz_realtime.cli.addresses import beyond_loopback, bind, local_url, location, port_of


def test_every_address_of_a_name_gets_the_same_free_port() -> None:
    sockets = bind("localhost", 0)
    try:
        assert {port_of([bound]) for bound in sockets} == {port_of(sockets)}
        assert all(bound.getsockname()[0] in ("127.0.0.1", "::1") for bound in sockets)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("localhost", port_of(sockets)))
        for each in sockets:
            each.listen()
        with socket.create_connection(("localhost", port_of(sockets))):
            pass
    finally:
        for bound in sockets:
            bound.close()


def test_a_port_in_use_gives_the_reason_and_binds_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            click.ClickException, match=re.escape(f"127.0.0.1:{port}: the port is in use")
        ):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.0.2.1", "this machine has no such address"),  # TEST-NET-1
        ("no-such-host.invalid", "no such host"),
        ("a" * 70, "no such host"),
    ],
)
def test_an_unusable_host_gives_the_reason(host: str, reason: str) -> None:
    with pytest.raises(click.ClickException, match=reason):
        bind(host, 0)


@pytest.mark.parametrize(
    ("host", "beyond", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:80"),
        ("127.8.9.10", False, "http://127.8.9.10:80"),
        ("::1", False, "http://[::1]:80"),
        ("localhost", False, "http://localhost:80"),
        ("0.0.0.0", True, "http://127.0.0.1:80"),
        ("::", True, "http://[::1]:80"),
        ("192.0.2.1", True, "http://192.0.2.1:80"),
    ],
)
def test_hosts_beyond_loopback_are_recognised(host: str, beyond: bool, url: str) -> None:
    assert beyond_loopback(host) is beyond
    assert local_url(host, 80) == url


def test_an_ipv6_address_is_bracketed() -> None:
    assert location("::1", 80) == "[::1]:80"
    assert location("localhost", 80) == "localhost:80"

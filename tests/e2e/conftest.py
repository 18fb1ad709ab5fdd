"""Servers on each backend, and clients of each library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.clients.node import (
    JS,
    Node,
    js_connect,
    node_clients,
    node_process,
    with_packages,
)
from tests.support.clients.python_socketio import Connect, Serve, python_connect
from tests.support.servers.serving import Live, serving


@pytest.fixture(scope="session")
def node() -> Path:
    """The folder of the JavaScript client, with its dependencies installed."""
    return with_packages(JS)


@pytest.fixture(scope="session")
def node_port() -> Iterator[int]:
    """The port of a process that opens sockets of the JavaScript client."""
    with node_process() as port:
        yield port


@pytest.fixture
async def js(node_port: int) -> AsyncIterator[Node]:
    """Opens sockets of the JavaScript client, for one test."""
    async with node_clients(node_port) as node:
        yield node


@pytest.fixture(params=["memory", "redis"])
def backend_url(request: pytest.FixtureRequest) -> str | None:
    """The URL of the server's backend: none for memory, then Redis'."""
    return request.getfixturevalue("redis_url") if request.param == "redis" else None


@pytest.fixture
def serve(backend_url: str | None) -> Serve:
    """Start servers on the backend of the test."""
    return partial(serving, redis_url=backend_url)


@pytest.fixture
async def live(serve: Serve) -> AsyncIterator[Live]:
    """A server with the tests' usual settings."""
    async with serve() as live:
        yield live


@pytest.fixture(params=["js-websocket", "js-upgrade", "python"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Open clients: JavaScript's over a websocket alone, and with an upgrade; and Python's."""
    if request.param == "python":
        return python_connect
    node: Node = request.getfixturevalue("js")
    if request.param == "js-websocket":
        return js_connect(node, transports=["websocket"])
    return js_connect(node)

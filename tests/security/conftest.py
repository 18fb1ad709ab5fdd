"""Servers on both transports of uvicorn, the JavaScript client, and further Valkeys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import pytest_asyncio

from atriz_realtime import testing
from tests.e2e.conftest import js, node_port
from tests.faults.conftest import maker
from tests.support.servers.serving import Live

__all__ = ["js", "live", "maker", "node_port", "serve"]

Serve = Callable[..., AbstractAsyncContextManager[Live]]


@pytest.fixture(params=["uvicorn", "asgi"], scope="module")
def serve(request: pytest.FixtureRequest) -> Serve:
    """Start a server on one of the two transports."""
    return partial(testing.serving, portable=request.param == "asgi")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(serve: Serve) -> AsyncIterator[Live]:
    """A server with the tests' usual settings."""
    async with serve() as live:
        yield live

"""An engine on each transport, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.engine.host import Host, hosting
from tests.support.servers.transports import Transport


@pytest.fixture(scope="module", params=["uvicorn", "asgi", "hypercorn"])
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each websocket transport."""
    transport: Transport = request.param
    return transport


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(transport: Transport) -> AsyncIterator[Host]:
    """An application that echoes each message."""
    async with hosting(transport) as host:
        yield host

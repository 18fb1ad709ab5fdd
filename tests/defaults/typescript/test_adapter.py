"""What bounds an adapter."""

from __future__ import annotations

import asyncio

import pytest

from atriz_realtime.defaults.typescript import adapter as module
from atriz_realtime.defaults.typescript.adapter import Adapter
from atriz_realtime.defaults.typescript.classic import ClassicAdapter, RequestType
from atriz_realtime.defaults.typescript.codec import NAMESPACE
from atriz_realtime.defaults.typescript.sharded import MessageType, ShardedAdapter
from atriz_realtime.testing import until
from tests.core.parts import UNUSED, Away, Fanned

REQUESTS = {
    ClassicAdapter: (
        "socket.io-request#/#",
        {"type": RequestType.SERVER_SIDE_EMIT, "requestId": "1", "uid": "them"},
    ),
    ShardedAdapter: (
        "socket.io#/#",
        {
            "nsp": NAMESPACE,
            "type": MessageType.SERVER_SIDE_EMIT,
            "uid": "them",
            "data": {"requestId": "1"},
        },
    ),
}


@pytest.mark.parametrize("kind", [ClassicAdapter, ShardedAdapter])
async def test_beyond_the_responses_in_flight_requests_go_unanswered(
    kind: type[Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RESPONSES_IN_FLIGHT", 1)
    reported: list[str] = []
    carrier = Away(Fanned())
    carrier.gate = asyncio.Event()
    adapter = kind(
        carrier=carrier,
        key="socket.io",
        uid="us",
        members=UNUSED,
        received=UNUSED,
        report=lambda kind, _: reported.append(kind),
    )
    for _ in range(3):
        adapter.handle(*REQUESTS[kind])
    assert carrier.calls == ["publish"]
    assert reported == ["bridge request unanswered"] * 2
    carrier.gate.set()
    await until(lambda: not adapter._responses_in_flight)
    adapter.handle(*REQUESTS[kind])
    assert carrier.calls == ["publish"] * 2
    await adapter.aclose()

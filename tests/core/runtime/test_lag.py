"""How far clients are behind, counted over real sessions."""

from __future__ import annotations

import time

from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE
from atriz_realtime.core.runtime.lag import ClientLag
from tests.core.parts import Hub


def event(number: int) -> bytes:
    return b'{"n":%d,"location":{"timestamp":"2026-01-31T12:00:%02d.000Z"}}' % (number, number)


async def test_a_client_that_takes_nothing_lags_until_it_takes_again() -> None:
    hub = Hub(max_pending_frames=2)
    lag = ClientLag(hub.rooms.server.eio.sockets)
    slow, held, quick = [await hub.connect() for _ in range(3)]
    assert lag.statistics() == {"lagging": 0, "lag": 0, "waiting": 0}
    for member in (slow, quick):
        hub.enter(member, "vehicle:v1")
    hub.enter(held, "vehicle:v2")
    slow.session.hold()
    held.session.hold()
    await hub.rooms.emit("control", 1, DEFAULT_NAMESPACE, room=held.sid)
    hub.broadcaster.broadcast("vehicle:v2", event(1))
    assert lag.statistics() == {"lagging": 0, "lag": 0, "waiting": 1}
    began = time.monotonic()
    for number in range(10):
        hub.broadcaster.broadcast("vehicle:v1", event(number))
    first, second = lag.statistics(), lag.statistics()
    assert (first["lagging"], first["waiting"]) == (1, 2)
    assert 0 <= first["lag"] <= second["lag"] <= time.monotonic() - began
    slow.session.release()
    held.session.release()
    assert lag.statistics() == {"lagging": 0, "lag": 0, "waiting": 0}

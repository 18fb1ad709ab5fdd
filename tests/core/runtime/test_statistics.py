"""The numbers of a server's parts."""

from __future__ import annotations

import math
import time
from typing import Any

import attrs
import pytest

from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.statistics import ClientLag, Statistics
from tests.core.parts import Hub


@attrs.define
class Part:
    """Returns its numbers, or raises them."""

    numbers: Any

    def statistics(self) -> Any:
        if isinstance(self.numbers, Exception):
            raise self.numbers
        return self.numbers


def test_every_reading_asks_each_part_that_has_numbers(incidents: Incidents) -> None:
    statistics, part = Statistics(incidents), Part({"lag": 0.5})
    statistics.add("one", part)
    statistics.add("other", Part({}))
    statistics.add("no numbers", object())
    assert statistics.read() == {"one": {"lag": 0.5}, "other": {}}
    part.numbers["lag"] = 1
    assert statistics.read()["one"] == {"lag": 1}


@pytest.mark.parametrize(
    "broken",
    [LookupError("a bug"), None, {"lag": "0.5"}, {"lag": None}, {"lag": math.nan}, {1: 1.0}],
    ids=repr,
)
def test_a_part_that_fails_is_counted_and_left_out(incidents: Incidents, broken: Any) -> None:
    statistics = Statistics(incidents)
    statistics.add("broken", Part(broken), "scales")
    statistics.add("whole", Part({"sent": 3}), "scales")
    assert statistics.read() == {"whole": {"sent": 3}}
    assert incidents.counts == {"plugin scales failed": 1}


# -- lagging clients -----------------------------------------------------------------------


def event(number: int) -> bytes:
    return b'{"n":%d,"location":{"timestamp":"2026-01-31T12:00:%02d.000Z"}}' % (number, number)


async def test_a_client_lags_until_its_connection_takes_frames_again() -> None:
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
    started = time.monotonic()
    for number in range(10):
        hub.broadcaster.broadcast("vehicle:v1", event(number))
    first, second = lag.statistics(), lag.statistics()
    assert (first["lagging"], first["waiting"]) == (1, 2)
    assert 0 <= first["lag"] <= second["lag"] <= time.monotonic() - started
    slow.session.release()
    held.session.release()
    assert lag.statistics() == {"lagging": 0, "lag": 0, "waiting": 0}

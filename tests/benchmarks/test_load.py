"""The load generator counts exactly what a real server delivers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from atriz_realtime.api import EntityRef, Location, LocationEvent, encode
from tests.benchmarks import load
from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.fixes import EVENT_BYTES, Fix, token
from tests.benchmarks.frames import UPGRADE
from tests.benchmarks.load import Meter, Publishing
from tests.benchmarks.measure import Server, server
from tests.benchmarks.page import compared
from tests.benchmarks.results import Results
from tests.benchmarks.scenarios import swarm_at
from tests.benchmarks.swarm import Client, LoadError, Swarm, microseconds

WATCHERS = 5


@pytest.fixture(scope="module")
def ours() -> Iterator[Server]:
    with server(CONTESTANTS[0].command, "", CONTESTANTS[0].environment) as started:
        yield started


@pytest.fixture
def swarm(ours: Server) -> Iterator[Swarm]:
    with swarm_at(ours, 2) as made:
        made.connect((token(f"u{number}"), ["v1", "v2"]) for number in range(WATCHERS))
        yield made


def test_every_delivery_is_counted(ours: Server, swarm: Swarm) -> None:
    swarm.timed = True
    meter = Meter(ours, swarm)
    publishing = Publishing(swarm, [Fix("v1"), Fix("v2")], WATCHERS)
    publishing.closed_loop(0.1, 3)
    publishing.at_rate(0.1, 100)
    publishing.drain()
    work = meter.read()
    assert publishing.published == work.published == swarm.answered > 10
    assert work.delivered == swarm.delivered == len(swarm.latencies)
    assert swarm.delivered == publishing.published * WATCHERS
    assert publishing.written_off == swarm.closed == 0
    assert all(0 < latency < 10e6 for latency in swarm.latencies)


def test_missing_deliveries_are_written_off(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WRITE_OFF", 0.2)
    swarm.clients[0].stall()
    publishing = Publishing(swarm, [Fix("v1")], WATCHERS)
    publishing.closed_loop(0.05, 2)
    publishing.drain()
    assert publishing.written_off == publishing.published > 0
    assert publishing.missing == 0


def test_a_refusal_ends_a_run(swarm: Swarm) -> None:
    with pytest.raises(LoadError, match="Not authenticated"):
        swarm.connect([("not a token", ["v1"])])


def test_frames_arrive_in_pieces() -> None:
    def frame(payload: bytes) -> bytes:
        return bytes((0x81, 126)) + len(payload).to_bytes(2) + payload

    updates = frame(b'42["location:update",{"x":1}]') + frame(b'42["location:update",{"x":22}]')
    with socket.create_server(("127.0.0.1", 0)) as listener:
        swarm = Swarm(listener.getsockname()[1])
        swarm.clients.append(Client(swarm, "token", ["v1"], distant=False))
        with listener.accept()[0] as peer:
            assert peer.recv(4096) == UPGRADE
            for byte in b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + updates + frame(b"2"):
                peer.send(bytes((byte,)))
                swarm.turn(1.0)
            pong = peer.recv(4096)
        swarm.close()
    assert swarm.delivered == 2
    assert (pong[:2], pong[2] ^ pong[6]) == (bytes((0x81, 0x81)), ord("3"))


def test_an_event_has_the_size_that_is_asked_for() -> None:
    fields = json.loads(Fix("v0000").body(microseconds()))
    entity = fields.pop("vehicleId")
    location = Location.from_wire({"deviceId": entity, "userId": "publisher0", **fields})
    event = LocationEvent(EntityRef("vehicle", entity), location)
    assert len(encode(event).event) == EVENT_BYTES


def test_a_ratio_is_taken_within_each_run() -> None:
    results = Results({})
    for ours, theirs in ((1.0, 2.0), (30.0, 10.0), (4.0, 5.0)):
        results.add("fleet", "atriz", {"cpu": ours})
        results.add("fleet", "bun", {"cpu": theirs})
    results.add("fleet", "node", {})
    assert results.median("fleet", "atriz", "cpu") == 4.0
    assert results.ratio("fleet", "bun", "cpu") == 0.8
    assert results.median("fleet", "node", "cpu") is None
    assert results.ratio("fleet", "node", "cpu") is None
    assert [compared(each, 0.85) for each in (0.8, 0.9)] == ["0.80 ≤ 0.85", "0.90 > 0.85"]

"""The load generator counts exactly what a real server delivers."""

from __future__ import annotations

import gzip
import json
import select
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from atriz_realtime.api import EntityRef, Location, LocationEvent, encode
from tests.benchmarks import load
from tests.benchmarks.clients import OrdinaryClient, PlainClient, Transport
from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.exchange import HttpConnection, complete_body
from tests.benchmarks.fixes import EVENT_BYTES, Fix, token
from tests.benchmarks.frames import UPGRADE
from tests.benchmarks.load import Meter, Publishing
from tests.benchmarks.measure import Server, server
from tests.benchmarks.page import compared, how_many
from tests.benchmarks.results import Results
from tests.benchmarks.results import load as load_results
from tests.benchmarks.scenario import swarm_at
from tests.benchmarks.scenarios import days
from tests.benchmarks.swarm import LoadError, Swarm, microseconds

WATCHERS = 5


@pytest.fixture(scope="module")
def ours() -> Iterator[Server]:
    with server(CONTESTANTS[0].command, "", CONTESTANTS[0].environment) as started:
        yield started


@pytest.fixture
def swarm(ours: Server) -> Iterator[Swarm]:
    with swarm_at(ours, 2) as made:
        made.connect(
            PlainClient, ((token(f"u{number}"), ["v1", "v2"]) for number in range(WATCHERS))
        )
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
        swarm.connect(PlainClient, [("not a token", ["v1"])])


@pytest.mark.parametrize("transport", Transport)
def test_an_ordinary_client_waits_for_cached_locations_and_counts_what_follows(
    ours: Server, transport: Transport
) -> None:
    ids = [f"{transport.name.lower()}{number}" for number in range(3)]
    fixes = [Fix(each) for each in ids]
    with swarm_at(ours, 1) as swarm:
        Publishing(swarm, fixes, 0).once()
        swarm.connect(partial(OrdinaryClient, transport=transport), [(token("u1"), ids)])
        assert (swarm.tracking, swarm.delivered) == (1, 0)
        swarm.timed = True
        publishing = Publishing(swarm, fixes, 1)
        publishing.once()
        assert publishing.written_off == swarm.closed == 0
        assert swarm.delivered == len(swarm.latencies) == len(ids)


def test_entities_are_tracked_singly_and_as_a_list(ours: Server) -> None:
    singly, listed = ([f"{way}{number}" for number in range(3)] for way in ("singly", "listed"))
    with swarm_at(ours, 1) as swarm:
        Publishing(swarm, [Fix(each) for each in singly + listed], 0).once()
        swarm.connect(partial(OrdinaryClient, transport=Transport.WEBSOCKET), [(token("u1"), [])])
        (client,) = swarm.clients
        assert isinstance(client, OrdinaryClient)
        for number, ids in enumerate((singly, listed)):
            client.track(ids, at_once=ids is listed)
            swarm.progress(lambda: swarm.tracking == 2 + number)  # noqa: B023
        assert client.missing == 0


def test_what_another_swarm_receives_is_read_in_the_same_turns(ours: Server) -> None:
    with swarm_at(ours, 1) as swarm, swarm_at(ours, 0) as other:
        other.connect(PlainClient, [(token("u1"), ["beside"])])
        swarm.read_beside(other)
        publishing = Publishing(swarm, [Fix("beside")], 0)
        publishing.at_rate(20, 100, lambda: other.delivered < 3)
        assert other.delivered >= 3
        assert swarm.delivered == 0


def test_clients_that_come_back_track_again_while_others_are_served(ours: Server) -> None:
    with swarm_at(ours, 1) as swarm, swarm_at(ours, 0) as returning:
        Publishing(swarm, [Fix(each) for each in days.IDS[:3]], 0).once()
        swarm.read_beside(returning)
        coming = days.Storm(returning, 3)
        publishing = Publishing(swarm, [Fix("served")], 0)
        publishing.at_rate(20, 100, coming.goes_on)
        assert returning.tracking == coming.opened == 3
        assert publishing.published > 0


def test_a_connection_waits_until_the_server_has_room_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        swarm = Swarm(listener.getsockname()[1])
        arrived: list[str] = []
        sockets = [swarm.open(partial(arrived.append, "")) for _ in range(3)]
        for number, sock in enumerate(sockets):
            swarm.send(sock, b"%d" % number)
        received = set()
        for _ in sockets:
            while not select.select([listener], [], [], 0.05)[0]:
                swarm.turn(0)
            peer = listener.accept()[0]
            swarm.turn(0.1)
            received.add(peer.recv(16))
            peer.close()
        for sock in sockets:
            sock.close()
        swarm.close()
    assert received == {b"0", b"1", b"2"}


def test_a_refusal_ends_a_run_of_an_ordinary_client(ours: Server) -> None:
    with swarm_at(ours, 0) as swarm, pytest.raises(LoadError, match="refused"):
        swarm.connect(OrdinaryClient, [("not a token", ["v1"])])


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 5", b"hello"),
        (b"transfer-encoding: chunked", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        (b"Content-Encoding: gzip\r\nContent-Length: 25", gzip.compress(b"hello", mtime=0)),
    ],
)
def test_a_body_is_decoded_once_it_is_complete(head: bytes, body: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body
    assert [complete_body(answer[:size]) for size in range(len(answer))] == [None] * len(answer)
    assert complete_body(answer) == b"hello"


def test_a_request_is_repeated_unless_a_part_of_its_answer_has_come() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    answers: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        swarm = Swarm(listener.getsockname()[1])
        connection = HttpConnection(swarm)
        connection.request(b"first", answers.append)
        with listener.accept()[0] as peer:
            assert peer.recv(16) == b"first"
            peer.send(answer)
            swarm.turn(1.0)
        connection.request(b"second", answers.append)
        swarm.turn(1.0)
        with listener.accept()[0] as peer:
            assert peer.recv(16) == b"second"
            peer.send(answer)
            swarm.turn(1.0)
            connection.request(b"third", answers.append)
            peer.send(answer[:5])
            swarm.turn(1.0)
        with pytest.raises(LoadError, match="owed an answer to b'third'"):
            swarm.turn(1.0)
        swarm.close()
    assert answers == [b"ok", b"ok"]


def test_frames_arrive_in_pieces() -> None:
    def frame(payload: bytes) -> bytes:
        return bytes((0x81, 126)) + len(payload).to_bytes(2) + payload

    updates = frame(b'42["location:update",{"x":1}]') + frame(b'42["location:update",{"x":22}]')
    with socket.create_server(("127.0.0.1", 0)) as listener:
        swarm = Swarm(listener.getsockname()[1])
        swarm.clients.append(PlainClient(swarm, "token", ["v1"]))
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


def test_results_of_several_files_are_one(tmp_path: Path) -> None:
    for name, figures in (("first", {"cpu": 1.0}), ("second", {"cpu": 3.0})):
        results = Results({})
        results.add("fleet", "atriz", figures)
        if name == "second":
            results.add("fleet", "bun", figures)
        results.save(tmp_path / name)
    merged = load_results([tmp_path / "first", tmp_path / "second"])
    assert merged.median("fleet", "atriz", "cpu") == 2.0
    assert merged.counts() == {"atriz": 2, "bun": 1}
    assert how_many(merged) == "1 run of Bun, 2 runs of atriz-realtime"
    assert [compared(each, 0.85) for each in (0.8, 0.9)] == ["0.80 ≤ 0.85", "0.90 > 0.85"]

"""What is sent at once keeps the event loop for a short time, by one client or by many."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter

import pytest
import uvloop

from atriz_realtime.engine import EngineServer, turns
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.session import MAX_INBOX, Session
from atriz_realtime.engine.transports.polling import COMPRESS_FROM
from atriz_realtime.engine.transports.uvicorn import SMALL_FRAGMENT
from tests.engine.host import Exchanged, Host, hosting
from tests.support.checks.turns import HeldTurns, counting_turns
from tests.support.clients.polling import polling
from tests.support.clients.websocket import (
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close,
    engine_wire,
    frame,
    wire,
)
from tests.support.servers.serving import TIMEOUT, until
from tests.support.servers.transports import ON_UVICORN, Transport

COUNT = 500


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handle one packet in each turn."""
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(turns, "SHARE", 0.0)


@pytest.mark.parametrize("awaits", [False, True], ids=["functions", "coroutines"])
@ON_UVICORN
async def test_messages_of_one_read_are_handled_in_order_in_many_turns(
    transport: Transport, awaits: bool
) -> None:
    async with hosting(transport) as host, counting_turns() as turn:
        seen: list[int] = []

        def handle(sid: str, data: str) -> None:
            host.messages[sid].append(data)
            seen.append(turn[0])

        async def handle_later(sid: str, data: str) -> None:
            handle(sid, data)

        host.engine.on("message", handle_later if awaits else handle)
        async with engine_wire(host.port) as socket:
            socket.write(b"".join(frame(TEXT, f"4{number}") for number in range(COUNT)))
            await until(lambda: len(seen) == COUNT)
            assert host.messages[socket.sid] == [str(number) for number in range(COUNT)]
            assert seen[-1] - seen[0] >= COUNT - 1


@ON_UVICORN
async def test_the_messages_of_many_websockets_share_each_turn(transport: Transport) -> None:
    async with hosting(transport) as host, contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(engine_wire(host.port)) for _ in range(10)]
        handled: Counter[int] = Counter()
        turn = await stack.enter_async_context(counting_turns())

        def handle(sid: str, data: str) -> None:
            host.messages[sid].append(data)
            handled[turn[0]] += 1

        host.engine.on("message", handle)
        for socket in sockets:  # in one turn
            socket.write(b"".join(frame(TEXT, f"4{number}") for number in range(20)))
        await until(lambda: handled.total() == 200)
    expected = [str(number) for number in range(20)]
    assert all(host.messages[socket.sid] == expected for socket in sockets)
    assert max(handled.values()) <= (1 if transport == "uvicorn" else turns.TASKS_PER_TURN)


async def test_other_work_that_makes_turns_long_leaves_packets_a_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(turns, "perf_counter", lambda: now[0])
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.001)
    monkeypatch.setattr(turns, "SHARE", 0.25)
    queue = turns.TurnQueue()
    handled = [0]

    def handle() -> None:
        now[0] += 0.0005
        handled[0] += 1

    for _ in range(100):
        queue.defer(handle)
    for others, expected in ((0.0, 2), (0.0, 2), (0.008, 4), (0.08, 40), (0.0, 2)):
        before = handled[0]
        now[0] += others
        await asyncio.sleep(0)
        assert handled[0] - before == expected


async def test_messages_of_one_post_are_handled_in_order_in_many_turns() -> None:
    async with hosting("uvicorn") as host, counting_turns() as turn:
        seen: list[int] = []
        host.engine.on("message", lambda *_: seen.append(turn[0]))
        async with polling(host.port, "/engine.io/") as client:
            assert (await client.post("\x1e".join(["4x"] * COUNT))).status == 200
        assert len(seen) == COUNT
        assert seen[-1] - seen[0] >= COUNT - 1


def unserved(clients: int) -> Host:
    """An application without a server, with so many sessions that poll."""
    host = Host(EngineServer())
    host.engine.on("connect", lambda *_: None)
    for _ in range(clients):
        host.engine.polling.answer(Exchanged("GET", ""))
    return host


async def test_the_posts_of_many_clients_are_handled_in_order_in_many_turns() -> None:
    host = unserved(10)
    seen: list[tuple[str, int]] = []
    async with counting_turns() as turn:
        await asyncio.sleep(0)  # the first turn begins
        host.engine.on("message", lambda sid, _: seen.append((sid, turn[0])))
        sids = list(host.engine.sockets)
        posts = [Exchanged("POST", f"sid={sid}", b"4x") for sid in sids]
        for post in posts:  # in one turn
            host.engine.polling.answer(post)
        assert [sid for sid, _ in seen] == sids[:1]
        await until(lambda: all(post.status == 200 for post in posts))
    assert [sid for sid, _ in seen] == sids
    assert len({number for _, number in seen}) == len(sids)


async def test_posts_of_many_packets_share_each_turn() -> None:
    host = unserved(10)
    handled: Counter[int] = Counter()
    async with counting_turns() as turn:
        await asyncio.sleep(0)  # the first turn begins

        def handle(sid: str, data: str) -> None:
            host.messages[sid].append(data)
            handled[turn[0]] += 1

        host.engine.on("message", handle)
        body = b"\x1e".join(b"4%d" % number for number in range(20))
        posts = [Exchanged("POST", f"sid={sid}", body) for sid in host.engine.sockets]
        for post in posts:
            host.engine.polling.answer(post)
        await until(lambda: all(post.status == 200 for post in posts))
    expected = [str(number) for number in range(20)]
    assert all(host.messages[sid] == expected for sid in host.engine.sockets)
    assert set(handled.values()) == {1}


async def test_messages_that_wait_in_many_sessions_share_each_turn() -> None:
    count, waiting = 3 * turns.TASKS_PER_TURN, 5
    host = unserved(count)
    await until(lambda: len(host.engine.sockets) == count)
    may_finish = asyncio.Event()
    handled: Counter[int] = Counter()
    async with counting_turns() as turn:

        async def handle(sid: str, data: str) -> None:
            await may_finish.wait()
            host.messages[sid].append(data)
            handled[turn[0]] += 1

        host.engine.on("message", handle)
        sessions: list[Session] = list(host.engine.sockets.values())
        for session in sessions:
            for number in range(waiting + 1):
                session.receive_message(str(number))
        may_finish.set()
        await asyncio.gather(*(session.handled() for session in sessions))
    expected = [str(number) for number in range(waiting + 1)]
    assert all(host.messages[session.sid] == expected for session in sessions)
    assert handled.pop(min(handled)) == count  # those that had been begun
    assert set(handled.values()) == {1}


@pytest.mark.parametrize(
    ("cost", "expected"),
    [(2**-8, 1), (2**-11, 2), (2**-12, 4), (2**-20, turns.TASKS_PER_TURN)],
)
async def test_tasks_share_the_time_of_each_turn_in_order(
    monkeypatch: pytest.MonkeyPatch, cost: float, expected: int
) -> None:
    now = [100.0]
    monkeypatch.setattr(turns, "perf_counter", lambda: now[0])
    monkeypatch.setattr(turns, "TURN_SECONDS", 2**-10)
    queue, count = turns.TurnQueue(), 3 * turns.TASKS_PER_TURN
    handled: list[int] = []
    in_turn: Counter[int] = Counter()
    async with counting_turns() as turn:

        async def handle(number: int) -> None:
            await queue.next()
            handled.append(number)
            in_turn[turn[0]] += 1
            now[0] += cost

        await asyncio.gather(*(handle(number) for number in range(count)))
    assert handled == list(range(count))
    assert set(in_turn.values()) == {expected}


async def test_tasks_that_come_meanwhile_wait_behind_those_that_had_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(turns, "perf_counter", lambda: now[0])
    queue, handled = turns.TurnQueue(), list[str]()

    async def handle(name: str, *following: str) -> None:
        await queue.next()
        handled.append(name)
        now[0] += 1.0
        await asyncio.gather(*(handle(each) for each in following))

    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(handle("a", "d", "e"), handle("b"), handle("c", "f"))
    assert handled == ["a", "b", "c", "d", "e", "f"]


async def test_tasks_that_were_cancelled_take_no_turn_from_the_others() -> None:
    queue = turns.TurnQueue()
    cancelled = [asyncio.create_task(queue.next()) for _ in range(3 * turns.TASKS_PER_TURN)]
    last = asyncio.create_task(queue.next())
    await asyncio.sleep(0)  # all of them wait
    async with counting_turns() as turn:
        for task in cancelled:
            task.cancel()
        await last
        assert turn[0] <= 3


class Compressed(Exchanged):
    """A poll of a client that accepts gzip."""

    def __init__(self, sid: str) -> None:
        super().__init__("GET", f"sid={sid}", headers="Accept-Encoding: gzip\r\n")

    def is_unread(self) -> bool:
        """Whether there is no response yet."""
        return self.status is None


def unanswered(host: Host) -> list[Compressed]:
    """Polls whose answers wait for their turns, all but the first."""
    polls = [Compressed(sid) for sid in host.engine.sockets]
    for session, poll in zip(host.engine.sockets.values(), polls, strict=True):
        host.engine.polling.answer(poll)
        session.put(Packet(b"4".ljust(COMPRESS_FROM, b"x")))
        session.flush()
    assert [poll.status for poll in polls] == [200] + [None] * (len(polls) - 1)
    return polls


async def test_answers_are_compressed_in_order_in_many_turns() -> None:
    host = unserved(10)
    answered: list[int] = []
    async with counting_turns() as turn:
        polls = unanswered(host)
        while not all(poll.status for poll in polls):
            answered.append(sum(poll.status == 200 for poll in polls))
            assert [poll.status is None for poll in polls] == sorted(
                poll.status is None for poll in polls
            )
            await asyncio.sleep(0)
        assert turn[0] >= len(polls) - 2
    assert max(after - before for before, after in itertools.pairwise(answered)) == 1
    assert {tuple(poll.packets) for poll in polls} == {("4".ljust(COMPRESS_FROM, "x"),)}


async def test_packets_sent_while_an_answer_waits_are_for_the_next_poll() -> None:
    host = unserved(2)
    polls = unanswered(host)
    session: Session = list(host.engine.sockets.values())[1]
    session.put(Packet(b"4y"))
    session.flush()
    await until(lambda: polls[1].status == 200)
    following = Compressed(session.sid)
    host.engine.polling.answer(following)
    assert following.packets == ["4y"]


async def test_a_second_poll_while_an_answer_waits_closes_the_session() -> None:
    host = unserved(2)
    polls = unanswered(host)
    second = Compressed(list(host.engine.sockets)[1])
    host.engine.polling.answer(second)
    assert second.status == 400
    await until(lambda: polls[1].status == 200)
    assert len(host.engine.sockets) == 1


async def test_a_session_that_ends_while_its_answer_waits_sends_it_and_says_so() -> None:
    host = unserved(2)
    polls = unanswered(host)
    session: Session = list(host.engine.sockets.values())[1]
    host.engine.sessions.end(session, host.engine.reason.SERVER_DISCONNECT)
    await until(lambda: polls[1].status == 200)
    last = Compressed(session.sid)
    host.engine.polling.answer(last)
    assert (polls[1].packets[0][0], last.packets) == ("4", ["1"])


async def test_a_client_that_goes_away_while_its_answer_waits_ends_its_session() -> None:
    host = unserved(2)
    sid = list(host.engine.sockets)[1]
    poll = unanswered(host)[1]
    assert poll.abandoned is not None
    poll.abandoned()
    assert await host.until_ended(sid) == "transport close"


async def test_a_post_whose_session_ends_while_it_waits_is_refused() -> None:
    host = unserved(2)
    posts = [Exchanged("POST", f"sid={sid}", b"4x") for sid in host.engine.sockets]
    first, second = list(host.engine.sockets.values())
    for post in posts:
        host.engine.polling.answer(post)
    host.engine.sessions.end(second, host.engine.reason.SERVER_DISCONNECT)
    await until(lambda: posts[1].status is not None)
    assert [post.status for post in posts] == [200, 400]
    assert (host.messages[first.sid], host.messages[second.sid]) == (["x"], [])


async def test_frames_without_a_message_take_turns_as_well() -> None:
    fragments = frame(TEXT, "4", fin=False) + frame(CONTINUATION, fin=False) * COUNT
    async with hosting("uvicorn") as host, engine_wire(host.port) as socket:
        for flood, answers in ((frame(PONG) * COUNT, 0), (frame(PING) * COUNT, COUNT)):
            async with counting_turns() as turn:
                socket.write(flood, frame(TEXT, "4x"))
                for _ in range(answers):
                    assert await socket.frame() == Frame(PONG, b"")
                assert await socket.message() == "4x"
                assert turn[0] >= COUNT
        async with counting_turns() as turn:
            socket.write(fragments, frame(CONTINUATION, "y"))
            assert await socket.message() == "4y"
            assert turn[0] >= COUNT


async def test_no_more_is_read_than_the_inbox_holds() -> None:
    async with hosting("uvicorn") as host, engine_wire(host.port) as socket:
        may_finish = asyncio.Event()

        async def handle(sid: str, data: str) -> None:
            await may_finish.wait()
            host.messages[sid].append(data)

        host.engine.on("message", handle)
        socket.write(b"".join(frame(TEXT, f"4{number}") for number in range(COUNT)))
        session: Session = host.engine.sockets[socket.sid]
        await until(lambda: session.is_busy)
        for _ in range(2 * COUNT):
            await asyncio.sleep(0)
        assert session._inbox is not None
        assert len(session._inbox) == MAX_INBOX
        may_finish.set()
        await until(lambda: len(host.messages[socket.sid]) == COUNT)
        assert host.messages[socket.sid] == [str(number) for number in range(COUNT)]


async def test_what_was_read_before_the_connection_broke_is_handled() -> None:
    async with hosting("uvicorn") as host, engine_wire(host.port) as socket:
        transport = host.engine.sockets[socket.sid].transport

        def handle(sid: str, data: str) -> None:
            if not host.messages[sid]:
                transport.abort()
            host.messages[sid].append(data)

        host.engine.on("message", handle)
        socket.write(b"".join(frame(TEXT, f"4{number}") for number in range(COUNT)))
        assert await host.until_ended(socket.sid) == "transport close"
        assert host.messages[socket.sid] == [str(number) for number in range(COUNT)]


@pytest.mark.parametrize(
    "last", [frame(PING, "late"), frame(3), close(1000)], ids=["ping", "broken", "close"]
)
def test_nothing_is_written_to_a_connection_that_broke_meanwhile(last: bytes) -> None:
    failures: list[object] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, seen: failures.append(seen))
        async with hosting("uvicorn") as host, engine_wire(host.port) as socket:
            transport = host.engine.sockets[socket.sid].transport

            async def handle(sid: str, data: str) -> None:
                if not host.messages[sid]:
                    transport.abort()
                host.messages[sid].append(data)
                await host.engine.send(sid, data)

            host.engine.on("message", handle)
            socket.write(b"".join(frame(TEXT, f"4{number}") for number in range(50)) + last)
            assert await host.until_ended(socket.sid) == "transport close"

    uvloop.run(run())  # its transports raise when they are written to after their end
    assert failures == []


async def test_an_upgrade_that_broke_before_its_turn_leaves_the_session_polling() -> None:
    async with hosting("uvicorn") as host, polling(host.port, "/engine.io/") as client:
        target = f"/engine.io/?EIO=4&transport=websocket&sid={client.sid}"
        async with wire(host.port, target) as socket:
            queue, held = host.engine.sessions.turns, HeldTurns()
            host.engine.sessions.turns = held
            socket.write(frame(TEXT, "2probe") + frame(TEXT, "5"))
            [handle] = await until(lambda: held.held)
            host.engine.sessions.turns = queue
            broken = handle.__self__
            broken.abort()
            await until(lambda: broken not in broken._connections)
            handle()
        await client.echoes()
        assert not host.ended[client.sid]


async def test_a_session_does_not_expire_while_its_pong_waits_for_its_turn() -> None:
    async with (
        hosting("uvicorn", ping_interval=0.02) as host,
        engine_wire(host.port) as socket,
    ):
        sessions, session = host.engine.sessions, host.engine.sockets[socket.sid]
        queue, held = sessions.turns, HeldTurns()
        sessions.turns = held
        assert await socket.message() == "2"
        socket.send("3")
        [handle] = await until(lambda: held.held)
        sessions._expired(session, 0.0)
        assert session.is_open
        sessions.turns = queue
        handle()
        assert await socket.message() == "2"
        sessions._expired(session, 0.0)
        assert await host.until_ended(socket.sid) == "ping timeout"


@pytest.mark.parametrize("transport", ["uvicorn", "asgi"])
async def test_a_session_does_not_expire_while_its_pong_waits_behind_a_full_inbox(
    transport: Transport,
) -> None:
    async with (
        hosting(transport, ping_interval=0.02) as host,
        engine_wire(host.port) as socket,
    ):
        gate = asyncio.Event()

        async def handle(sid: str, data: str) -> None:
            await gate.wait()
            host.messages[sid].append(data)

        host.engine.on("message", handle)
        session = host.engine.sockets[socket.sid]
        assert await socket.message() == "2"
        socket.write(frame(TEXT, "4x") * (2 * MAX_INBOX) + frame(TEXT, "3"))
        await until(lambda: session.transport.is_behind)
        host.engine.sessions._expired(session, 0.0)
        assert session.is_open
        gate.set()
        assert await socket.message() == "2"
        await until(lambda: len(host.messages[socket.sid]) == 2 * MAX_INBOX)
        assert not session.transport.is_behind


async def test_a_session_does_not_expire_while_its_pong_waits_in_a_post() -> None:
    async with (
        hosting("uvicorn", ping_interval=0.02) as host,
        polling(host.port, "/engine.io/") as client,
    ):
        gate = asyncio.Event()
        host.engine.on("message", lambda *_: gate.wait())
        session = host.engine.sockets[client.sid]
        assert (await client.get()).packets == ["2"]
        posting = asyncio.create_task(client.post("\x1e".join(["4x"] * (MAX_INBOX + 1) + ["3"])))
        await until(lambda: session.transport.is_behind)
        host.engine.sessions._expired(session, 0.0)
        assert session.is_open
        gate.set()
        assert (await posting).status == 200
        assert (await client.get()).packets == ["2"]


async def test_an_upgrade_does_not_time_out_while_its_end_waits_for_its_turn() -> None:
    async with hosting("uvicorn") as host, polling(host.port, "/engine.io/") as client:
        target = f"/engine.io/?EIO=4&transport=websocket&sid={client.sid}"
        async with wire(host.port, target) as socket:
            queue, held = host.engine.sessions.turns, HeldTurns()
            host.engine.sessions.turns = held
            socket.write(frame(TEXT, "2probe") + frame(TEXT, "5") + frame(TEXT, "4x"))
            [handle] = await until(lambda: held.held)
            host.engine.sessions.turns = queue
            handle.__self__._upgrade_timed_out()
            handle()
            assert await socket.message() == "3probe"
            await until(lambda: host.messages[client.sid])


async def test_a_close_behind_many_frames_is_answered() -> None:
    async with hosting("uvicorn") as host, engine_wire(host.port) as socket:
        socket.write(frame(PONG) * COUNT, close(1000))
        assert await socket.until_closed() == 1000
        assert await host.until_ended(socket.sid) == "transport close"


@ON_UVICORN
async def test_a_pong_without_a_ping_is_reported(transport: Transport) -> None:
    unasked: list[str] = []
    async with (
        hosting(transport, unasked=lambda session: unasked.append(session.sid)) as host,
        engine_wire(host.port) as socket,
    ):
        socket.send("3")
        socket.send("4x")
        assert await socket.message() == "4x"
        assert unasked == [socket.sid]


async def test_the_pong_of_a_ping_is_not_reported() -> None:
    unasked: list[str] = []
    async with (
        hosting("uvicorn", ping_interval=0.02, unasked=lambda _: unasked.append("pong")) as host,
        engine_wire(host.port) as socket,
    ):
        for _ in range(3):
            assert await socket.message() == "2"
            socket.send("3")
        assert unasked == []


async def test_frames_that_nobody_waits_for_are_reported() -> None:
    unasked: list[str] = []
    async with (
        hosting("uvicorn", unasked=lambda session: unasked.append(session.sid)) as host,
        engine_wire(host.port) as socket,
    ):
        for sent, count in (
            (frame(PONG) + frame(TEXT, "4x"), 1),
            (frame(TEXT, "4", fin=False) + frame(CONTINUATION, "x"), 1),
            (frame(TEXT, "4".ljust(SMALL_FRAGMENT + 1), fin=False) + frame(CONTINUATION), 0),
            (frame(TEXT, "4x"), 0),
        ):
            socket.write(sent)
            await socket.message()
            assert unasked == [socket.sid] * count
            unasked.clear()
        socket.write(frame(PING))
        assert await socket.frame() == Frame(PONG, b"")
        assert unasked == [socket.sid]

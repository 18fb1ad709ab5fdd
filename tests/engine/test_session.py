"""A session without a network: packets leave in order, messages are handled in order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.outbox import CLOSED
from atriz_realtime.engine.protocol.packets import InvalidPacket, Packet
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import MAX_INBOX, Reason, State, Transport
from atriz_realtime.engine.transports.polling import Polling
from tests.engine.host import Exchanged
from tests.support.servers.serving import until

REQUEST = Request(b"GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\n", None, "http")


class Recorder(Transport):
    """A transport that records its calls."""

    name = "websocket"

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        """The packets of each write."""
        self.reading = True
        self.end: str | None = None

    def reads(self) -> bool:
        """Whether it reads from the client now."""
        return self.reading

    def write(self, content: list[Packet]) -> None:
        self.written.append([packet.text for packet in content])

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.end = "closed"

    def abort(self) -> None:
        self.end = "aborted"


class Scene:
    """An engine with one session, whose handlers finish when the test lets them."""

    def __init__(self, *, accepts: bool = True, **settings: Any) -> None:
        self.reported: list[tuple[str, str]] = []
        self.engine = EngineServer(
            report=lambda kind, message: self.reported.append((kind, message)), **settings
        )
        self.sessions = self.engine.sessions
        self.transport = Recorder()
        self.session = self.sessions.create(REQUEST, self.transport)
        self.started: list[str | bytes] = []
        self.done: list[str | bytes] = []
        self.ended: list[str] = []
        self.may_connect = asyncio.Event()
        self.may_finish = asyncio.Semaphore(0)
        self._accepts = accepts
        self.engine.on("connect", self._connect)
        self.engine.on("message", self._message)
        self.engine.on("disconnect", lambda _, reason: self.ended.append(reason))

    async def _connect(self, sid: str, environ: dict[str, Any]) -> bool:
        await self.may_connect.wait()
        return self._accepts

    async def _message(self, sid: str, data: str | bytes) -> None:
        self.started.append(data)
        await self.may_finish.acquire()
        self.done.append(data)

    def finish(self, count: int) -> None:
        """Let the handlers of this many more messages finish."""
        for _ in range(count):
            self.may_finish.release()

    def receive(self, *numbers: int) -> None:
        for number in numbers:
            self.sessions.receive(self.session, "4", str(number))

    async def open(self) -> bool:
        opening = self.sessions.open(self.session)
        assert not isinstance(opening, bool)
        self.may_connect.set()
        accepted = await opening
        self.session.release()  # as its transport does after the first packet
        return accepted


async def opened(**settings: Any) -> Scene:
    scene = Scene(**settings)
    assert await scene.open()
    return scene


def numbers(*count: int) -> list[str]:
    return [str(number) for number in range(*count)]


# -- receiving ------------------------------------------------------------------------------------


async def test_messages_are_handled_one_after_another_in_their_order() -> None:
    scene = await opened()
    scene.receive(0, 1, 2)
    await until(lambda: scene.started == ["0"])
    scene.finish(1)
    await until(lambda: scene.started == ["0", "1"])
    assert scene.done == ["0"]
    scene.receive(3)
    scene.finish(3)
    await until(lambda: scene.done == numbers(4))


async def test_a_handler_that_awaits_nothing_has_finished_when_the_next_message_comes() -> None:
    scene = await opened()
    handled: list[str | bytes] = []
    scene.engine.on("message", lambda _, data: handled.append(data))
    scene.receive(0, 1)
    assert handled == ["0", "1"]


async def test_a_client_that_sends_too_much_is_not_read_until_half_is_handled() -> None:
    scene = await opened()
    scene.receive(*range(MAX_INBOX))
    assert (scene.transport.reads(), scene.session.is_busy) == (True, False)
    scene.receive(MAX_INBOX, MAX_INBOX + 1)  # what was read already may still come
    assert (scene.transport.reads(), scene.session.is_busy) == (False, True)
    waiting = asyncio.create_task(scene.session.until_idle())
    scene.finish(MAX_INBOX // 2 + 1)
    await until(lambda: len(scene.done) == MAX_INBOX // 2 + 1)
    assert not scene.transport.reads()
    scene.finish(1)
    await until(scene.transport.reads)
    await waiting
    scene.finish(MAX_INBOX)
    await until(lambda: scene.done == numbers(MAX_INBOX + 2))


async def test_messages_of_a_refused_session_are_never_handled() -> None:
    scene = Scene(accepts=False)
    assert not await scene.open()
    scene.receive(0)
    assert scene.engine.sockets == {}
    assert (scene.started, scene.ended) == ([], [])


@pytest.mark.parametrize(
    ("reason", "handled"),
    [(Reason.TRANSPORT_CLOSE, ["0", "1"]), (Reason.PING_TIMEOUT, ["0"])],
)
async def test_messages_sent_before_the_client_left_are_handled(
    reason: str, handled: list[str]
) -> None:
    """Not so when the server ended the session.  The disconnect handler runs last either way."""
    scene = await opened()
    scene.receive(0, 1)
    scene.sessions.cut(scene.session, reason)
    scene.receive(2)
    await asyncio.sleep(0)
    assert scene.ended == []
    scene.finish(3)
    await until(lambda: scene.ended)
    assert (scene.done, scene.ended) == (handled, [reason])
    assert scene.engine.sockets == {}


async def test_a_failing_handler_ends_its_session_once() -> None:
    scene = await opened()

    def fails(sid: str, data: str | bytes) -> None:
        raise LookupError("as planned")

    scene.engine.on("message", fails)
    scene.receive(0, 1)
    assert [kind for kind, _ in scene.reported] == ["protocol broken"]
    assert scene.transport.end == "closed"
    await until(lambda: scene.ended == [Reason.TRANSPORT_ERROR])


@pytest.mark.parametrize("kind", ["0", "2", "5", "6"])
async def test_packets_that_a_client_must_not_send(kind: str) -> None:
    scene = await opened()
    with pytest.raises(InvalidPacket):
        scene.sessions.receive(scene.session, kind, "")


async def test_a_client_closes() -> None:
    scene = await opened()
    scene.sessions.receive(scene.session, "1", "")
    assert not scene.session.is_open
    assert scene.transport.end == "closed"
    await until(lambda: scene.ended == [Reason.CLIENT_DISCONNECT])


# -- sending -----------------------------------------------------------------------------------


def frame(text: str) -> Packet:
    return Packet(text.encode())


@pytest.mark.parametrize("packets", [1, 3_000])
async def test_nothing_is_written_before_the_connect_handler_has_accepted(packets: int) -> None:
    """What waits is bounded: a session with too much is refused."""
    scene = Scene()
    opening = scene.sessions.open(scene.session)
    assert not isinstance(opening, bool)
    for _ in range(packets):
        scene.session.put(frame("a"))
    if packets == 1:
        await scene.engine.disconnect(scene.session.sid)
    scene.may_connect.set()
    assert not await opening
    assert (scene.transport.written, scene.transport.end) == ([], None)
    assert scene.session.outbox is CLOSED


async def test_packets_of_one_turn_leave_in_one_write() -> None:
    scene = await opened()
    scene.session.put(frame("a"))
    scene.session.put_frame("v1", frame("b"))
    scene.session.put(frame("c"))
    assert scene.transport.written == []
    await until(lambda: scene.transport.written)
    assert scene.transport.written == [["a", "b", "c"]]
    scene.session.put(frame("d"))
    await until(lambda: len(scene.transport.written) == 2)


async def test_held_packets_leave_in_order_when_released() -> None:
    scene = await opened(max_frames=2)
    scene.session.put(frame("before"))
    scene.session.hold()
    scene.session.hold()
    for number in range(5):
        scene.session.put_frame("v1", frame(f"v1:{number}"))
    scene.session.put(frame("answer"))
    scene.session.put_frame("v2", frame("v2:0"))
    await until(lambda: scene.transport.written)
    assert scene.transport.written == [["before"]]
    assert scene.engine.conflated == 4
    scene.session.release()
    scene.session.release()
    scene.session.put_frame("v1", frame("v1:5"))
    await until(lambda: len(scene.transport.written) == 2)
    assert scene.transport.written[1] == ["v1:4", "answer", "v2:0", "v1:5"]
    assert scene.engine.conflated == 4


async def test_packets_sent_before_a_hold_leave_before_those_that_were_held() -> None:
    scene = await opened()
    scene.session.put(frame("0"))
    scene.session.hold()
    scene.session.put(frame("1"))
    scene.session.put_frame("v1", frame("2"))
    scene.session.release()
    scene.session.put(frame("3"))
    await until(lambda: scene.transport.written)
    assert scene.transport.written == [numbers(4)]


async def test_a_closed_session_discards_packets() -> None:
    scene = await opened()
    scene.session.hold()
    scene.session.put(frame("a"))
    scene.sessions.cut(scene.session, Reason.TRANSPORT_ERROR)
    assert scene.transport.end == "aborted"
    for _ in range(10_000):
        scene.session.put_frame("v1", frame("b"))
        scene.session.put(frame("c"))
    assert scene.session.outbox is CLOSED
    assert len(CLOSED) == 0
    scene.session.hold()
    scene.session.release()
    await asyncio.sleep(0.01)
    assert scene.transport.written == []


async def test_packets_sent_before_the_server_closes_leave_first() -> None:
    scene = await opened()
    scene.session.hold()
    scene.session.put(frame("last"))
    await scene.engine.disconnect(scene.session.sid)
    assert scene.transport.written == [["last", "1"]]
    assert scene.transport.end == "closed"
    await until(lambda: scene.ended == [Reason.SERVER_DISCONNECT])


async def test_too_many_unread_packets_cut_a_client() -> None:
    scene = await opened()
    scene.session.hold()
    for _ in range(3_000):
        scene.session.put(frame("a"))
    assert scene.reported == [("slow client cut", "too many unread packets")]
    assert scene.transport.end == "aborted"
    await until(lambda: scene.ended == [Reason.TRANSPORT_ERROR])


async def test_packets_for_a_poll_that_an_upgrade_ends_in_the_same_turn_are_kept() -> None:
    transport = Polling(EngineServer().polling, REQUEST)
    transport.session.state = State.OPEN
    transport.poll = Exchanged("GET", "")
    transport.leave()
    transport.write([Packet(b"4one"), Packet(b"4two")])
    again = transport.poll = Exchanged("GET", "")
    transport.session.release()
    transport.session.flush()
    assert again.packets == ["4one", "4two"]


async def test_a_task_that_has_ended_is_forgotten() -> None:
    sessions = EngineServer().sessions
    await sessions.start_task(asyncio.sleep, 0)
    await asyncio.sleep(0)
    assert not sessions._tasks


async def test_what_the_application_stores_with_a_session_is_kept() -> None:
    scene = Scene()
    (await scene.engine.get_session(scene.session.sid))["user"] = "u1"
    assert await scene.engine.get_session(scene.session.sid) == {"user": "u1"}
    with pytest.raises(KeyError):
        await scene.engine.get_session("unknown")

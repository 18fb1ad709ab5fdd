"""A session by itself: what is sent leaves in order, what comes is handled in order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.outbox import CLOSED
from atriz_realtime.engine.protocol.packets import InvalidPacket, Packet
from atriz_realtime.engine.reasons import Reason
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import MAX_INBOX, Session
from tests.support.servers.serving import until

REQUEST = Request(b"GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\n", None, "http")


class Line:
    """A transport that keeps what it is told."""

    name = "websocket"

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        """What came in each write."""
        self.reading = True
        self.end: str | None = None

    def reads(self) -> bool:
        """Whether it reads at this moment."""
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


class Hall:
    """An engine with one session, whose messages are handled when the test lets them."""

    def __init__(self, *, admits: bool = True, **settings: Any) -> None:
        self.engine = EngineServer(**settings)
        self.line = Line()
        self.session = Session(self.engine, "sid", REQUEST, self.line)
        self.begun: list[str | bytes] = []
        self.done: list[str | bytes] = []
        self.ended: list[str] = []
        self.may_enter = asyncio.Event()
        self.may_finish = asyncio.Semaphore(0)
        self._admits = admits
        self.engine.on("connect", self._connect)
        self.engine.on("message", self._message)
        self.engine.on("disconnect", lambda _, reason: self.ended.append(reason))

    async def _connect(self, sid: str, environ: dict[str, Any]) -> bool:
        await self.may_enter.wait()
        return self._admits

    async def _message(self, sid: str, data: str | bytes) -> None:
        self.begun.append(data)
        await self.may_finish.acquire()
        self.done.append(data)

    def finish(self, count: int) -> None:
        """Let so many more messages be handled to their end."""
        for _ in range(count):
            self.may_finish.release()

    def receive(self, *numbers: int) -> None:
        for number in numbers:
            self.session.receive("4", str(number))

    async def admit(self) -> bool:
        admitted = self.engine.let_in(self.session)
        assert not isinstance(admitted, bool)
        self.may_enter.set()
        return await admitted


async def opened(**settings: Any) -> Hall:
    hall = Hall(**settings)
    assert await hall.admit()
    return hall


def numbers(*count: int) -> list[str]:
    return [str(number) for number in range(*count)]


# -- in ------------------------------------------------------------------------------------


async def test_messages_are_handled_one_after_another_in_their_order() -> None:
    hall = await opened()
    hall.receive(0, 1, 2)
    await until(lambda: hall.begun == ["0"])
    hall.finish(1)
    await until(lambda: hall.begun == ["0", "1"])
    assert hall.done == ["0"]
    hall.receive(3)
    hall.finish(3)
    await until(lambda: hall.done == numbers(4))


async def test_a_handler_that_awaits_nothing_has_finished_when_the_next_message_comes() -> None:
    hall = await opened()
    heard: list[str | bytes] = []
    hall.engine.on("message", lambda _, data: heard.append(data))
    hall.receive(0, 1)
    assert heard == ["0", "1"]


async def test_a_client_that_sends_too_much_is_not_read_until_half_is_handled() -> None:
    hall = await opened()
    hall.receive(*range(MAX_INBOX))
    assert (hall.line.reads(), hall.session.is_busy) == (True, False)
    hall.receive(MAX_INBOX, MAX_INBOX + 1)  # what was read already may still come
    assert (hall.line.reads(), hall.session.is_busy) == (False, True)
    waiting = asyncio.create_task(hall.session.until_idle())
    hall.finish(MAX_INBOX // 2 + 1)
    await until(lambda: len(hall.done) == MAX_INBOX // 2 + 1)
    assert not hall.line.reads()
    hall.finish(1)
    await until(hall.line.reads)
    await waiting
    hall.finish(MAX_INBOX)
    await until(lambda: hall.done == numbers(MAX_INBOX + 2))


async def test_what_comes_before_it_is_let_in_is_handled_then_and_bounded() -> None:
    hall = Hall()
    admitting = asyncio.create_task(hall.admit())
    hall.receive(*range(MAX_INBOX))
    assert not hall.line.reads()
    assert hall.begun == []
    assert await admitting
    hall.finish(MAX_INBOX)
    await until(lambda: hall.done == numbers(MAX_INBOX))
    assert hall.line.reads()


async def test_what_comes_before_it_is_refused_is_never_handled() -> None:
    hall = Hall(admits=False)
    admitting = asyncio.create_task(hall.admit())
    hall.receive(0)
    assert not await admitting
    hall.receive(1)
    assert hall.engine.sockets == {}
    assert (hall.begun, hall.ended) == ([], [])


@pytest.mark.parametrize(
    ("reason", "handled"),
    [(Reason.TRANSPORT_CLOSE, ["0", "1"]), (Reason.PING_TIMEOUT, ["0"])],
)
async def test_what_a_client_sent_before_it_left_counts(reason: str, handled: list[str]) -> None:
    """But not what one sent that the server sent away; its end is told after either."""
    hall = await opened()
    hall.receive(0, 1)
    hall.engine.lost(hall.session, reason)
    hall.receive(2)
    await asyncio.sleep(0)
    assert hall.ended == []
    hall.finish(3)
    await until(lambda: hall.ended)
    assert (hall.done, hall.ended) == (handled, [reason])
    assert hall.engine.sockets == {}


async def test_a_handler_that_fails_ends_its_session_once() -> None:
    hall = await opened()
    reported: list[str] = []
    hall.engine.report = lambda kind, _: reported.append(kind)

    def fails(sid: str, data: str | bytes) -> None:
        raise LookupError("as planned")

    hall.engine.on("message", fails)
    hall.receive(0, 1)
    assert reported == ["protocol broken"]
    assert hall.line.end == "closed"
    await until(lambda: hall.ended == [Reason.TRANSPORT_ERROR])


@pytest.mark.parametrize("kind", ["0", "2", "5", "6"])
async def test_packets_that_a_client_must_not_send(kind: str) -> None:
    hall = await opened()
    with pytest.raises(InvalidPacket):
        hall.session.receive(kind, "")


async def test_a_client_closes() -> None:
    hall = await opened()
    hall.session.receive("1", "")
    assert not hall.session.is_open
    assert hall.line.end == "closed"
    await until(lambda: hall.ended == [Reason.CLIENT_DISCONNECT])


# -- out -----------------------------------------------------------------------------------


def frame(text: str) -> Packet:
    return Packet(text.encode())


async def test_what_is_sent_in_one_turn_leaves_in_one_write() -> None:
    hall = await opened()
    hall.session.put(frame("a"))
    hall.session.put_frame("v1", frame("b"))
    hall.session.put(frame("c"))
    assert hall.line.written == []
    await until(lambda: hall.line.written)
    assert hall.line.written == [["a", "b", "c"]]
    hall.session.put(frame("d"))
    await until(lambda: len(hall.line.written) == 2)


async def test_what_is_held_leaves_in_order_when_it_is_released() -> None:
    hall = await opened(max_frames=2)
    hall.session.put(frame("before"))
    hall.session.hold()
    hall.session.hold()
    for number in range(5):
        hall.session.put_frame("v1", frame(f"v1:{number}"))
    hall.session.put(frame("answer"))
    hall.session.put_frame("v2", frame("v2:0"))
    await until(lambda: hall.line.written)
    assert hall.line.written == [["before"]]
    assert hall.engine.conflated == 4
    hall.session.release()
    hall.session.release()
    hall.session.put_frame("v1", frame("v1:5"))
    await until(lambda: len(hall.line.written) == 2)
    assert hall.line.written[1] == ["v1:4", "answer", "v2:0", "v1:5"]
    assert hall.engine.conflated == 4


async def test_a_session_that_has_ended_keeps_nothing() -> None:
    hall = await opened()
    hall.session.hold()
    hall.session.put(frame("a"))
    hall.engine.cut(hall.session, Reason.TRANSPORT_ERROR)
    assert hall.line.end == "aborted"
    for _ in range(10_000):
        hall.session.put_frame("v1", frame("b"))
        hall.session.put(frame("c"))
    assert hall.session.outbox is CLOSED
    assert len(CLOSED) == 0
    hall.session.hold()
    hall.session.release()
    await asyncio.sleep(0.01)
    assert hall.line.written == []


async def test_what_was_sent_before_the_server_closes_goes_out_before() -> None:
    hall = await opened()
    hall.session.hold()
    hall.session.put(frame("last"))
    await hall.engine.disconnect("sid")
    assert hall.line.written == [["last", "1"]]
    assert hall.line.end == "closed"
    await until(lambda: hall.ended == [Reason.SERVER_DISCONNECT])


async def test_too_many_unread_packets_cut_a_client() -> None:
    hall = await opened()
    reported: list[tuple[str, str]] = []
    hall.engine.report = lambda kind, message: reported.append((kind, message))
    hall.session.hold()
    for _ in range(3_000):
        hall.session.put(frame("a"))
    assert reported == [("slow client cut", "too many unread packets")]
    assert hall.line.end == "aborted"
    await until(lambda: hall.ended == [Reason.TRANSPORT_ERROR])

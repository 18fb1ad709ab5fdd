"""Every refusal has a code, is counted, and is logged in one line without a token."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any

import pytest

from tests.security.conftest import Serve
from tests.security.test_edge import PATH, joined
from tests.support.clients.polling import poller, polling
from tests.support.clients.websocket import TEXT, engine_wire, frame
from tests.support.servers.serving import SECRET, Live, token, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BAD_TOKEN = token(secret=f"not-{SECRET}")
LOCATION, BATCH = "/api/tracking/location", "/api/tracking/batch"
FIX = {"vehicleId": "v1", "latitude": 52.6, "longitude": -8.6}
UNSEEN = {"claims": {"track": "see", "publish": "move"}}

Attempt = Callable[[Live], Awaitable[object]]
"""Sends something invalid; returns the code, or other value, of the refusal."""


def packets(*sent: str | bytes) -> Attempt:
    """An authenticated socket sends packets that close it."""

    async def attempt(live: Live) -> object:
        async with joined(live) as socket:
            for packet in sent:
                socket.send(packet)
            await socket.until_closed()
        return "closed"

    return attempt


def frames(*sent: bytes) -> Attempt:
    """The same with raw frames; returns the code of the close frame."""

    async def attempt(live: Live) -> object:
        async with joined(live) as socket:
            socket.write(*sent)
            return await socket.until_closed()

    return attempt


def event(*arguments: Any, payload: str | None = None) -> Attempt:
    """An authenticated socket sends an event; returns the code in the acknowledgement."""
    sent = json.dumps(arguments) if payload is None else payload

    async def attempt(live: Live) -> object:
        async with joined(live) as socket:
            socket.send(f"421{sent}")
            assert str(await socket.message()).startswith('42["error",')
            return json.loads(str(await socket.message()).removeprefix("431"))[0]["code"]

    return attempt


def handshake(auth: str) -> Attempt:
    """A socket connects with an invalid ``auth``, and so without a user."""

    async def attempt(live: Live) -> object:
        async with engine_wire(live.port, PATH) as socket:
            socket.send(f"40{auth}")
            assert str(await socket.message()).startswith("40{")
            socket.send('421["track:vehicle","v1"]')
            await socket.message()
            return json.loads(str(await socket.message()).removeprefix("431"))[0]["code"]

    return attempt


def renewal(text: str) -> Attempt:
    """A connected socket authenticates with a bad token."""

    async def attempt(live: Live) -> object:
        async with joined(live) as socket:
            socket.send("421" + json.dumps(["authenticate", text]))
            await socket.message()
            return json.loads(str(await socket.message()).removeprefix("431"))[0]["code"]

    return attempt


def call(method: str, path: str, body: Any = None, bearer: str | None = None) -> Attempt:
    """An HTTP request; returns the code in the response."""

    async def attempt(live: Live) -> object:
        headers = {"Authorization": f"Bearer {bearer or token()}"}
        options = {"data": BytesIO(body.encode())} if isinstance(body, str) else {"json": body}
        _, answer = await live.request(method, path, headers=headers, **options)
        rejected = answer.get("rejected")
        return rejected[0]["code"] if rejected else answer["code"]

    return attempt


def page(origin: str) -> Attempt:
    """A websocket handshake from another origin; returns the status."""

    async def attempt(live: Live) -> object:
        async with poller(live.port, PATH) as client:
            return (await client.handshake("EIO=4&transport=websocket", Origin=origin)).status

    return attempt


async def stale(live: Live) -> object:
    async with poller(live.port, PATH) as client:
        return (await client.request("GET", "EIO=4&transport=polling&sid=gone")).error[0]


async def large(live: Live) -> object:
    async with polling(live.port, PATH) as client:
        return (await client.post("4" + "x" * 70_000)).status


def at(**fields: Any) -> dict[str, Any]:
    return {**FIX, **fields}


def later(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


BROKEN, FORGED = "protocol broken", '42["connect",{"REMOTE_ADDR":"10.0.0.1"},{"token":"x"}]'
EXPIRED = token(exp=int(time.time()) - 60)

ROWS: dict[str, tuple[Attempt, object, str]] = {
    "1 connect": (packets(FORGED), "closed", BROKEN),
    "2 disconnect": (packets('42["disconnect","x"]'), "closed", BROKEN),
    "3 no packet": (packets("x"), "closed", BROKEN),
    "4 no name": (packets("42{}"), "closed", BROKEN),
    "5 broken JSON": (event(payload='["track:vehicle"'), "bad_request", "refused bad_request"),
    "6 NaN": (event(payload='["track:vehicle",NaN]'), "bad_request", "refused bad_request"),
    "7 a long number": (
        event(payload='["track:vehicle",' + "9" * 101 + "]"),
        "invalid_entity_id",
        "refused invalid_entity_id",
    ),
    "7 a long id": (packets(f'42{"9" * 101}["track:vehicle","v1"]'), "closed", BROKEN),
    "8 attachments": (
        packets('459999999999-["e",{"_placeholder":true,"num":0}]'),
        "closed",
        BROKEN,
    ),
    "9 minus one": (
        packets('451-["e",{"_placeholder":true,"num":-1}]', b"x"),
        "closed",
        BROKEN,
    ),
    "10 again": (packets("40", "40"), "closed", BROKEN),
    "11 a long namespace": (packets(f"40/{'n' * 129},"), "closed", BROKEN),
    "13 a string": (handshake(f'"{BAD_TOKEN}"'), "not_authenticated", "refused credentials"),
    "13 a list": (handshake(f'["{BAD_TOKEN}"]'), "not_authenticated", "refused credentials"),
    "14 a handshake": (
        handshake(json.dumps({"token": BAD_TOKEN})),
        "not_authenticated",
        "refused credentials",
    ),
    "14 expired": (renewal(EXPIRED), "invalid_token", "refused credentials"),
    "14 over HTTP": (
        call("GET", "/api/tracking/vehicle", bearer=BAD_TOKEN),
        "invalid_token",
        "refused invalid_token",
    ),
    "17 null": (page("null"), 403, "origin refused"),
    "18 a frame": (frames(frame(TEXT, "4" + "x" * 65_536)), 1009, BROKEN),
    "18 a body": (
        call("POST", LOCATION, "x" * 1_048_577),
        "payload_too_large",
        "refused payload_too_large",
    ),
    "18 polled": (large, 413, "request refused"),
    "19 latitude": (
        call("POST", LOCATION, at(latitude=91)),
        "invalid_location",
        "refused invalid_location",
    ),
    "19 an id": (
        call("POST", LOCATION, at(vehicleId="a\nb")),
        "invalid_entity_id",
        "refused invalid_entity_id",
    ),
    "19 a key": (
        call("POST", LOCATION, at(**{"a\nb" + "c" * 2_000: BAD_TOKEN})),
        "invalid_location",
        "refused invalid_location",
    ),
    "19 in a batch": (
        call("POST", BATCH, {"updates": [at(speed=-1)]}),
        "invalid_location",
        "refused invalid_location",
    ),
    "19 by event": (
        event("location:publish", at(heading=361)),
        "invalid_location",
        "refused invalid_location",
    ),
    "19 an event": (event("track:a\nb", "v1"), "unknown_type", "refused unknown_type"),
    "19 broken": (
        call("POST", LOCATION, f'{{"token":"{BAD_TOKEN}"'),
        "bad_request",
        "refused bad_request",
    ),
    "20 ahead": (
        call("POST", LOCATION, at(timestamp=later(7_200))),
        "invalid_location",
        "refused invalid_location",
    ),
    "an unknown session": (stale, 400, "request refused"),
}


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="atriz_realtime")
    return caplog


async def refused(live: Live, attempt: Attempt, code: object, kind: str, log: Any) -> None:
    """Check the code, the count and the log line of one refusal."""
    incidents = live.server.incidents
    incidents._logged_at.clear()  # as if the last line of this kind were more than a minute old
    before = incidents.counts.get(kind, 0)
    log.clear()
    assert await attempt(live) == code
    await until(lambda: incidents.counts.get(kind, 0) == before + 1)
    (line,) = [record for record in log.messages if record.startswith(f"{kind}:")]
    assert line.isprintable()
    assert len(line) < 600
    for secret in (BAD_TOKEN, EXPIRED, token()):
        assert not [part for part in secret.split(".")[1:] if part in log.text]


@pytest.mark.parametrize("row", ROWS)
async def test_a_refusal_is_answered_counted_and_logged(
    live: Live, row: str, log: pytest.LogCaptureFixture
) -> None:
    await refused(live, *ROWS[row], log)


async def test_a_required_handshake(serve: Serve, log: pytest.LogCaptureFixture) -> None:
    async def attempt(live: Live) -> object:
        async with engine_wire(live.port, PATH) as socket:
            socket.send("40" + json.dumps({"token": BAD_TOKEN}))
            return json.loads(str(await socket.message()).removeprefix("44"))["data"]["code"]

    async with serve(require_handshake_auth=True) as live:
        await refused(live, attempt, "invalid_token", "connection refused", log)


async def test_limits_and_authorizers(serve: Serve, log: pytest.LogCaptureFixture) -> None:
    """Rows 21 to 23."""

    async def flood(live: Live) -> object:
        async with joined(live) as socket:
            for _ in range(5):
                socket.send('42["untrack:vehicle","v1"]')
            return await socket.message()

    async with serve(max_events_per_second=0.001, max_events_burst=2) as live:
        await refused(live, flood, '42["error","Rate limit"]', "refused rate_limited", log)
    async with serve(max_subscriptions=1) as live:
        many = event("track:vehicle", ["v1", "v2"])
        await refused(live, many, "subscription_limit", "refused subscription_limit", log)
    async with serve(plugins=UNSEEN) as live:
        for attempt in (
            event("track:vehicle", "v1"),
            event("location:publish", FIX),
            call("GET", "/api/tracking/vehicle/v1"),
            call("POST", LOCATION, FIX),
            call("POST", BATCH, {"updates": [FIX]}),
        ):
            await refused(live, attempt, "unauthorized", "refused unauthorized", log)

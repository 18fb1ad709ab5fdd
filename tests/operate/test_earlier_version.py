"""Servers of two versions share one Redis, as they do during a rolling update.

``earlier_version.json`` is what the earlier version wrote: its keys, and its messages in order.
It was recorded from a server that took the two fixes of :data:`FIXES`, emitted to a room, and
revoked a token and a user.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from atriz_realtime.defaults.revocations import revoke
from tests.support.servers.serving import Live, serving, token, until, watching

EARLIER: dict[str, Any] = json.loads(
    Path(__file__).with_name("earlier_version.json").read_text(encoding="utf-8")
)
KEYS: dict[str, str | dict[str, float]] = EARLIER["keys"]
MESSAGES: list[tuple[str, str]] = [tuple(message) for message in EARLIER["messages"]]

LOCATIONS = {
    kind: json.loads(str(KEYS[f"location:current:{kind}:{entity_id}"]))
    for kind, entity_id in (("vehicle", "v1"), ("delivery", "d1"))
}
FIXES = [{f"{kind}Id": fix["deviceId"], **fix} for kind, fix in LOCATIONS.items()]

REVOKED_AT = 1796002225
"""The second in which it revoked."""

THEIRS = token("u1", jti="t1", iat=REVOKED_AT - 60)
OF_THE_USER = token("u9", iat=REVOKED_AT - 60)

LONG = 1_000_000_000
"""Seconds that locations are kept, so that the recorded ones have not expired."""


async def status(live: Live, bearer: str) -> int:
    found, _ = await live.get(
        "/api/tracking/vehicle", headers={"Authorization": f"Bearer {bearer}"}
    )
    return found


async def test_what_it_stored_is_read(redis_url: str, redis_client: Redis) -> None:
    for key, value in KEYS.items():
        if isinstance(value, str):
            await redis_client.set(key, value, ex=LONG)
        else:
            await redis_client.zadd(key, value)
    async with (
        serving(redis_url=redis_url, cache_ttl=LONG) as live,
        watching(live, "v1") as watcher,
    ):
        await until(lambda: watcher.updates)
        assert watcher.updates[0]["location"] == LOCATIONS["vehicle"]
        for kind, location in LOCATIONS.items():
            _, page = await live.get(f"/api/tracking/{kind}")
            assert [each["location"] for each in page["locations"]] == [location]
        assert await status(live, THEIRS) == await status(live, OF_THE_USER) == 401
        assert await status(live, token("u1", jti="t2")) == 200


async def test_what_it_sends_is_understood(redis_url: str, redis_client: Redis) -> None:
    async with serving(redis_url=redis_url) as live, watching(live, "v1") as watcher:
        notices: list[Any] = []
        watcher.client.on("notice", notices.append)
        assert await status(live, THEIRS) == await status(live, OF_THE_USER) == 200
        for channel, message in MESSAGES:
            await redis_client.publish(channel, message)
        await until(lambda: notices)
        assert [update["location"] for update in watcher.updates] == [LOCATIONS["vehicle"]]
        assert notices == [{"text": "hello"}]
        async with asyncio.timeout(10):
            while (await status(live, THEIRS), await status(live, OF_THE_USER)) != (401, 401):
                await asyncio.sleep(0.02)


async def test_it_finds_what_it_would_have_written(redis_url: str, redis_client: Redis) -> None:
    """The same calls write the same keys and messages, except for what is random."""
    received: list[tuple[str, str]] = []
    async with redis_client.pubsub() as listener:
        await listener.psubscribe("*")
        assert (await listener.get_message(timeout=10) or {})["type"] == "psubscribe"
        async with serving(redis_url=redis_url, cache_ttl=LONG) as live:
            for fix in FIXES:
                assert (await live.post("/api/tracking/location", fix))[0] == 200
            await live.server.socket_io.emit("notice", {"text": "hello"}, room="vehicle:v1")
            await revoke(live.server.signals, "token", "t1", expires=4_000_000_000.0)
            await revoke(live.server.signals, "user", "u9", expires=4_000_000_000.0)
            while len(received) < len(MESSAGES):
                message = await listener.get_message(timeout=10)
                assert message is not None
                received.append((message["channel"].decode(), message["data"].decode()))
            stored = await asyncio.wait_for(contents(redis_client), 10)
    assert masked(received) == masked(MESSAGES)
    assert masked(stored) == masked(KEYS)


async def contents(redis_client: Any) -> dict[str, Any]:
    """The recorded keys as they are now, when all are there."""
    while await redis_client.exists(*KEYS) < len(KEYS):
        await asyncio.sleep(0.02)
    found: dict[str, Any] = {}
    for key, value in KEYS.items():
        if isinstance(value, str):
            found[key] = (await redis_client.get(key)).decode()
        else:
            members = await redis_client.zrange(key, 0, -1, withscores=True)
            found[key] = {name.decode(): score for name, score in members}
    return found


def masked(written: Any) -> str:
    """What was written, without who wrote it and when; a token is now revoked without a time."""
    text = re.sub(r"[0-9a-f]{16}|\d{10,}(\.0)?", "?", json.dumps(written, sort_keys=True))
    return re.sub(r"(t1\W+)[0?]", r"\1?", text)

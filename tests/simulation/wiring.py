"""The real server in a simulated process: the one module that knows how the core is built.

Everything after its construction goes through the ASGI application, as in production.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import importlib.metadata
import logging
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import jwt.api_jwt
from starlette.applications import Starlette

from atriz_realtime import RealtimeConfig, RealtimeServer, redis_link
from atriz_realtime.api import EntityRef
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.defaults import revocations
from atriz_realtime.engine import flusher
from atriz_realtime.plugin_system import discovery
from atriz_realtime.redis_link.pipe import Report
from atriz_realtime.redis_link.single import SingleLink
from atriz_realtime.redis_link.url import parse_redis_url
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Network

SECRET = "a-secret-of-the-simulation-of-32-bytes"

SETTINGS: dict[str, Any] = {
    "redis_url": "redis://redis:7000",
    "jwt_secret": SECRET,
    "extra_plugins": ("tests.simulation.rules",),
    "disabled_plugins": ("typescript", "health", "metrics", "admin_ui", "console"),
    "plugins": {
        "sharing": {"url": "https://live.example.com", "max_created": 0},
        "privacy": {
            "rules": {"customer": {"claim": "role", "values": ["customer"], "hide": ["metadata"]}}
        },
        "jwt_auth": {"leeway": 60},
    },
    "entities": {
        "vehicle": {"throttle": "latest"},
        "delivery": {"throttle": "none"},
        "parcel": {"throttle": "interval"},
    },
    "max_pending_frames": 8,
}
HELD = (
    "socket_io.eio.sockets",
    "connection_count",
    "room_count",
    "delivery.backlog",
    "delivery._in_flight._expected",
    "delivery._in_flight._ahead",
    "delivery._channels._subscribed",
    "_pipeline._held._held",
    "_rooms.unconfirmed",
    "_rooms._views.by_room",
)
"""Where a server keeps what is under way: all are empty when nobody uses it."""


def _size(whole: object, path: str) -> int:
    found: Any = whole
    for name in path.split("."):
        found = getattr(found, name)
    return found if isinstance(found, int) else len(found)


_entry_points = functools.cache(importlib.metadata.entry_points)


class _Link(SingleLink):
    """The real link over the modelled network."""

    network: Network

    async def _open(self) -> Any:
        return await self.network.connect()

    async def connect(self, received: Callable[[Any], None], _: str = "") -> Any:
        stream = await super().connect(received)
        connection: Any = stream.connection
        connection.is_subscriber = True
        return stream


class Node:
    """One run of a server: from its start to its end."""

    def __init__(self, process: Process, network: Network, window: float) -> None:
        self.process = process
        self.network = network
        self.window = window
        self.app = Starlette()

    async def start(self) -> None:
        """Build the server and start it; in its process."""

        def make_link(url: str, report: Report) -> _Link:
            link = _Link(parse_redis_url(url), report)
            link.network = self.network
            return link

        with patch.object(redis_link, "make_link", make_link):
            config = RealtimeConfig(**SETTINGS, throttle_interval=self.window * 1000)
            self.server = RealtimeServer(self.app, config)
        await self.server.start()

    async def close(self) -> None:
        """Stop it in order."""
        await self.server.close()

    async def revoke(self, kind: Any, value: str) -> None:
        """Revoke a token, a user or a session."""
        await revocations.revoke(self.server.signals, kind, value)

    async def deny(self, user: str, entity: str) -> None:
        """Take a user's sockets out of an entity's room."""
        found = EntityRef.parse(entity)
        assert found is not None
        await self.server.permissions.revoke(user, found)

    async def recheck(self) -> None:
        """Ask the authorizers about everybody again."""
        await self.server.permissions.recheck()

    def leftovers(self) -> list[str]:
        """What a server that nobody uses still holds."""
        found = [(_size(self.server, path), path) for path in HELD]
        return [f"{size} in {path}" for size, path in found if size]

    def over_bounds(self) -> list[str]:
        """What has outgrown its limit."""
        found = []
        limit = SETTINGS["max_pending_frames"]
        for session in self.server.socket_io.eio.sockets.values():
            outbox = session.outbox
            if outbox is not None and outbox.frames > limit + 16:
                found.append(f"{outbox.frames} frames wait for one client")
        return found


class _Frozen(dt.datetime):
    """``datetime``, whose ``now`` is the virtual one."""

    wall: Callable[[], float]

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return dt.datetime.fromtimestamp(cls.wall(), tz)


@contextlib.contextmanager
def virtual_world(loop: VirtualLoop, seed: str) -> Iterator[None]:
    """Let the server's code see virtual time, and chance that comes from a seed."""
    chance = random.Random(seed)
    random.seed(seed)
    frozen = type("Frozen", (_Frozen,), {"wall": staticmethod(loop.wall)})
    logging.disable(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (time, "time", loop.wall),
            (time, "monotonic", loop.time),
            (time, "perf_counter", loop.time),
            (flusher, "perf_counter", loop.time),
            (SystemClock, "now", staticmethod(loop.wall)),
            (SystemClock, "monotonic", staticmethod(loop.time)),
            (jwt.api_jwt, "datetime", frozen),
            (os, "urandom", chance.randbytes),
            (secrets, "token_bytes", chance.randbytes),
            (secrets, "token_hex", lambda size: chance.randbytes(size).hex()),
            (discovery, "entry_points", _entry_points),
        ):
            stack.enter_context(patch.object(target, name, value))
        asyncio.set_event_loop(loop)
        try:
            yield
        finally:
            revocations._RUNNING.clear()  # servers that were killed are still there
            asyncio.set_event_loop(None)
            logging.disable(logging.NOTSET)

"""The handlers of events, by name and by wildcard."""

from __future__ import annotations

from typing import Any

from atriz_realtime.core.clients.sockets import EventHandlers


async def one(*_: Any) -> None: ...


async def other(*_: Any) -> None: ...


def test_an_event_has_its_own_handler_or_its_wildcard_s() -> None:
    handlers = EventHandlers()
    handlers.add("track:*", one)
    handlers.add("track:vehicle", other)
    assert handlers.find("track:vehicle", ["track:vehicle", "v1"]) == (other, ["v1"])
    assert handlers.find("track:van", ["track:van", "v1"]) == (one, ["track:van", "v1"])
    assert handlers.find("track:*", ["track:*", "v1"]) == (one, ["track:*", "v1"])
    assert handlers.find("chat", ["chat"])[0] is None


def test_bytes_are_refused_where_nobody_expects_them() -> None:
    handlers = EventHandlers()
    handlers.add("track:*", one)
    handlers.add("publish", one)
    handlers.add("photo", one, binary=True)
    refused = {
        event: handlers.refuses_bytes(event) for event in ("track:van", "publish", "photo", "chat")
    }
    assert refused == {"track:van": True, "publish": True, "photo": False, "chat": False}

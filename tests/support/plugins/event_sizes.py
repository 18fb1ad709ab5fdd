"""A plugin with two events that return the length of their argument; one of them takes bytes."""

from __future__ import annotations

from atriz_realtime.api import SocketClient, SocketEvent, hookimpl


async def size(client: SocketClient, value: str | bytes) -> int:
    """Return the length."""
    return len(value)


@hookimpl
def register_socket_events() -> list[SocketEvent]:
    """Register both."""
    return [
        SocketEvent("size:text", size, authenticated=False),
        SocketEvent("size:bytes", size, authenticated=False, binary=True),
    ]

"""A plugin with two events that tell how long their argument is; one takes bytes."""

from __future__ import annotations

from atriz_realtime.api import SocketClient, SocketEvent, hookimpl


async def size(client: SocketClient, value: str | bytes) -> int:
    """Tell the length."""
    return len(value)


@hookimpl
def register_socket_events() -> list[SocketEvent]:
    """Register both."""
    return [
        SocketEvent("size:text", size, authenticated=False),
        SocketEvent("size:bytes", size, authenticated=False, binary=True),
    ]

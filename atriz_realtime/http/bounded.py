"""Bounds the bodies that Starlette routes read."""

from __future__ import annotations

from starlette.types import Message, Receive, Scope

from atriz_realtime.http.endpoints import too_large


def bounded(scope: Scope, receive: Receive, max_body: int) -> Receive:
    """Return what a route receives its request with, up to the bound.

    :raises PayloadTooLarge: when the request's head announces more; what is returned raises it
        when more arrives.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > max_body:
            raise too_large(max_body)
    received = 0

    async def receive_bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_body:
            raise too_large(max_body)
        return message

    return receive_bounded

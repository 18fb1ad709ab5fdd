"""The event ``location:publish``: devices that keep a socket open publish over it."""

from __future__ import annotations

from atriz_realtime.api import (
    NotAuthenticated,
    PluginConfig,
    Resources,
    ServerHandle,
    SocketClient,
    SocketEvent,
    hookimpl,
)
from atriz_realtime.defaults.shared.updates import Updates

EVENT = "location:publish"

PUBLISH_TIMEOUT = 30.0
"""Seconds that a list may take: one entity's fixes go one after another."""


@hookimpl
def register_socket_events(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> SocketEvent:
    """Take positions over the socket, one or a list, answered as over HTTP."""
    taken = Updates(config, server, resources)

    async def publish(client: SocketClient, update: object) -> dict[str, object]:
        identity = client.identity
        if identity is None:
            raise NotAuthenticated
        if isinstance(update, list):
            return await taken.publish_batch(update, identity)
        return await taken.publish(update, identity)

    return SocketEvent(EVENT, publish, timeout=PUBLISH_TIMEOUT)

"""The event ``location:publish``, by which devices publish over a socket."""

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
from atriz_realtime.defaults.shared.updates import BATCH_TIMEOUT, Updates

EVENT = "location:publish"

PUBLISH_TIMEOUT = BATCH_TIMEOUT + 5.0
"""Seconds that the event may take: a list answers before, with what it has published."""


@hookimpl
def register_socket_events(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> SocketEvent:
    """Register the event; it takes an update or a list, and answers like the HTTP API."""
    updates = Updates(config, server, resources)

    async def publish(client: SocketClient, update: object) -> dict[str, object]:
        identity = client.identity
        if identity is None:
            raise NotAuthenticated
        if isinstance(update, list):
            batch = await updates.publish_batch(update, identity)
            client.count_errors(batch.faults)
            return batch.answer()
        return await updates.publish(update, identity)

    return SocketEvent(EVENT, publish, timeout=PUBLISH_TIMEOUT)

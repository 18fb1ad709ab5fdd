"""Live GPS tracking for the Atriz framework: Socket.IO rooms, Redis fan-out, plugins."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atriz_realtime.api import (
        CacheTTL,
        EntityRef,
        Identity,
        Location,
        LocationEvent,
        PublishResult,
        RealtimeError,
        RedisChannels,
        Rooms,
        SocketEvents,
    )
    from atriz_realtime.asgi import create_app
    from atriz_realtime.core.publish.service import TrackingService
    from atriz_realtime.extension import RealtimeExtension
    from atriz_realtime.plugin_system.config import EntitySettings, RealtimeConfig
    from atriz_realtime.server import RealtimeServer

_HOMES = {
    "CacheTTL": "api",
    "EntityRef": "api",
    "EntitySettings": "plugin_system.config",
    "Identity": "api",
    "Location": "api",
    "LocationEvent": "api",
    "PublishResult": "api",
    "RealtimeConfig": "plugin_system.config",
    "RealtimeError": "api",
    "RealtimeExtension": "extension",
    "RealtimeServer": "server",
    "RedisChannels": "api",
    "Rooms": "api",
    "SocketEvents": "api",
    "TrackingService": "core.publish.service",
    "create_app": "asgi",
}

__all__ = [
    "CacheTTL",
    "EntityRef",
    "EntitySettings",
    "Identity",
    "Location",
    "LocationEvent",
    "PublishResult",
    "RealtimeConfig",
    "RealtimeError",
    "RealtimeExtension",
    "RealtimeServer",
    "RedisChannels",
    "Rooms",
    "SocketEvents",
    "TrackingService",
    "create_app",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package is light."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value

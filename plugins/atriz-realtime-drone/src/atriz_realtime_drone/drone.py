"""The hooks of the plugin ``drone``."""

from __future__ import annotations

import logging

from atriz_realtime.api import (
    Authorizer,
    EntityType,
    PluginConfig,
    Resources,
    ServerHandle,
    SocketEvent,
    hookimpl,
)
from atriz_realtime_drone.recall import MemoryRecalls, Recalls, RedisRecalls
from atriz_realtime_drone.rules import DRONE, ID_PATTERN, DroneSettings, FleetRule, flight_check

logger = logging.getLogger("atriz_realtime.drone")


@hookimpl
def register_settings() -> type[DroneSettings]:
    """Return the settings class."""
    return DroneSettings


@hookimpl
def register_entity_types(config: PluginConfig) -> EntityType:
    """Register ``drone``: five updates a second, and a location that is cached for a minute."""
    settings = config.load(DroneSettings)
    return EntityType(
        DRONE,
        validate=flight_check(settings.ceiling),
        throttle="interval",
        throttle_options={"interval": 200},
        cache_ttl=60,
        id_pattern=ID_PATTERN,
    )


@hookimpl
def register_authorizers(config: PluginConfig) -> Authorizer:
    """Register the authorizer that gives each fleet's drones to users of that fleet alone."""
    settings = config.load(DroneSettings)
    if not settings.fleets:
        logger.warning("no fleets are configured: nobody may track or publish a drone")
    rule = FleetRule(settings.fleets)
    return Authorizer("drone-fleets", may_track=rule.allows, may_publish=rule.allows)


@hookimpl
def register_socket_events(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> list[SocketEvent]:
    """Register ``drone:recall`` and ``drone:recall-state``."""
    ttl = config.load(DroneSettings).recall_ttl
    store: RedisRecalls | MemoryRecalls = MemoryRecalls(resources.clock, ttl)
    if resources.redis is not None:
        store = RedisRecalls(resources.redis, ttl)
    recalls = Recalls(server=server, store=store, clock=resources.clock, ttl=ttl)
    return [
        SocketEvent("drone:recall", recalls.recall),
        SocketEvent("drone:recall-state", recalls.state),
    ]

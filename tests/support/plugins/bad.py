"""Plugins that misbehave, each in its own way and only towards its own entity type."""

from __future__ import annotations

import asyncio
import sys
import time

from atriz_realtime.api import (
    Authorizer,
    EntityRef,
    EntityType,
    Filter,
    Identity,
    LocationEvent,
    Observer,
    SocketClient,
    SocketEvent,
    hookimpl,
)


class Raiser:
    """Raises wherever it is called, or tries to end the process."""

    @hookimpl
    def register_entity_types(self) -> EntityType:
        def validate(_: LocationEvent) -> None:
            sys.exit("no validation today")

        return EntityType("raising", validate=validate)

    @hookimpl
    def register_authorizers(self) -> Authorizer:
        async def refuse(_: Identity, entity: EntityRef) -> bool:
            if entity.type == "raising":
                raise RuntimeError("no authorization today")
            return True

        return Authorizer("raiser", may_track=refuse, may_publish=None)

    @hookimpl
    def register_observers(self) -> Observer:
        async def observe(_: LocationEvent) -> None:
            sys.exit("no observation today")

        return Observer("raiser", observe)

    @hookimpl
    def register_socket_events(self) -> SocketEvent:
        async def handle(_: SocketClient) -> None:
            raise RuntimeError("no event today")

        return SocketEvent("raise", handle)


class Sleeper:
    """Sleeps ten seconds wherever it is awaited."""

    @hookimpl
    def register_entity_types(self) -> EntityType:
        return EntityType("sleeping")

    @hookimpl
    def register_authorizers(self) -> Authorizer:
        async def sleep(_: Identity, entity: EntityRef) -> bool:
            if entity.type == "sleeping":
                await asyncio.sleep(10)
            return True

        return Authorizer("sleeper", may_track=sleep, may_publish=sleep)

    @hookimpl
    def register_filters(self) -> Filter:
        async def sleep(event: LocationEvent) -> LocationEvent:
            if event.type == "sleeping":
                await asyncio.sleep(10)
            return event

        return Filter("sleeper", sleep)

    @hookimpl
    def register_observers(self) -> Observer:
        async def sleep(_: LocationEvent) -> None:
            await asyncio.sleep(10)

        return Observer("sleeper", sleep, queue_size=5, timeout=0.5)

    @hookimpl
    def register_socket_events(self) -> SocketEvent:
        async def sleep(_: SocketClient) -> None:
            await asyncio.sleep(10)

        return SocketEvent("sleep", sleep)


class Blocker:
    """Blocks the event loop for 150 ms with each event."""

    @hookimpl
    def register_observers(self) -> Observer:
        async def block(_: LocationEvent) -> None:
            time.sleep(0.15)  # noqa: ASYNC251  # the fault under test

        return Observer("blocker", block)


raiser = Raiser()
sleeper = Sleeper()
blocker = Blocker()

"""The bridge: a layer on the fan-out that speaks to TypeScript servers through their adapter.

What this server publishes goes out twice, in one round trip: as it always does, for
servers of this package, and as the adapter's emit, for the others.  What comes through the
adapter is handed to the core as if a server of this package had sent it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from typing import Any

from atriz_realtime.api import (
    Deliver,
    Emit,
    Fanout,
    InvalidRequest,
    Membership,
    RedisChannels,
    RedisLink,
    Resources,
    SocketEvents,
    decode_json,
)
from atriz_realtime.defaults.typescript.adapter import Adapter, AdapterEvents
from atriz_realtime.defaults.typescript.classic import ClassicAdapter
from atriz_realtime.defaults.typescript.codec import (
    NAMESPACE,
    Broadcast,
    Unreadable,
    emit_of,
    event_of,
    same_json,
    to_json,
)
from atriz_realtime.defaults.typescript.copies import Copies
from atriz_realtime.defaults.typescript.members import Members, RoomNames
from atriz_realtime.defaults.typescript.settings import TypescriptSettings
from atriz_realtime.defaults.typescript.sharded import ShardedAdapter
from atriz_realtime.defaults.typescript.shards import ShardChannels

OURS = "atriz-"
"""How the names begin under which servers of this package emit: what they send to each
other goes another way, so each leaves the others' emits to the adapter alone."""


def open_bridge(
    below: Fanout,
    link: RedisLink,
    settings: TypescriptSettings,
    membership: Membership,
    resources: Resources,
) -> Fanout:
    """Put the bridge on top of a fan-out."""
    room_names = RoomNames(settings.authenticated_room)
    members = Members(membership, room_names)
    bridge = Bridge(below, room_names, resources)
    events = AdapterEvents(received=bridge.received, report=resources.report)
    if settings.adapter == "classic":
        bridge.adapter = ClassicAdapter(below, settings.key, members, events)
        return bridge
    carrier = below  # on a cluster, its pub/sub is the sharded one
    if not link.sharded:
        carrier = bridge.shards = ShardChannels(link, resources.report)
    bridge.adapter = ShardedAdapter(
        carrier,
        settings.key,
        members,
        events,
        uid=bridge.uid,
        membership=membership,
        room_names=room_names,
    )
    return bridge


class Bridge:
    """See :class:`~atriz_realtime.api.Fanout`."""

    adapter: Adapter
    shards: ShardChannels | None = None

    def __init__(self, below: Fanout, room_names: RoomNames, resources: Resources) -> None:
        self._below = below
        self._names = room_names
        self._report = resources.report
        self._copies = Copies(resources.clock)
        self.uid = OURS + secrets.token_hex(8)
        self._deliver: dict[str, Deliver] = {}

    async def aclose(self) -> None:
        """Stop."""
        await self.adapter.aclose()
        if self.shards is not None:
            await self.shards.aclose()

    # -- from the core ---------------------------------------------------------------------

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        """Publish as ever, and through the adapter."""
        sending = self._below.publish(channel, data)
        broadcast: Broadcast | None = None
        if channel.startswith(RedisChannels.PREFIX):
            room = channel.removeprefix(RedisChannels.PREFIX)
            arguments = [SocketEvents.LOCATION_UPDATE.value, decode_json(data)]
            broadcast = Broadcast(sender=self.uid, rooms=[room], arguments=arguments)
        elif channel == RedisChannels.EMITS:
            broadcast = self._outgoing(Emit.decode(data))
        if broadcast is None:
            return sending
        return _both(sending, self.adapter.send(broadcast))

    def _outgoing(self, emit: Emit) -> Broadcast | None:
        if emit.namespace != NAMESPACE or emit.rooms == []:  # to an adapter, no room is everyone
            return None
        return Broadcast(
            sender=self.uid,
            rooms=self._names.theirs(emit.rooms or []),
            skip=self._names.theirs(emit.skip),
            arguments=event_of(emit),
        )

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        """Subscribe as ever, listening for what the adapter brings as well."""
        if channel == RedisChannels.EMITS:
            self._deliver[channel] = deliver
            return _both(self._below.subscribe(channel, deliver), self.adapter.start())
        if not channel.startswith(RedisChannels.PREFIX) or channel.endswith("*"):
            return self._below.subscribe(channel, deliver)
        self._deliver[channel] = deliver
        room = channel.removeprefix(RedisChannels.PREFIX)
        return _both(self._below.subscribe(channel, self._from_channel), self.adapter.ready(room))

    def unsubscribe(self, channel: str) -> None:
        """Stop receiving it."""
        self._deliver.pop(channel, None)
        self._below.unsubscribe(channel)

    # -- from the other servers ------------------------------------------------------------

    def _from_channel(self, channel: str, data: bytes) -> None:
        """Take an event that somebody published on an entity's channel."""
        deliver = self._deliver.get(channel)
        if deliver is None:
            return
        room = channel.removeprefix(RedisChannels.PREFIX)
        try:
            event = same_json(decode_json(data))
        except InvalidRequest:  # anybody may publish there; the core knows what to do
            deliver(channel, data)
            return
        if self._copies.is_first(room, event, "channel"):
            deliver(channel, data)

    def received(self, broadcast: Broadcast) -> None:
        """Take an emit that came through the adapter."""
        room = _fix_of(broadcast)
        channel = f"{RedisChannels.PREFIX}{room}"
        deliver = self._deliver.get(channel) if room is not None else None
        ours = broadcast.sender.startswith(OURS)
        if room is not None and deliver is not None:
            event = broadcast.arguments[1]
            same = _json(same_json, event)
            if ours:
                self._copies.is_second(room, same, "adapter")
            elif self._copies.is_first(room, same, "adapter"):
                deliver(channel, _json(to_json, event))
        elif not ours:
            self._incoming(broadcast)

    def _incoming(self, broadcast: Broadcast) -> None:
        deliver = self._deliver.get(RedisChannels.EMITS)
        if deliver is None:
            return
        ours = self._names.ours
        update = broadcast.arguments[0] == SocketEvents.LOCATION_UPDATE
        translated = Broadcast(
            sender=broadcast.sender,
            rooms=ours(broadcast.rooms),
            skip=ours(broadcast.skip),
            arguments=broadcast.arguments,
        )
        key = broadcast.rooms[0] if update and len(broadcast.rooms) == 1 else None
        deliver(RedisChannels.EMITS, emit_of(translated, key).encode())


def _fix_of(broadcast: Broadcast) -> str | None:
    """The room of the entity whose position this is; ``None`` when it is anything else."""
    if len(broadcast.rooms) != 1 or broadcast.skip or len(broadcast.arguments) != 2:
        return None
    match broadcast.arguments:
        case [
            SocketEvents.LOCATION_UPDATE,
            {"type": str(kind), "entityId": str(entity_id), "location": dict()},
        ] if f"{kind}:{entity_id}" == broadcast.rooms[0]:
            return broadcast.rooms[0]
    return None


def _json(encode: Any, value: Any) -> bytes:
    try:
        encoded: bytes = encode(value)
    except TypeError as error:
        raise Unreadable(str(error)) from error
    return encoded


async def _both(first: Awaitable[Any], second: Awaitable[Any]) -> None:
    """Await two things that were begun; raise the first failure."""
    for failure in await asyncio.gather(first, second, return_exceptions=True):
        if isinstance(failure, BaseException):
            raise failure

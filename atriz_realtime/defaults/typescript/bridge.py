"""The bridge: a layer on the fan-out that talks to TypeScript servers through their adapter.

Whatever this server publishes goes out twice, in one round trip: as always, for servers of this
package, and as an emit of the adapter, for TypeScript servers.  Whatever arrives through the
adapter is handed to the core as if a server of this package had sent it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
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
from atriz_realtime.defaults.typescript.adapter import Adapter
from atriz_realtime.defaults.typescript.classic import ClassicAdapter
from atriz_realtime.defaults.typescript.codec import (
    NAMESPACE,
    Broadcast,
    UnreadableMessage,
    canonical_json,
    emit_of,
    event_of,
    to_json,
)
from atriz_realtime.defaults.typescript.duplicates import DuplicateFilter
from atriz_realtime.defaults.typescript.members import Members, RoomNames
from atriz_realtime.defaults.typescript.sharded import ShardedAdapter
from atriz_realtime.defaults.typescript.shards import ShardChannels

OWN_PREFIX = "atriz-"
"""The prefix of the sender ids of this package's servers.  They reach each other without the
adapter, so each ignores the emits that the others send through it."""


def open_bridge(
    below: Fanout,
    link: RedisLink,
    membership: Membership,
    resources: Resources,
    *,
    adapter: str,
    key: str,
    authenticated_room: str,
) -> Fanout:
    """Put the bridge on top of a fan-out."""
    carrier = below
    if adapter == "sharded" and not link.sharded:  # on a cluster the fan-out's own is sharded
        carrier = ShardChannels(link, resources.report)
    return Bridge(
        below,
        carrier,
        membership,
        resources,
        adapter=adapter,
        key=key,
        authenticated_room=authenticated_room,
    )


class Bridge:
    """A :class:`~atriz_realtime.api.Fanout` that adds the TypeScript servers to another one.

    :param carrier: carries the adapter's channels.
    """

    def __init__(
        self,
        below: Fanout,
        carrier: Fanout,
        membership: Membership,
        resources: Resources,
        *,
        adapter: str,
        key: str,
        authenticated_room: str,
    ) -> None:
        self._below = below
        self._carrier = carrier
        self._names = RoomNames(authenticated_room)
        self._duplicates = DuplicateFilter(resources.clock)
        self._uid = OWN_PREFIX + secrets.token_hex(8)
        self._deliver: dict[str, Deliver] = {}
        members = Members(membership, self._names)
        received, report = self._received, resources.report
        self._adapter: Adapter
        if adapter == "classic":
            self._adapter = ClassicAdapter(carrier, key, members, received=received, report=report)
        else:
            self._adapter = ShardedAdapter(
                carrier, key, members, received=received, report=report, uid=self._uid
            )

    async def aclose(self) -> None:
        """Close the adapter, and the connection that carries it."""
        await self._adapter.aclose()
        if isinstance(self._carrier, ShardChannels):
            await self._carrier.aclose()

    # -- from the core ---------------------------------------------------------------------

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        """Publish below, and through the adapter."""
        publishing = self._below.publish(channel, data)
        broadcast: Broadcast | None = None
        if channel.startswith(RedisChannels.PREFIX):
            room = channel.removeprefix(RedisChannels.PREFIX)
            arguments = [SocketEvents.LOCATION_UPDATE.value, decode_json(data)]
            broadcast = Broadcast(sender=self._uid, rooms=[room], arguments=arguments)
        elif channel == RedisChannels.EMITS:
            broadcast = self._outgoing(Emit.decode(data))
        if broadcast is None:
            return publishing
        return _both(publishing, self._adapter.send(broadcast))

    def _outgoing(self, emit: Emit) -> Broadcast | None:
        if emit.namespace != NAMESPACE or emit.rooms == []:  # to an adapter, no room is everyone
            return None
        return Broadcast(
            sender=self._uid,
            rooms=self._names.theirs(emit.rooms or []),
            skip=self._names.theirs(emit.skip),
            arguments=event_of(emit),
        )

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        """Subscribe below, and deliver what arrives through the adapter as well."""
        if channel == RedisChannels.EMITS:
            self._deliver[channel] = deliver
            return _both(self._below.subscribe(channel, deliver), self._adapter.start())
        if not channel.startswith(RedisChannels.PREFIX) or channel.endswith("*"):
            return self._below.subscribe(channel, deliver)
        self._deliver[channel] = deliver
        room = channel.removeprefix(RedisChannels.PREFIX)
        return _both(self._below.subscribe(channel, self._from_channel), self._adapter.ready(room))

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe below, and ignore what arrives through the adapter."""
        self._deliver.pop(channel, None)
        self._below.unsubscribe(channel)

    # -- from other servers ----------------------------------------------------------------

    def _from_channel(self, channel: str, data: bytes) -> None:
        """Deliver an event from an entity's channel, unless the adapter has brought it."""
        deliver = self._deliver.get(channel)
        if deliver is None:
            return
        room = channel.removeprefix(RedisChannels.PREFIX)
        try:
            event = canonical_json(decode_json(data))
        except InvalidRequest:  # any program may publish there; the core reports what is no JSON
            deliver(channel, data)
            return
        if self._duplicates.is_new(room, event, "channel"):
            deliver(channel, data)

    def _received(self, broadcast: Broadcast) -> None:
        """Deliver an emit from the adapter, unless it has come another way."""
        room = _entity_room(broadcast)
        channel = f"{RedisChannels.PREFIX}{room}"
        deliver = self._deliver.get(channel) if room is not None else None
        ours = broadcast.sender.startswith(OWN_PREFIX)
        if room is not None and deliver is not None:
            event = broadcast.arguments[1]
            canonical = _encoded(canonical_json, event)
            if ours:
                self._duplicates.is_duplicate(room, canonical, "adapter")
            elif self._duplicates.is_new(room, canonical, "adapter"):
                deliver(channel, _encoded(to_json, event))
        elif not ours:
            self._incoming(broadcast)

    def _incoming(self, broadcast: Broadcast) -> None:
        deliver = self._deliver.get(RedisChannels.EMITS)
        if deliver is None:
            return
        ours = self._names.ours
        translated = Broadcast(
            sender=broadcast.sender,
            rooms=ours(broadcast.rooms),
            skip=ours(broadcast.skip),
            arguments=broadcast.arguments,
        )
        is_update = broadcast.arguments[0] == SocketEvents.LOCATION_UPDATE
        key = broadcast.rooms[0] if is_update and len(broadcast.rooms) == 1 else None
        deliver(RedisChannels.EMITS, emit_of(translated, key).encode())


def _entity_room(broadcast: Broadcast) -> str | None:
    """The room of the entity that an emit is a fix of; ``None`` for any other emit."""
    if len(broadcast.rooms) != 1 or broadcast.skip or len(broadcast.arguments) != 2:
        return None
    match broadcast.arguments:
        case [
            SocketEvents.LOCATION_UPDATE,
            {"type": str(kind), "entityId": str(entity_id), "location": dict()},
        ] if f"{kind}:{entity_id}" == broadcast.rooms[0]:
            return broadcast.rooms[0]
    return None


def _encoded(encode: Callable[[Any], bytes], value: Any) -> bytes:
    try:
        return encode(value)
    except TypeError as error:
        raise UnreadableMessage(str(error)) from error


async def _both(first: Awaitable[Any], second: Awaitable[Any]) -> None:
    """Await two things that are under way; raise the first failure."""
    for failure in await asyncio.gather(first, second, return_exceptions=True):
        if isinstance(failure, BaseException):
            raise failure

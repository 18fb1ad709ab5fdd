"""The bridge: a layer on the fan-out that talks to TypeScript servers through their adapter.

Whatever this server publishes goes out twice, in one round trip: as usual, for servers of this
package, and as an emit of the adapter, for TypeScript servers.  Whatever arrives through the
adapter is handed to the core as if a server of this package had sent it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import attrs

from atriz_realtime.api import (
    Cache,
    Clock,
    Conditional,
    Deliver,
    Emit,
    Fanout,
    InvalidRequest,
    Membership,
    Payload,
    RedisChannels,
    Report,
    Resources,
    SocketEvents,
    decode_json,
    limit_reached,
)
from atriz_realtime.defaults.typescript.adapter import Adapter, Members, RoomNames
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
from atriz_realtime.defaults.typescript.sharded import ShardedAdapter
from atriz_realtime.defaults.typescript.shards import ShardChannels

OWN_PREFIX = "atriz-"
"""The prefix of the sender ids of this package's servers.  They reach each other without the
adapter, so each ignores the emits that the others send through it."""


REMEMBER_SECONDS = 10.0
"""Seconds that a fix is remembered while its second copy is missing."""

MAX_REMEMBERED = 50_000
"""Fixes that are remembered while their second copy is missing."""

Source = Literal["channel", "adapter"]


class DuplicateFilter:
    """Recognises the second copy of a fix.

    A server of the TypeScript package sends each fix twice: on the entity's channel, and through
    its adapter to the entity's room.  Either copy may arrive first.  The same event from the same
    source again is not a copy but a new fix.
    """

    def __init__(self, clock: Clock, report: Report) -> None:
        self._clock = clock
        self._report = report
        self._unmatched: OrderedDict[tuple[str, bytes], tuple[Source, int, float]] = OrderedDict()

    def is_new(self, room: str, event: bytes, source: Source) -> bool:
        """Whether this is the first copy of a fix, which is then remembered."""
        if self.is_duplicate(room, event, source):
            return False
        now = self._clock.monotonic()
        _, count, _ = self._unmatched.pop((room, event), (source, 0, 0.0))
        self._unmatched[room, event] = (source, count + 1, now + REMEMBER_SECONDS)
        self._forget(now)
        return True

    def is_duplicate(self, room: str, event: bytes, source: Source) -> bool:
        """Whether the other source has delivered this fix, which is then forgotten."""
        self._forget(self._clock.monotonic())
        first, count, until = self._unmatched.get((room, event), (source, 0, 0.0))
        if first == source:
            return False
        if count > 1:
            self._unmatched[room, event] = (first, count - 1, until)
        else:
            del self._unmatched[room, event]
        return True

    def __len__(self) -> int:
        return len(self._unmatched)

    def _forget(self, now: float) -> None:
        while self._unmatched:
            oldest = next(iter(self._unmatched))
            if self._unmatched[oldest][2] >= now:
                if len(self._unmatched) <= MAX_REMEMBERED:
                    break
                message = f"more than {MAX_REMEMBERED} fixes: the oldest may be sent again"
                limit_reached(self._report, f"{__name__}.MAX_REMEMBERED", message)
            del self._unmatched[oldest]


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
        self._duplicates = DuplicateFilter(resources.clock, resources.report)
        self._uid = OWN_PREFIX + secrets.token_hex(8)
        self._deliver: dict[str, Deliver] = {}
        adapter_class: type[Adapter] = ClassicAdapter if adapter == "classic" else ShardedAdapter
        self._adapter = adapter_class(
            carrier=carrier,
            key=key,
            uid=self._uid,
            members=Members(membership, self._names),
            received=self._received,
            report=resources.report,
        )

    async def aclose(self) -> None:
        """Close the adapter, and the connection that carries it."""
        await self._adapter.aclose()
        if isinstance(self._carrier, ShardChannels):
            await self._carrier.aclose()

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        """Publish below, and through the adapter."""
        publishing = self._below.publish(channel, data)
        broadcast: Broadcast | None = None
        if channel.startswith(RedisChannels.PREFIX):
            broadcast = self._update(channel, data)
        elif channel == RedisChannels.EMITS:
            broadcast = self._outgoing(Emit.decode(data))
        if broadcast is None:
            return publishing
        return _both(publishing, self._adapter.send(broadcast))

    def publish_unless_newer(self, payload: Payload, cache: Cache) -> Awaitable[bool] | None:
        """Publish below unless a newer location is cached, and if so through the adapter as well.

        The emit of the adapter follows a round trip later, so on TypeScript servers a newer fix
        may come between the two.
        """
        if not isinstance(self._below, Conditional):
            return None
        publishing = self._below.publish_unless_newer(payload, cache)
        return None if publishing is None else self._and_emit(payload, publishing)

    async def _and_emit(self, payload: Payload, publishing: Awaitable[bool]) -> bool:
        published = await publishing
        if published:
            await self._adapter.send(self._update(payload.channel, payload.event))
        return published

    def _update(self, channel: str, event: bytes) -> Broadcast:
        room = channel.removeprefix(RedisChannels.PREFIX)
        arguments = [SocketEvents.LOCATION_UPDATE.value, decode_json(event)]
        return Broadcast(sender=self._uid, rooms=[room], arguments=arguments)

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

    def _from_channel(self, channel: str, data: bytes) -> None:
        """Deliver an event from an entity's channel, unless the adapter has brought it."""
        deliver = self._deliver.get(channel)
        if deliver is None:
            return
        room = channel.removeprefix(RedisChannels.PREFIX)
        try:
            event = canonical_json(decode_json(data))
        except InvalidRequest:  # any program may publish there; the core reports invalid JSON
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
        translated = attrs.evolve(broadcast, rooms=ours(broadcast.rooms), skip=ours(broadcast.skip))
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
    """Await both, which already run; raise the first failure."""
    for failure in await asyncio.gather(first, second, return_exceptions=True):
        if isinstance(failure, BaseException):
            raise failure

"""What the bridge does in Redis, on channels that no server acts upon."""

from __future__ import annotations

from collections.abc import Iterator

from atriz_realtime.defaults.shared.redis_rights import Trial, unused_name
from atriz_realtime.defaults.typescript.adapter import common_channel, room_channel
from atriz_realtime.defaults.typescript.bridge import OWN_PREFIX
from atriz_realtime.defaults.typescript.classic import encoded, request_channel, response_channel
from atriz_realtime.defaults.typescript.codec import Broadcast


def classic_trials(key: str) -> Iterator[Trial]:
    """What the bridge does for the classic adapter.

    :param key: the prefix of the adapter's channels.
    """
    name = unused_name()  # of a room without members, and of a server that has asked for nothing
    emit = encoded(Broadcast(sender=OWN_PREFIX + name, rooms=[name], arguments=["check"]))
    emits, requests = common_channel(key) + "*", request_channel(key)
    yield ("PUBLISH", room_channel(key, name), emit), f"&{emits}"
    yield ("PUBLISH", response_channel(key, name), b"{}"), f"&{key}-response#/#*"
    yield ("PSUBSCRIBE", emits), f"&{emits}"
    yield ("SUBSCRIBE", requests), f"&{requests}"


def sharded_trials(key: str) -> Iterator[Trial]:
    """What the bridge does for the sharded adapter; nobody is subscribed to a room's channel.

    :param key: the prefix of the adapter's channels.
    """
    channel, place = room_channel(key, unused_name()), f"&{common_channel(key)}*"
    yield ("SPUBLISH", channel, b"{}"), place
    yield ("SSUBSCRIBE", channel), place
    yield ("SSUBSCRIBE", common_channel(key)), place

"""Revocation by a process without a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from redis.exceptions import NoPermissionError, RedisError

from atriz_realtime.api import (
    RedisChannels,
    RedisLink,
    RevocationLimit,
    Unavailable,
    encode_json,
)
from atriz_realtime.defaults.revocations.known import SIGNAL, valid_until
from atriz_realtime.defaults.revocations.stored import ADD, Kind, Revocation, arguments, keys


async def revoke_in_redis(
    link: RedisLink,
    settings: Mapping[str, Any],
    kind: Kind,
    value: str,
    expires: float | None,
    max_life: int,
) -> int | None:
    """Revoke from a process without a server: store the revocation and signal it to the servers.

    Servers that miss the signal, or start later, read it from Redis.

    :param settings: those of the servers, of which ``redis_prefix`` and ``fanout`` count.
    :param expires: the time when the token expires, in seconds since the epoch; ``None``: in
        ``max_life`` seconds.
    :returns: how many servers have received the signal; ``None`` if Redis does not tell, because
        it does not let this user publish or the servers have another fan-out.
    :raises InvalidRequest: when the value is empty or too long.
    :raises RevocationLimit: when too many are in force.
    :raises Unavailable: when Redis does not accept it.
    """
    made = Revocation.make(kind, value, valid_until(expires, max_life))
    prefix = settings["redis_prefix"]
    client: Any = link.client
    try:
        if not await client.eval(ADD, 3, *keys(prefix), *arguments([made])):
            raise RevocationLimit
        if settings["fanout"] in (None, "redis"):
            return await _signal(link, prefix + RedisChannels.SIGNALS, made)
    except RedisError as error:
        raise Unavailable(f"Redis: {error}") from error
    finally:
        await client.aclose()
    return None


async def _signal(link: RedisLink, channel: str, made: Revocation) -> int | None:
    client: Any = link.client
    data = list(attrs.astuple(made))
    message = encode_json({"from": "command", "name": SIGNAL, "data": data})
    try:
        if not link.sharded:
            return int(await client.publish(channel, message))
        node = client.get_node_from_key(channel)
        return int(await client.execute_command("SPUBLISH", channel, message, target_nodes=node))
    except NoPermissionError:
        return None

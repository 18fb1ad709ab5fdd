"""``atriz-realtime share`` and ``atriz-realtime unshare``."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import click
from redis.exceptions import RedisError

from atriz_realtime.api import (
    ConfigurationError,
    EntityRef,
    EntityType,
    InvalidEntityId,
    InvalidRequest,
    PluginConfig,
    RealtimeError,
    Resources,
    Unavailable,
    UnknownEntityType,
    decode_json,
    encode_json,
    parse_duration,
)
from atriz_realtime.defaults.revocations import revoke_in_redis
from atriz_realtime.defaults.shared.commands import say_settings, say_where
from atriz_realtime.defaults.shared.extras import extra
from atriz_realtime.defaults.sharing.details import SHOWN, Details
from atriz_realtime.defaults.sharing.ends import REASONS, End, key_and_life
from atriz_realtime.defaults.sharing.http import PATH, described
from atriz_realtime.defaults.sharing.settings import SharingSettings, sharing
from atriz_realtime.defaults.sharing.tokens import expiry_of, id_in

ENTITY_TYPES = "atriz_realtime.entity_types"
"""The key of click's ``Context.meta`` with a function that returns the entity types by name."""

TIMEOUT = 10.0
"""Seconds that `share` and `unshare` wait for a server's answer."""

url_option = click.option(
    "--url", metavar="URL", help="Ask the server there, rather than use the secret or Redis."
)
token_option = click.option("--token", metavar="JWT", help="The token to show there.")


def commands(config: PluginConfig, resources: Resources) -> list[click.Command]:
    """The two commands."""
    return [_share(config), _unshare(config, resources)]


def _share(config: PluginConfig) -> click.Command:
    @click.command("share", short_help="Make a link to one entity that ends by itself.")
    @click.argument("kind", metavar="TYPE")
    @click.argument("entity_id", metavar="ID")
    @click.option(
        "--for", "duration", default="1h", show_default=True, help="How long: 30m, 2h, 1d."
    )
    @click.option("--name", metavar="TEXT", help="How the page names it, rather than by its id.")
    @click.option(
        "--destination", metavar="LAT,LON", help="Where it goes, in degrees: 52.66,-8.63."
    )
    @click.option("--label", metavar="TEXT", help="How the page names the destination.")
    @click.option(
        "--show",
        multiple=True,
        type=click.Choice(SHOWN),
        help="What to show of metadata; default: all that is configured.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @url_option
    @token_option
    def command(
        kind: str,
        entity_id: str,
        duration: str,
        name: str | None,
        destination: str | None,
        label: str | None,
        show: tuple[str, ...],
        as_json: bool,
        url: str | None,
        token: str | None,
    ) -> None:
        """Print a link to a page that shows where one entity is, when it ends, and its id.

        The link is signed here with the server's secret, for any entity; with --url, a server
        makes it for the user of --token.
        """
        seconds = parse_duration(duration)
        said = _said(name, destination, label, show)
        if url is not None:
            body = {"type": kind, "entityId": entity_id, "seconds": seconds, **said}
            made = asyncio.run(_ask("POST", url + PATH, token, body))
        else:
            made = _signed(config, kind, entity_id, seconds, said)
            say_settings()
        if as_json:
            click.echo(encode_json({name: made[name] for name in made if name != "success"}))
        else:
            click.echo(f"{made['url']}\nends at {made['expiresAt']}\nid {made['id']}")

    return command


def _said(
    name: str | None, destination: str | None, label: str | None, show: tuple[str, ...]
) -> dict[str, Any]:
    """What the options say about the entity, as the HTTP API takes it."""
    said: dict[str, Any] = {}
    if name is not None:
        said["name"] = name
    if destination is not None:
        try:
            latitude, longitude = map(float, destination.split(","))
        except ValueError:
            raise click.UsageError("--destination is LAT,LON, such as 52.66,-8.63") from None
        said["destination"] = {"latitude": latitude, "longitude": longitude}
        if label is not None:
            said["destination"]["label"] = label
    elif label is not None:
        raise click.UsageError("--label needs --destination")
    if show:
        said["show"] = list(show)
    return said


def _signed(
    config: PluginConfig, kind: str, entity_id: str, seconds: int, said: dict[str, Any]
) -> dict[str, Any]:
    found = sharing(config)
    if found is None:
        raise ConfigurationError(
            "nothing is shared: set url in [realtime.plugins.sharing], or give --url", field="url"
        )
    if not 1 <= seconds <= found.settings.max_life:
        raise InvalidRequest(f"a share lasts {found.settings.max_life} s at most (max_life)")
    types: dict[str, EntityType] = click.get_current_context().meta[ENTITY_TYPES]()
    if kind not in types:
        raise UnknownEntityType(f"Unknown entity type {kind!r}; known: {', '.join(sorted(types))}")
    if not re.fullmatch(types[kind].id_pattern, entity_id):
        raise InvalidEntityId
    details = Details.from_wire(said, found.settings.fields)
    share, token = found.tokens.make(EntityRef(kind, entity_id), seconds, details=details)
    return described(share, token, found)


def _unshare(config: PluginConfig, resources: Resources) -> click.Command:
    @click.command("unshare", short_help="End a share.")
    @click.argument("which", metavar="LINK|ID")
    @click.option(
        "--reason", type=click.Choice(REASONS), help="What the page says instead: why it ended."
    )
    @url_option
    @token_option
    def command(which: str, reason: str | None, url: str | None, token: str | None) -> None:
        """End a share, by its link or its id; pages that show it are cut within a second.

        It is written to Redis, under the servers' redis_prefix; standard error says which
        settings are used, and warns when no server is running with them.  With --url, a server ends
        it for the user of --token, who must have made it.
        """
        share_id = id_in(which)
        if url is not None:
            query = "" if reason is None else f"?reason={reason}"
            asyncio.run(_ask("DELETE", f"{url}{PATH}/{share_id}{query}", token))
        else:
            say_where(asyncio.run(_revoke(config, resources, share_id, reason)))
        click.echo(f"ended {share_id}")

    return command


async def _revoke(
    config: PluginConfig, resources: Resources, share_id: str, reason: str | None
) -> int | None:
    if resources.redis is None:
        raise ConfigurationError(
            "unshare needs a redis_url (REDIS_URL), or --url and --token", field="redis_url"
        )
    life = config.load(SharingSettings).max_life
    expires = expiry_of(share_id)
    if expires > time.time() + life + 1:
        raise InvalidRequest("that is no share", field="id")
    prefix = config.settings["redis_prefix"]
    if reason is not None:
        key, seconds = key_and_life(prefix, share_id, expires)
        client: Any = resources.redis.client
        try:
            await client.set(key, End.now(reason).encode(), ex=seconds)
        except RedisError as error:
            await client.aclose()
            raise Unavailable(f"Redis: {error}") from error
    return await revoke_in_redis(resources.redis, config.settings, "token", share_id, expires, life)


async def _ask(method: str, url: str, token: str | None, body: Any = None) -> dict[str, Any]:
    """Call a server, and return its answer.

    :raises RealtimeError: when it refuses.
    :raises Unavailable: when it does not answer.
    :raises ConfigurationError: when ``aiohttp`` is not installed.
    """
    if token is None:
        raise click.UsageError("--url needs --token")
    with extra("cli", "--url"):
        import aiohttp  # noqa: PLC0415
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session,
            session.request(
                method, url, json=body, headers={"Authorization": f"Bearer {token}"}
            ) as response,
        ):
            content, status = await response.read(), response.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unavailable(f"no answer: {type(error).__name__}") from None
    try:
        answer = decode_json(content)
    except InvalidRequest:  # from a proxy, or a server with sharing off
        answer = None
    if not isinstance(answer, dict) or status >= 400:
        said = answer.get("message") if isinstance(answer, dict) else "it is no server that shares"
        raise RealtimeError(f"the server refuses ({status}): {said}")
    return answer

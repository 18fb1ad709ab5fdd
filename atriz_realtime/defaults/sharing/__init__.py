"""Links that show one entity for a while, to whoever has them; off unless it has a ``url``."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import click
from starlette.routing import Route

from atriz_realtime.api import (
    Authenticator,
    Credentials,
    Endpoint,
    EntityRef,
    Identity,
    PluginConfig,
    Resources,
    ServerHandle,
    View,
    hookimpl,
)
from atriz_realtime.defaults.privacy import PrivacyRule, Rule
from atriz_realtime.defaults.sharing import page
from atriz_realtime.defaults.sharing.access_log import Redaction
from atriz_realtime.defaults.sharing.commands import commands
from atriz_realtime.defaults.sharing.http import PATH, SharesApi
from atriz_realtime.defaults.sharing.settings import SharingSettings, sharing
from atriz_realtime.defaults.sharing.tokens import NAME

ACCESS_LOG = logging.getLogger("uvicorn.access")

_REDACTION = Redaction()


@hookimpl
def register_settings() -> type[SharingSettings]:
    """The plugin's own table."""
    return SharingSettings


@hookimpl
def register_authenticators(config: PluginConfig) -> Authenticator | None:
    """Know the tokens of shares, before others refuse what they do not know."""
    found = sharing(config)
    if found is None:
        return None

    def identify(credentials: Credentials) -> Identity | None:
        share = None if credentials.token is None else found.tokens.read(credentials.token)
        return None if share is None else share.identity()

    async def authenticate(credentials: Credentials) -> Identity | None:
        return identify(credentials)

    return Authenticator(NAME, authenticate, order=-100, at_once=identify, weakness=found.weakness)


@hookimpl
def register_views(config: PluginConfig) -> View | None:
    """Show less than the whole location to those who have a link."""
    found = sharing(config)
    if found is None or not found.settings.hide:
        return None

    async def has_a_link(identity: Identity, _: EntityRef) -> bool:
        return identity.authenticator == NAME

    return View(NAME, has_a_link, Rule(PrivacyRule(hide=found.settings.hide)).apply)


@hookimpl
def register_endpoints(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Endpoint | None:
    """Make shares."""
    found = sharing(config)
    if found is None:
        return None
    return Endpoint(PATH, SharesApi(found, server, resources.clock).create)


@hookimpl
def register_routes(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Iterable[Route]:
    """End shares, and show them."""
    found = sharing(config)
    if found is None:
        return []
    api = SharesApi(found, server, resources.clock)
    return [Route(f"{PATH}/{{id}}", api.end, methods=["DELETE"]), *page.routes(found.settings)]


@hookimpl
def register_commands(config: PluginConfig, resources: Resources) -> list[click.Command]:
    """Offer ``atriz-realtime share`` and ``unshare``."""
    return commands(config, resources)


@hookimpl
def server_started(config: PluginConfig) -> None:
    """Keep tokens out of the access log; once is enough for all servers of a process."""
    if sharing(config) is not None:
        ACCESS_LOG.addFilter(_REDACTION)

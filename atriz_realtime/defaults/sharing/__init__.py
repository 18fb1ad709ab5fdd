"""Links that show one entity for a while to whoever has them; off unless ``url`` is set."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.routing import Route

from atriz_realtime.api import (
    Authenticator,
    Credentials,
    Endpoint,
    Identity,
    PluginConfig,
    Resources,
    ServerHandle,
    View,
    hookimpl,
)
from atriz_realtime.defaults.sharing.http import PATH, SharesApi
from atriz_realtime.defaults.sharing.page import END_PATH, page_routes
from atriz_realtime.defaults.sharing.settings import SharingSettings, sharing
from atriz_realtime.defaults.sharing.tokens import NAME
from atriz_realtime.defaults.sharing.view import views

if TYPE_CHECKING:
    import click

ACCESS_LOG = logging.getLogger("uvicorn.access")

_SECRET_SEGMENT = re.compile(r"((?:/track/|/api/tracking/shares/))[^/?# ]+(?=[?# ]|$)")


class Redaction(logging.Filter):
    """Hides tokens and ids of shares in the paths of uvicorn's access log.

    A link has the token behind a ``#``, which browsers send to no server, but a person may put
    it into the path; and the request that ends a share has the share's id there.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, which is logged in any case."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                _SECRET_SEGMENT.sub(r"\1***", each) if isinstance(each, str) else each
                for each in record.args
            )
        return True


_REDACTION = Redaction()


@hookimpl
def register_settings() -> type[SharingSettings]:
    """Return the settings class."""
    return SharingSettings


@hookimpl
def register_authenticators(config: PluginConfig) -> Authenticator | None:
    """Register the authenticator of share tokens, ahead of those that would refuse them."""
    configured = sharing(config)
    if configured is None:
        return None
    tokens = configured.tokens

    def identify(credentials: Credentials) -> Identity | None:
        share = None if credentials.token is None else tokens.read(credentials.token)
        return None if share is None else share.identity()

    async def authenticate(credentials: Credentials) -> Identity | None:
        return identify(credentials)

    return Authenticator(
        NAME, authenticate, order=-100, at_once=identify, weakness=configured.weakness
    )


@hookimpl
def register_views(config: PluginConfig) -> list[View]:
    """Register the views that hide fields from holders of a link."""
    configured = sharing(config)
    return [] if configured is None else views(configured.settings)


@hookimpl
def register_endpoints(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Endpoint | None:
    """Register the endpoint that creates shares."""
    configured = sharing(config)
    if configured is None:
        return None
    return Endpoint(PATH, SharesApi(configured, server, resources).create)


@hookimpl
def register_routes(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Iterable[Route]:
    """Register the routes that end a share and say why it ended, and those of the page."""
    configured = sharing(config)
    if configured is None:
        return []
    server.allow_page(configured.url)
    api = SharesApi(configured, server, resources)
    return [
        Route(f"{PATH}/{{id}}", api.end, methods=["DELETE"]),
        Route(END_PATH, api.told, methods=["GET"]),
        *page_routes(configured.settings, config),
    ]


@hookimpl
def register_commands(config: PluginConfig, resources: Resources) -> list[click.Command]:
    """Register ``atriz-realtime share`` and ``unshare``."""
    # with the commands comes click, which a server need not have
    from atriz_realtime.defaults.sharing.commands import commands  # noqa: PLC0415

    return commands(config, resources)


@hookimpl
def server_started(config: PluginConfig) -> None:
    """Keep tokens out of the access log; one filter serves all servers of a process."""
    if sharing(config) is not None:
        ACCESS_LOG.addFilter(_REDACTION)

"""``/metrics`` for Prometheus: the counters of the server, read for each scrape."""

from __future__ import annotations

import hmac
import ipaddress

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atriz_realtime.api import (
    ConfigurationError,
    NotAuthenticated,
    PluginConfig,
    ServerHandle,
    Unavailable,
    credentials_of,
    hookimpl,
)
from atriz_realtime.defaults.shared.extras import extra

PATH = "/metrics"

MIN_TOKEN = 16
"""Minimum characters of a metrics token; guesses are not limited."""


@attrs.frozen(kw_only=True)
class MetricsSettings:
    """The table ``[realtime.plugins.metrics]``."""

    token: str | None = attrs.field(default=None, repr=False)
    """The bearer token that gives access to `/metrics`, 16 characters or more."""
    networks: tuple[str, ...] = ()
    """Addresses and networks that have access to `/metrics` without a token, such as
    `["127.0.0.1", "10.0.0.0/8"]`; without `token` and `networks` there is no `/metrics`."""

    def __attrs_post_init__(self) -> None:
        if self.token is not None and (len(self.token) < MIN_TOKEN or not self.token.isascii()):
            raise ConfigurationError(
                f"token: {MIN_TOKEN} characters of ASCII or more", field="token"
            )
        for each in self.networks:
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                raise ConfigurationError(f"networks: {error}", field="networks") from error


def has_token(request: Request, token: str | None) -> bool:
    """Whether a request has the token; never when none is configured."""
    given = credentials_of(request).token
    if token is None or given is None:
        return False
    return hmac.compare_digest(given.encode(), token.encode())


def is_from(request: Request, networks: tuple[str, ...]) -> bool:
    """Whether a request comes from one of the networks."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:  # a Unix socket has none
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(network) for network in networks)


@hookimpl
def register_settings() -> type[MetricsSettings]:
    """Return the settings class."""
    return MetricsSettings


@hookimpl
def register_routes(config: PluginConfig, server: ServerHandle) -> Route | None:
    """Register ``/metrics``, when a token or a network has access."""
    settings = config.load(MetricsSettings)
    if settings.token is None and not settings.networks:
        return None
    with extra("metrics", "plugin metrics"):  # and 50 ms to import
        from atriz_realtime.defaults.metrics.families import exposition  # noqa: PLC0415

    async def metrics(request: Request) -> Response:
        if not has_token(request, settings.token) and not is_from(request, settings.networks):
            raise NotAuthenticated
        reports = await server.reports()
        try:
            entities = await server.tracking.counts()
        except Unavailable:  # backend_connected shows it, or the incident cache unavailable
            entities = {}
        body, media_type = exposition(reports, entities, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": media_type})

    return Route(PATH, metrics, methods=["GET"])

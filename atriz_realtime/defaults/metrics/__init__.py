"""``/metrics`` for Prometheus: the numbers that the server keeps anyway, read when it asks."""

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

PATH = "/metrics"

MIN_TOKEN = 16
"""Characters of a metrics token at least: nobody is kept from guessing."""


@attrs.frozen(kw_only=True)
class MetricsSettings:
    """The table ``[realtime.plugins.metrics]``."""

    token: str | None = attrs.field(default=None, repr=False)
    """Answer `/metrics` to whoever sends this as a bearer token; 16 characters or more."""
    networks: tuple[str, ...] = ()
    """Answer `/metrics` to these addresses and networks without a token, such as
    `["127.0.0.1", "10.0.0.0/8"]`; with neither, there is no `/metrics`."""

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


class Gate:
    """Who may read the metrics."""

    def __init__(self, settings: MetricsSettings) -> None:
        self._token = settings.token
        self._networks = [ipaddress.ip_network(each) for each in settings.networks]

    def check(self, request: Request) -> None:
        """Let a request pass.

        :raises NotAuthenticated: when it comes from elsewhere without the token.
        """
        if not self._has_token(request) and not self._is_near(request):
            raise NotAuthenticated

    def _has_token(self, request: Request) -> bool:
        token = credentials_of(request).token
        return (
            self._token is not None
            and token is not None
            and hmac.compare_digest(token.encode(), self._token.encode())
        )

    def _is_near(self, request: Request) -> bool:
        try:
            address = ipaddress.ip_address(request.client.host if request.client else "")
        except ValueError:  # a Unix socket has none
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


@hookimpl
def register_settings() -> type[MetricsSettings]:
    """The table ``[realtime.plugins.metrics]``."""
    return MetricsSettings


@hookimpl
def register_routes(config: PluginConfig, server: ServerHandle) -> Route | None:
    """Serve ``/metrics`` when it is said who may read it."""
    settings = config.load(MetricsSettings)
    if settings.token is None and not settings.networks:
        return None
    # not on everybody's way: a twentieth of a second to import
    from atriz_realtime.defaults.metrics.exposition import exposition  # noqa: PLC0415

    gate = Gate(settings)

    async def metrics(request: Request) -> Response:
        gate.check(request)
        reports = await server.reports()
        try:
            entities = await server.tracking.counts()
        except Unavailable:  # which backend_connected says
            entities = {}
        body, media_type = exposition(reports, entities, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": media_type})

    return Route(PATH, metrics, methods=["GET"])

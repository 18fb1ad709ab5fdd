"""The plugin's settings."""

from __future__ import annotations

import ipaddress

import attrs

from atriz_realtime.api import ConfigurationError

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

"""The plugin's settings."""

from __future__ import annotations

from urllib.parse import urlsplit

import attrs

from atriz_realtime.api import ConfigurationError, PluginConfig
from atriz_realtime.defaults.privacy import PrivacyRule
from atriz_realtime.defaults.shared.pages import check_tile_url
from atriz_realtime.defaults.sharing.tokens import ShareTokens

MIN_SECRET = 32
"""Bytes of the secret that shares are signed with at least (RFC 7518, section 3.2)."""

MAX_LIFE = 31_622_400
"""Seconds that a share can be let last: a leap year."""


@attrs.frozen(kw_only=True)
class SharingSettings:
    """The table ``[realtime.plugins.sharing]``."""

    url: str | None = None
    """Where customers reach this server, such as `https://live.example.com`; none: nothing is
    shared."""
    secret: str | None = attrs.field(default=None, repr=False)
    """What the tokens of shares are signed with, 32 bytes or more; none: `jwt_secret`."""
    max_life: int = attrs.field(
        default=86_400, validator=[attrs.validators.ge(1), attrs.validators.le(MAX_LIFE)]
    )
    """Seconds that a share may last."""
    hide: tuple[str, ...] = ("userId", "deviceId", "metadata")
    """Fields of a location that are not shown, as with the plugin `privacy`."""
    max_created: int = attrs.field(default=100, validator=attrs.validators.ge(0))
    """Shares that one user may make in an hour on one server; 0: no limit."""

    tile_url: str = ""
    """The template of a tile server's addresses for the page's map, with `{z}`, `{x}` and `{y}`;
    empty: the offline map that comes with the package."""
    tile_attribution: str = ""
    """Whom the map thanks for the tiles."""

    def __attrs_post_init__(self) -> None:
        if self.url is not None:
            parts = urlsplit(self.url)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or parts.query
                or parts.fragment
                or parts.username is not None
            ):
                raise ConfigurationError(
                    "url: must be an address such as https://live.example.com", field="url"
                )
        if self.secret is not None and len(self.secret.encode()) < MIN_SECRET:
            raise ConfigurationError(f"secret: has {MIN_SECRET} bytes or more", field="secret")
        check_tile_url(self.tile_url)
        if self.hide:
            PrivacyRule(hide=self.hide)  # which says what cannot be hidden


@attrs.frozen
class Sharing:
    """What there is to share with."""

    settings: SharingSettings
    tokens: ShareTokens
    weakness: str | None
    """Why strangers might make tokens."""

    def link(self, token: str) -> str:
        """Where a share is seen.

        The token stands behind the ``#``, which browsers keep to themselves: it is in no
        request, so that no server and no proxy can log it.
        """
        return f"{(self.settings.url or '').rstrip('/')}/track/#{token}"


def sharing(config: PluginConfig) -> Sharing | None:
    """What is configured; ``None`` when nothing is to be shared.

    :raises ConfigurationError: when there is no secret, or shares could not be ended.
    """
    settings = config.load(SharingSettings)
    if settings.url is None:
        return None
    off = {*config.settings["disabled_plugins"], *config.settings["disabled_hooks"]}
    if off & {"revocations", "revocations:server_started"}:
        raise ConfigurationError("plugin sharing: needs the plugin revocations to end a share")
    secret: str | None = settings.secret or config.settings["jwt_secret"]
    if secret is None:
        raise ConfigurationError("plugin sharing: needs a jwt_secret (JWT_SECRET), or its secret")
    weakness = None
    if len(secret.encode()) < MIN_SECRET:
        weakness = f"shares are signed with a secret of less than {MIN_SECRET} bytes"
    return Sharing(settings, ShareTokens(secret), weakness)

"""The plugin's settings, and what they configure."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

import attrs

from atriz_realtime.api import ConfigurationError, PluginConfig
from atriz_realtime.defaults.privacy import PrivacyRule
from atriz_realtime.defaults.shared.pages import MapSettings
from atriz_realtime.defaults.sharing.tokens import ShareTokens

MIN_SECRET = 32
"""Minimum bytes of the secret that shares are signed with (RFC 7518, section 3.2)."""

MAX_LIFE = 31_622_400
"""Greatest value of ``max_life``, in seconds: a leap year."""


@attrs.frozen(kw_only=True)
class SharingSettings(MapSettings):
    """The table ``[realtime.plugins.sharing]``."""

    url: str | None = None
    """The address at which recipients reach this server, such as `https://live.example.com`; none:
    sharing is off."""
    secret: str | None = attrs.field(default=None, repr=False)
    """The secret that tokens of shares are signed with, 32 bytes or more; none: `jwt_secret`."""
    max_life: int = attrs.field(
        default=86_400, validator=[attrs.validators.ge(1), attrs.validators.le(MAX_LIFE)]
    )
    """Longest life of a share, in seconds."""
    hide: tuple[str, ...] = ("userId", "deviceId", "metadata")
    """Fields of a location that recipients do not see, as with the plugin `privacy`."""
    max_created: int = attrs.field(default=100, validator=attrs.validators.ge(0))
    """Shares that one user may create in an hour on one server; 0: no limit."""
    max_ended: int = attrs.field(default=1_000, validator=attrs.validators.ge(0))
    """Requests to end a share that one user may make in an hour on one server; 0: no limit."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.url is not None:
            parts = urlsplit(self.url)
            if (
                not _has_port(parts)
                or parts.scheme not in ("http", "https")
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
        if self.hide:
            PrivacyRule(hide=self.hide)  # raises for a field that cannot be hidden


def _has_port(parts: SplitResult) -> bool:
    """Whether the port of an address is a number, or left out."""
    try:
        parts.port  # noqa: B018
    except ValueError:
        return False
    return True


@attrs.frozen
class Sharing:
    """The configuration of a server that shares."""

    settings: SharingSettings
    url: str
    """The setting ``url``."""
    tokens: ShareTokens
    weakness: str | None
    """Why an outsider might forge tokens; ``None`` when the secret is strong."""

    def link(self, token: str) -> str:
        """The link to a share.

        The token stands behind a ``#``, which browsers do not send, so no server and no proxy can
        log it.
        """
        return f"{self.url.rstrip('/')}/track/#{token}"


def sharing(config: PluginConfig) -> Sharing | None:
    """Read the configuration; ``None`` when sharing is off.

    :raises ConfigurationError: when there is no secret, or the plugin that ends shares is off.
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
    return Sharing(settings, settings.url, ShareTokens(secret), weakness)

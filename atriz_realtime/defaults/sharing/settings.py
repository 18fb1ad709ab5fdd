"""The plugin's settings, and what they configure."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import attrs

from atriz_realtime.api import ConfigurationError, PluginConfig
from atriz_realtime.defaults.privacy import PrivacyRule
from atriz_realtime.defaults.shared.pages import MapSettings
from atriz_realtime.defaults.sharing.colour import COLOUR
from atriz_realtime.defaults.sharing.details import SHOWN
from atriz_realtime.defaults.sharing.tokens import ShareTokens

MIN_SECRET = 32
"""Minimum bytes of the secret that shares are signed with (RFC 7518, section 3.2)."""

MAX_LIFE = 31_622_400
"""Greatest value of ``max_life``, in seconds: a leap year."""

MAX_LOGO = 262_144
"""Bytes of the file of the setting `brand_logo`."""

LANGUAGES = ("en", "de", "fr", "es", "pt")
"""The languages of the page; the first is that of people who read none of them."""

LOGO_TYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}

_HTTPS = re.compile(r"https://[a-z0-9.-]+(:[0-9]+)?(/[^\s\"'<>;,]*)?", re.IGNORECASE)
_PLACE = re.compile(r"(https?://|mailto:|tel:)[^\s\"'<>]+", re.IGNORECASE)


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

    fields: dict[str, str] = attrs.field(factory=dict)
    """What recipients see of `metadata`: the key (dots lead into objects) of each of `name`,
    `status`, `since`, `driver`, `plate`, `eta` and `destination`; none: nothing of it.  A link may
    show less."""
    steps: tuple[str, ...] = ("accepted", "picked_up", "on_the_way", "arriving", "delivered")
    """The values of the field `status`, in order; the page ends with the last one."""
    step_names: dict[str, dict[str, str]] = attrs.field(factory=dict)
    """A table for each language with names of steps, for those that the page has no words for."""
    stale_after: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    """Seconds after which a position is no longer live: the page says since when there is no
    news, and shows no speed."""
    offline_after: float = attrs.field(default=300.0, validator=attrs.validators.gt(0))
    """Seconds after which the entity counts as offline."""
    language: str | None = None
    """The language of the page: `en`, `de`, `fr`, `es` or `pt`; none: the recipient's."""
    brand_name: str = ""
    """The name of your company or service, at the top of the page."""
    brand_logo: str = ""
    """A logo to show instead of the name: an SVG, PNG, JPEG or WebP file, or an `https` address."""
    brand_colour: str = ""
    """The colour of the top of the page, such as `#d40511`; text on it is black or white, whichever
    reads better."""
    privacy_url: str = ""
    """The address of your privacy notice, which the page links to."""
    contact_url: str = ""
    """Where recipients reach you: an address, or one with `mailto:` or `tel:`."""

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
        self._check_fields()
        self._check_brand()

    def _check_fields(self) -> None:
        for name in self.fields.keys() - set(SHOWN):
            raise ConfigurationError(
                f"fields: {name!r} is none of {', '.join(SHOWN)}", field="fields"
            )
        if self.fields and "metadata" not in self.hide:
            raise ConfigurationError(
                "fields: hide must name 'metadata', or recipients see all of it", field="fields"
            )
        if not self.steps or len(set(self.steps)) < len(self.steps) or not all(self.steps):
            raise ConfigurationError("steps: one or more, each once", field="steps")
        if self.offline_after <= self.stale_after:
            raise ConfigurationError(
                "offline_after: must be more than stale_after", field="offline_after"
            )
        for key, languages in (
            ("language", filter(None, [self.language])),
            ("step_names", self.step_names),
        ):
            for language in languages:
                if language not in LANGUAGES:
                    raise ConfigurationError(
                        f"{key}: {language!r} is none of {', '.join(LANGUAGES)}", field=key
                    )
        for names in self.step_names.values():
            for step in names.keys() - set(self.steps):
                raise ConfigurationError(f"step_names: {step!r} is no step", field="step_names")

    def _check_brand(self) -> None:
        if self.brand_colour and not COLOUR.fullmatch(self.brand_colour):
            raise ConfigurationError(
                "brand_colour: must be a colour such as #d40511", field="brand_colour"
            )
        for key, address in (
            ("privacy_url", self.privacy_url),
            ("contact_url", self.contact_url),
        ):
            if address and not _PLACE.fullmatch(address):
                raise ConfigurationError(
                    f"{key}: must be an address such as https://www.example.com/{key[:-4]}",
                    field=key,
                )
        if not self.brand_logo or _HTTPS.fullmatch(self.brand_logo):
            return
        path = Path(self.brand_logo)
        if path.suffix[1:].lower() not in LOGO_TYPES:
            raise ConfigurationError(
                "brand_logo: must be an https address, or a file with the suffix "
                + ", ".join(f".{suffix}" for suffix in LOGO_TYPES),
                field="brand_logo",
            )
        try:
            size = path.stat().st_size
        except OSError as error:
            raise ConfigurationError(
                f"brand_logo: {path}: {error.strerror}", field="brand_logo"
            ) from None
        if size > MAX_LOGO:
            raise ConfigurationError(
                f"brand_logo: the file has more than {MAX_LOGO:,} bytes", field="brand_logo"
            )


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

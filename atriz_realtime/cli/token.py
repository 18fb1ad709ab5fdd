"""``atriz-realtime token``: it makes JWTs that the server's own authenticator accepts."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import click
import jwt
from jwt.warnings import InsecureKeyLengthWarning

from atriz_realtime.api.durations import parse_duration
from atriz_realtime.api.errors import ConfigurationError, InvalidRequest
from atriz_realtime.api.wire import decode_json
from atriz_realtime.cli.options import config_option
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.plugin_system.plugins import PluginHost

AUTHENTICATOR = "jwt_auth"
"""The plugin that verifies the tokens."""

DEFAULT_TTL = 3_600
"""Seconds."""

MAX_TTL = 10 * 365 * 86_400
"""Ten years in seconds; anything longer is probably a typo."""


def read_duration(_: click.Context, __: click.Parameter, value: str) -> int:
    """Parse a duration such as ``30s``, ``15m``, ``1h`` or ``1h30m``, to seconds."""
    try:
        seconds = parse_duration(value)
    except InvalidRequest as error:
        raise click.BadParameter(error.message) from None
    if not 0 < seconds <= MAX_TTL:
        raise click.BadParameter(f"{value!r} is not between 1s and {MAX_TTL // 86_400}d")
    return seconds


def read_claim(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` options; a value that is not JSON is a string."""
    claims: dict[str, Any] = {}
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{value!r} must be KEY=VALUE")
        if key in ("userId", "exp"):
            raise click.BadParameter(f"{key} is set with --user or --ttl")
        try:
            claims[key] = decode_json(text)
        except InvalidRequest:
            claims[key] = text
    return claims


def minter(
    config: RealtimeConfig,
    user: str,
    ttl: int = DEFAULT_TTL,
    claims: Mapping[str, Any] = MappingProxyType({}),
    otherwise: str = "",
) -> Callable[[], str]:
    """Return a function that makes tokens for a user which the configured server accepts.

    :param ttl: seconds for which a token is valid once it is made.
    :param otherwise: what else helps when there is no secret, for the error.
    :raises ConfigurationError: when the server would accept no token that is made here.
    """
    secret = config.jwt_secret
    if secret is None:
        table = config.plugins.get(AUTHENTICATOR, {})
        if table.get("keys") or table.get("jwks"):
            raise ConfigurationError(
                "there is no jwt_secret to sign a token with, because the server verifies tokens "
                "with keys or jwks: get a token from the service that signs with one of those keys"
                f"{otherwise}"
            )
        raise ConfigurationError(
            "there is no secret to sign a token with: set JWT_SECRET, or jwt_secret in atriz.toml, "
            f"to the secret of the server{otherwise}"
        )
    settings = PluginHost(config).settings.get(AUTHENTICATOR)
    if settings is None:
        raise ConfigurationError(
            f"the plugin {AUTHENTICATOR!r} is off, so no token made here would be accepted"
        )
    algorithm = next((name for name in settings.algorithms if name.startswith("HS")), None)
    if algorithm is None:
        raise ConfigurationError(
            f"the server verifies tokens with {', '.join(settings.algorithms)}, which needs a "
            "private key to sign: get a token from the service that has the key"
        )
    fixed = {"userId": user}
    if settings.audience is not None:
        fixed["aud"] = settings.audience
    if settings.issuer is not None:
        fixed["iss"] = settings.issuer

    def mint() -> str:
        payload = {**fixed, **claims, "exp": int(time.time()) + ttl}
        with warnings.catch_warnings():  # the server warns of a short secret
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            return jwt.encode(payload, secret, algorithm=algorithm)

    return mint


@click.command(
    short_help="Make a token for a user.",
    epilog="\b\nExample:\n"
    '  TOKEN=$(atriz-realtime token --user u1 --ttl 1d --claim \'watch={"vehicle":["v1"]}\')',
)
@click.option("--user", metavar="ID", required=True, help="User of the token.")
@click.option(
    "--ttl",
    default="1h",
    show_default=True,
    callback=read_duration,
    help="How long the token is valid, such as 30s, 15m, 1h or 2d.",
)
@click.option(
    "--claim",
    "claims",
    metavar="KEY=VALUE",
    multiple=True,
    callback=read_claim,
    help="Another claim; a value that is not JSON is a string.  May be repeated.",
)
@config_option
def token(user: str, ttl: int, claims: dict[str, Any], file: str | None) -> None:
    """Print a token for a user, signed with JWT_SECRET, and nothing else."""
    if not user.strip():
        raise click.BadParameter("must not be empty", param_hint="--user")
    click.echo(minter(RealtimeConfig.load(file), user, ttl, claims)())

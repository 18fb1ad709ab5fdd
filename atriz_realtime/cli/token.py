"""``atriz-realtime token``: JWTs that the server's own authenticator accepts."""

from __future__ import annotations

import json
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
from atriz_realtime.cli.options import config_option
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.plugin_system.plugins import PluginHost

AUTHENTICATOR = "jwt_auth"
"""The plugin that tokens are made for."""

DEFAULT_TTL = 3_600

MAX_TTL = 10 * 365 * 86_400
"""Ten years: longer is a slip of the hand."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def read_duration(_: click.Context, __: click.Parameter, value: str) -> int:
    """Read a length of time such as ``30s``, ``15m``, ``1h`` or ``1h30m``, in seconds."""
    try:
        seconds = parse_duration(value)
    except InvalidRequest as error:
        raise click.BadParameter(error.message) from None
    if not 0 < seconds <= MAX_TTL:
        raise click.BadParameter(f"{value!r} is not between 1s and {MAX_TTL // 86_400}d")
    return seconds


def read_claim(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Read ``KEY=VALUE``: the value as JSON where it is JSON, else as a string."""
    claims: dict[str, Any] = {}
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{value!r} must be KEY=VALUE")
        if key in ("userId", "exp"):
            raise click.BadParameter(f"{key} is what --user and --ttl set")
        try:
            claims[key] = json.loads(text, parse_constant=_no_constant)
        except ValueError:
            claims[key] = text
    return claims


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def minter(
    config: RealtimeConfig, user: str, ttl: int = DEFAULT_TTL, claims: Mapping[str, Any] = _EMPTY
) -> Callable[[], str]:
    """Find out how to make tokens for a user; each call then makes one that is good from now on.

    :param ttl: seconds that each is good for.
    :raises ConfigurationError: when no token that is made here would be accepted.
    """
    secret = config.jwt_secret
    if secret is None:
        raise ConfigurationError(
            "there is no secret to sign a token with: set JWT_SECRET, or jwt_secret in atriz.toml, "
            "to the server's"
        )
    settings = PluginHost(config).settings.get(AUTHENTICATOR)
    if settings is None:
        raise ConfigurationError(
            f"the plugin {AUTHENTICATOR!r} is off, so no token made here would be accepted"
        )
    algorithm = next((name for name in settings.algorithms if name.startswith("HS")), None)
    if algorithm is None:
        raise ConfigurationError(
            f"tokens are checked with {', '.join(settings.algorithms)}, which signs with a private "
            "key: get one where that key is"
        )
    fixed = {"userId": user}
    if settings.audience is not None:
        fixed["aud"] = settings.audience
    if settings.issuer is not None:
        fixed["iss"] = settings.issuer

    def mint() -> str:
        payload = {**fixed, **claims, "exp": int(time.time()) + ttl}
        with warnings.catch_warnings():  # that the secret is short is for the server to say
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            return jwt.encode(payload, secret, algorithm=algorithm)

    return mint


@click.command(
    short_help="Make a token for a user.",
    epilog="\b\nExample:\n"
    "  TOKEN=$(atriz-realtime token --user u1 --ttl 1d --claim 'vehicles=[\"v1\"]')",
)
@click.option("--user", metavar="ID", required=True, help="The user it stands for.")
@click.option(
    "--ttl",
    default="1h",
    show_default=True,
    callback=read_duration,
    help="How long it is good for: 30s, 15m, 1h, 2d.",
)
@click.option(
    "--claim",
    "claims",
    metavar="KEY=VALUE",
    multiple=True,
    callback=read_claim,
    help="A further claim; the value is JSON, else a string.  May be repeated.",
)
@config_option
def token(user: str, ttl: int, claims: dict[str, Any], file: str | None) -> None:
    """Print a token for a user, signed with JWT_SECRET, and nothing else."""
    if not user.strip():
        raise click.BadParameter("must not be empty", param_hint="--user")
    click.echo(minter(RealtimeConfig.load(file), user, ttl, claims)())

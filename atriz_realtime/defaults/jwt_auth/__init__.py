"""JWT authentication, on PyJWT.

The user is the token's claim ``userId``, else ``id``, else ``sub``.  The algorithms that are
accepted come from configuration, never from the token (RFC 8725, section 3.1).

A token that is valid is verified once: a client sends the same one in the handshake and again in
``authenticate``, and a device with every fix.  The plugin remembers it, not the core: only an
authenticator knows whether the same credentials still mean the same identity.  What can change is
checked each time: the expiry and the key set here, revocations and other guards in the core.
"""

from __future__ import annotations

import functools
import importlib
import logging
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
import jwt
from jwt.warnings import InsecureKeyLengthWarning

from atriz_realtime.api import (
    AuthenticationRejected,
    Authenticator,
    Check,
    ConfigurationError,
    Credentials,
    Identity,
    InvalidRequest,
    PluginConfig,
    Resources,
    decode_json,
    hookimpl,
)
from atriz_realtime.defaults.jwt_auth.headers import AcceptedHeaders, is_utf8
from atriz_realtime.defaults.jwt_auth.keys import (
    MAX_KID,
    configured,
    fits_any,
    signing_key,
)
from atriz_realtime.defaults.jwt_auth.remembered import RememberedTokens
from atriz_realtime.defaults.shared.extras import extra

if TYPE_CHECKING:
    from jwt.types import Options

    from atriz_realtime.defaults.jwt_auth.jwks import KeySource

logger = logging.getLogger("atriz_realtime.jwt_auth")

USER_CLAIMS = ("userId", "id", "sub")
"""The claims that may name the user, in order; the first one present counts."""

MAX_TOKEN_LENGTH = 8_192
"""Characters of a token; a longer one is refused without being parsed."""

MAX_REMEMBERED = 10_000
"""Verified tokens of HTTP calls that are remembered until they expire; beyond, the oldest one is
forgotten, and verified again when it comes back."""

MAX_REMEMBERED_SOCKETS = 1_000
"""Verified tokens of sockets that are remembered in the same way: few, because ``authenticate``
follows the handshake at once, and separate, so that they do not displace those of devices."""

MAX_REMEMBERED_BYTES = 33_554_432
"""Bytes of the remembered tokens of HTTP calls with their decoded claims, and of those of sockets,
at which the oldest is forgotten as well."""

MIN_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Minimum bytes of an HMAC algorithm's secret (RFC 7518, section 3.2)."""


@attrs.frozen(kw_only=True)
class JwtSettings:
    """The table ``[realtime.plugins.jwt_auth]``."""

    algorithms: tuple[str, ...] = ("HS256",)
    """Signature algorithms of tokens that are checked with `jwt_secret`; those with public keys
    need `atriz-realtime[crypto]`. A key under `keys` or in the JWK set has its own algorithm."""
    audience: str | None = None
    """The audience (``aud``) that a token must name."""
    issuer: str | None = None
    """The issuer (``iss``) that a token must name."""
    leeway: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Seconds by which the issuer's clock may differ."""
    required_claims: tuple[str, ...] = ()
    """Claims that a token must have, such as `exp`."""
    keys: dict[str, str] = attrs.field(factory=dict, repr=False)
    """Further keys by `kid`: either an HS256 secret, or `file:` directly followed by the path of a
    PEM file with a public key, which needs `atriz-realtime[crypto]`. Without `file:`, the text
    itself is the secret."""
    jwks: str | None = None
    """A JWK set with further keys: an https URL, or a path; needs `atriz-realtime[jwks]`."""
    jwks_interval: float = attrs.field(default=300.0, validator=attrs.validators.ge(1))
    """Seconds between two reads of the JWK set."""
    jwks_pause: float = attrs.field(default=10.0, validator=attrs.validators.ge(0))
    """Minimum seconds between two reads, when a token names a `kid` that the set lacks."""
    jwks_allow_http: bool = False
    """Accept an http URL beyond loopback."""

    def __attrs_post_init__(self) -> None:
        for algorithm in self.algorithms:
            if algorithm in jwt.algorithms.requires_cryptography:
                with extra("crypto", algorithm):
                    importlib.import_module("cryptography")
        known = set(jwt.algorithms.get_default_algorithms()) - {"none"}
        if not self.algorithms:
            raise ConfigurationError("algorithms: at least one is needed", field="algorithms")
        for algorithm in self.algorithms:
            if algorithm not in known:
                raise ConfigurationError(
                    f"algorithms: {algorithm!r} is not one of {', '.join(sorted(known))}",
                    field="algorithms",
                )


def secret_weakness(secret: str, algorithms: tuple[str, ...]) -> str | None:
    """The reason why a secret is weak, or ``None`` when it is long enough for its algorithms."""
    size = len(secret.encode())
    for algorithm in algorithms:
        least = MIN_SECRET_BYTES.get(algorithm, 0)
        if size < least:
            return f"the JWT secret has {size} bytes; {algorithm} needs at least {least}"
    return None


TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
"""Accepted values of the header ``typ`` in a token that names a key, in lower case."""


class UnknownKey(AuthenticationRejected):
    """A token names a key that is not known, or not yet."""


class StrictJwt(jwt.PyJWT):
    """PyJWT, with the package's strict JSON decoder for the claims, which accepts UTF-8 alone."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._jws = AcceptedHeaders()

    def unverified_header(self, token: str) -> dict[str, Any]:
        """What the header of a token says, which nothing has verified yet."""
        header = token.partition(".")[0]
        return self._jws.get_unverified_header(f"{header}..")  # it parses all parts: two are empty

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        """Decode the claims; PyJWT documents this method for subclasses."""
        try:
            claims = decode_json(decoded["payload"])
        except InvalidRequest as error:
            raise jwt.DecodeError("the claims are not JSON") from error
        if not isinstance(claims, dict):
            raise jwt.DecodeError("the claims are no JSON object")
        return claims


class JwtAuthenticator:
    """Verifies bearer tokens with the secret, or with the key that they name.

    :param source: the keys of a JWK set, which change over time.
    """

    def __init__(
        self, secret: str | None, settings: JwtSettings, source: KeySource | None = None
    ) -> None:
        self._keys = configured(settings.keys)
        self._source = source
        self._published = source.keys if source is not None else {}
        self._has_ids = bool(settings.keys) or source is not None
        self._key = None if secret is None else signing_key(secret, settings.algorithms)
        self._settings = settings
        self._is_weak = secret is not None and bool(secret_weakness(secret, settings.algorithms))
        self._of_calls = RememberedTokens(MAX_REMEMBERED, MAX_REMEMBERED_BYTES)
        self._of_sockets = RememberedTokens(MAX_REMEMBERED_SOCKETS, MAX_REMEMBERED_BYTES)
        self._algorithms = list(settings.algorithms)
        decoder = StrictJwt(
            {
                "verify_aud": settings.audience is not None,
                "require": list(settings.required_claims),
                "verify_sub": False,  # PyJWT refuses integers, which many databases have as ids
                "verify_jti": False,
            }
        )
        self._unverified_header = decoder.unverified_header
        self._decode = functools.partial(
            decoder.decode,
            audience=settings.audience,
            issuer=settings.issuer,
            leeway=settings.leeway,
        )

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Like :meth:`identify`, but reads the key set for a key that is not known."""
        if self._source is None or credentials.token is None:
            return self.identify(credentials)
        self._source.start()
        try:
            return self.identify(credentials)
        except UnknownKey:
            await self._source.refresh()
            return self.identify(credentials)

    def identify(self, credentials: Credentials) -> Identity | None:
        """The identity of a token's user; ``None`` when there is no token.

        :raises AuthenticationRejected: for a token that is not valid, or when no secret is
            configured.
        """
        token = credentials.token
        if token is None:
            return None
        if self._source is not None and self._published is not self._source.keys:
            self._published = self._source.keys
            self._of_calls.clear()  # some may be signed with a key that is gone
            self._of_sockets.clear()
        remembered = self._of_calls if credentials.source == "http" else self._of_sockets
        known = remembered.get(token)
        if known is not None:
            return known
        if self._key is None and not self._has_ids:
            raise AuthenticationRejected("no JWT secret is configured (JWT_SECRET)")
        if len(token) > MAX_TOKEN_LENGTH:
            raise AuthenticationRejected("the token is too long")
        try:
            claims = self._claims(token, self._key_of(token))
            expires_at = None
            if "exp" in claims:  # converted as PyJWT does
                expires_at = float(int(claims["exp"])) + self._settings.leeway
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            missing = (
                f"claim {error.claim!r}" if isinstance(error, jwt.MissingRequiredClaimError) else ""
            )
            raise AuthenticationRejected(type(error).__name__, missing) from error
        for claim in ("sub", "jti"):
            if claim in claims and type(claims[claim]) not in (str, int):
                raise AuthenticationRejected(f"the claim {claim} is no string and no integer")
        if not is_utf8(token):
            raise AuthenticationRejected("the token is not in UTF-8")
        identity = Identity(
            user_id=user_id(claims),
            claims=MappingProxyType(dict(claims)),
            authenticator="jwt",
            expires_at=expires_at,
        )
        remembered.add(token, identity)
        return identity

    def statistics(self) -> dict[str, float]:
        """The verified tokens that are ``remembered``; their ``bytes`` include their claims."""
        return {
            "remembered": len(self._of_calls) + len(self._of_sockets),
            "bytes": self._of_calls.bytes + self._of_sockets.bytes,
        }

    def _key_of(self, token: str) -> str | jwt.PyJWK:
        if self._has_ids:
            fields = self._unverified_header(token)
            kid, kind = fields.get("kid"), fields.get("typ")
            if (kind.lower() if isinstance(kind, str) else kind) not in TYPES:
                raise AuthenticationRejected("the token is of another type")
            if kid is not None:
                if not isinstance(kid, str) or len(kid) > MAX_KID:
                    raise AuthenticationRejected("the token names no key")
                key = self._keys.get(kid) or self._published.get(kid)
                if key is None:
                    raise UnknownKey("the token names an unknown key", f"kid {kid!r}")
                return key
        if self._key is None:
            raise AuthenticationRejected("the token names no key")
        return self._key

    def _claims(self, token: str, key: str | jwt.PyJWK) -> Mapping[str, Any]:
        if isinstance(key, jwt.PyJWK) and key is not self._key:
            algorithms = [key.algorithm_name]
        else:
            algorithms = self._algorithms
        if not self._is_weak:
            return self._decode(token, key, algorithms=algorithms)
        with warnings.catch_warnings():  # the start logs it, once
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            return self._decode(token, key, algorithms=algorithms)


def user_id(claims: Mapping[str, Any]) -> str:
    """The user that a token's claims name.

    :raises AuthenticationRejected: when no claim does, or its value is no string and no integer.
    """
    for claim in USER_CLAIMS:
        value = claims.get(claim)
        if value is None:
            continue
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and 0 < len(value) <= 256 and value.isprintable():
            return value
        raise AuthenticationRejected(f"the claim {claim} names no user")
    raise AuthenticationRejected(f"no claim names the user ({', '.join(USER_CLAIMS)})")


class JwtAuth:
    """The plugin: each server makes an object of it."""

    def __init__(self) -> None:
        self.source: KeySource | None = None
        """The key set, when one is configured."""

    @hookimpl
    def register_settings(self) -> type[JwtSettings]:
        """Return the settings class."""
        return JwtSettings

    @hookimpl
    def register_authenticators(self, config: PluginConfig, resources: Resources) -> Authenticator:
        """Register the authenticator ``jwt``, for the setting ``jwt_secret`` and the own keys."""
        settings = config.load(JwtSettings)
        secret = config.settings["jwt_secret"]
        weakness = None
        if secret is not None:
            weakness = secret_weakness(secret, settings.algorithms)
            if weakness:
                logger.warning("%s", weakness)
            names_keys = settings.keys or settings.jwks is not None
            if not names_keys and not fits_any(secret, settings.algorithms):
                logger.warning(
                    "jwt_secret is no public key, which %s needs: every token is refused",
                    ", ".join(settings.algorithms),
                )
        elif not settings.keys and settings.jwks is None:
            logger.warning("no JWT secret is configured (JWT_SECRET): every token is refused")
        if settings.jwks is not None:
            with extra("jwks", "jwks"):
                importlib.import_module("cryptography")
                from atriz_realtime.defaults.jwt_auth.jwks import (  # noqa: PLC0415
                    KeySource,
                    check_source,
                )
            check_source(settings.jwks, settings.jwks_allow_http)
            self.source = KeySource(
                settings.jwks, settings.jwks_interval, settings.jwks_pause, resources.report
            )
        verifier = JwtAuthenticator(secret, settings, self.source)
        at_once = verifier.identify if self.source is None else None
        return Authenticator(
            "jwt",
            verifier.authenticate,
            at_once=at_once,
            weakness=weakness,
            statistics=verifier.statistics,
        )

    @hookimpl
    def register_checks(self) -> Check | None:
        """Register the check of the key set, when one is configured."""
        return None if self.source is None else self.source.check()

    @hookimpl
    def server_stopping(self) -> None:
        """Stop reading the key set."""
        if self.source is not None:
            self.source.close()

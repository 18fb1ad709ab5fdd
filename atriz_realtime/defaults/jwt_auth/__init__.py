"""JWT authentication, on PyJWT.

The user is the token's claim ``userId``, else ``id``, else ``sub``.  Which algorithms
are good comes from configuration, never from the token (RFC 8725, section 3.1).
"""

from __future__ import annotations

import base64
import functools
import logging
import time
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs
import jwt
from jwt.warnings import InsecureKeyLengthWarning

from atriz_realtime.api import (
    AuthenticationRejected,
    Authenticator,
    ConfigurationError,
    Credentials,
    Identity,
    InvalidRequest,
    PluginConfig,
    Resources,
    decode_json,
    hookimpl,
)
from atriz_realtime.defaults.jwt_auth.jwks import KeySource, check_source
from atriz_realtime.defaults.jwt_auth.keys import MAX_KID, configured

logger = logging.getLogger("atriz_realtime.jwt_auth")

USER_CLAIMS = ("userId", "id", "sub")
"""The claims that name the user; the first one present does."""

MAX_TOKEN_LENGTH = 8_192
"""Characters of a token; a longer one is refused unread."""

MAX_REMEMBERED = 10_000
"""Tokens of HTTP calls that are known to be good until they expire; beyond, the one that was
checked first is checked again."""

MIN_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Shortest secret of an HMAC algorithm, in bytes (RFC 7518, section 3.2)."""


@attrs.frozen(kw_only=True)
class JwtSettings:
    """The table ``[realtime.plugins.jwt_auth]``."""

    algorithms: tuple[str, ...] = ("HS256",)
    """Signature algorithms that are accepted."""
    audience: str | None = None
    """The audience (``aud``) a token must be for."""
    issuer: str | None = None
    """The issuer (``iss``) a token must come from."""
    leeway: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Seconds of clock skew allowed when times are checked."""
    required_claims: tuple[str, ...] = ()
    """Claims that a token must have, such as `exp`."""
    keys: dict[str, str] = attrs.field(factory=dict, repr=False)
    """Further keys by `kid`: an HS256 secret, or `file:` and the path of a PEM public key."""
    jwks: str | None = None
    """A JWK set with further keys: an https URL, or a file's path."""
    jwks_interval: float = attrs.field(default=300.0, validator=attrs.validators.ge(1))
    """Seconds until the JWK set is read again."""
    jwks_pause: float = attrs.field(default=10.0, validator=attrs.validators.ge(0))
    """Seconds between two reads of it at least, for a `kid` that it has not."""
    jwks_allow_http: bool = False
    """Let the URL be http beyond loopback."""

    def __attrs_post_init__(self) -> None:
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
    """Why a secret is too short for its algorithms, or ``None``."""
    size = len(secret.encode())
    for algorithm in algorithms:
        least = MIN_SECRET_BYTES.get(algorithm, 0)
        if size < least:
            return f"the JWT secret has {size} bytes; {algorithm} needs at least {least}"
    return None


class _OneSecret(jwt.algorithms.HMACAlgorithm):
    """HMAC with one secret, which is looked at once.

    PyJWT asks anew with every token whether the secret may be a key of another kind, which
    takes longer than everything else that it does.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        """The secret's bytes; it was found good when this was made."""
        return key if isinstance(key, bytes) else key.encode()


def signing_key(secret: str, algorithms: tuple[str, ...]) -> str | jwt.PyJWK:
    """What PyJWT is to check signatures with.

    :raises ConfigurationError: when the secret is a key of another kind.
    """
    (algorithm, *others) = algorithms
    known = jwt.algorithms.get_default_algorithms()[algorithm]
    if others or not isinstance(known, jwt.algorithms.HMACAlgorithm):
        return secret
    try:
        known.prepare_key(secret)
    except jwt.InvalidKeyError as error:
        raise ConfigurationError(f"jwt_secret: {error}", field="jwt_secret") from error
    encoded = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    key = jwt.PyJWK({"kty": "oct", "k": encoded, "alg": algorithm})
    key.Algorithm = _OneSecret(known.hash_alg)
    return key


TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
"""What the header ``typ`` of a token that names a key may be, in lower case."""


_OBJECT = "eyJ"
"""How a segment begins whose JSON has ``{"`` as its first two bytes: neither can be half of a
character of UTF-16 or UTF-32."""


def is_utf8(token: str) -> bool:
    """Whether the JSON of a token that could be read is in UTF-8, and begins with no mark.

    Python's ``json`` reads UTF-16 and UTF-32 as well, which RFC 8725, 3.7 forbids.  Both have
    zero bytes, which JSON in UTF-8 has none of.
    """
    if token.startswith(_OBJECT) and token.startswith(_OBJECT, token.find(".") + 1):
        return True  # the usual case
    for segment in token.split(".", 2)[:2]:
        text = base64.urlsafe_b64decode(segment + "==")
        if b"\0" in text or not text.lstrip(b" \t\r\n").startswith(b"{"):
            return False
    return True


class UnknownKey(AuthenticationRejected):
    """A token names a key that is not known (yet)."""


class StrictJwt(jwt.PyJWT):
    """PyJWT, which reads a token's claims as strictly as all other JSON is read."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        """What PyJWT has subclasses override."""
        try:
            claims = decode_json(decoded["payload"])
        except InvalidRequest as error:
            raise jwt.DecodeError("the claims are not JSON") from error
        if not isinstance(claims, dict):
            raise jwt.DecodeError("the claims are no JSON object")
        return claims


class JwtAuthenticator:
    """Checks bearer tokens against the secret, or the key that they name.

    :param source: further keys, of which some may be added later.
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
        self._good: dict[str, Identity] = {}
        self._algorithms = list(settings.algorithms)
        decoder = StrictJwt(
            {
                "verify_aud": settings.audience is not None,
                "require": list(settings.required_claims),
            }
        )
        self._decode = functools.partial(
            decoder.decode,
            audience=settings.audience,
            issuer=settings.issuer,
            leeway=settings.leeway,
        )

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """See :meth:`identify`; reads the key set when it is time to."""
        if self._source is None or credentials.token is None:
            return self.identify(credentials)
        await self._source.current()
        try:
            return self.identify(credentials)
        except UnknownKey:
            await self._source.refresh()
            return self.identify(credentials)

    def identify(self, credentials: Credentials) -> Identity | None:
        """The token's user; ``None`` when there is no token.

        :raises AuthenticationRejected: for a token that is not good, or when no
            secret is configured.
        """
        token = credentials.token
        if token is None:
            return None
        if self._source is not None and self._published is not self._source.keys:
            self._published = self._source.keys
            self._good.clear()  # what a key that has gone had signed is good no more
        remembered = self._good.get(token)
        if remembered is not None:
            if self._holds(remembered):
                return remembered
            del self._good[token]
        if self._key is None and not self._has_ids:
            raise AuthenticationRejected("no JWT secret is configured (JWT_SECRET)")
        if len(token) > MAX_TOKEN_LENGTH:
            raise AuthenticationRejected("the token is too long")
        try:
            claims = self._claims(token, self._key_of(token))
            expires_at = None
            if "exp" in claims:  # as PyJWT reads it
                expires_at = float(int(claims["exp"])) + self._settings.leeway
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise AuthenticationRejected(type(error).__name__) from error
        if not is_utf8(token):
            raise AuthenticationRejected("the token is not in UTF-8")
        identity = Identity(
            user_id=user_id(claims),
            claims=MappingProxyType(dict(claims)),
            authenticator="jwt",
            expires_at=expires_at,
        )
        if credentials.source == "http":  # a device sends its token with every fix
            self._remember(token, identity)
        return identity

    def _key_of(self, token: str) -> str | jwt.PyJWK:
        if self._has_ids:
            header = jwt.get_unverified_header(token)
            kid, kind = header.get("kid"), header.get("typ")
            if (kind.lower() if isinstance(kind, str) else kind) not in TYPES:
                raise AuthenticationRejected("the token is of another type")
            if kid is not None:
                if not isinstance(kid, str) or len(kid) > MAX_KID:
                    raise AuthenticationRejected("the token names no key")
                key = self._keys.get(kid) or self._published.get(kid)
                if key is None:
                    raise UnknownKey("the token names an unknown key")
                return key
        if self._key is None:
            raise AuthenticationRejected("the token names no key")
        return self._key

    def _holds(self, identity: Identity) -> bool:
        """Whether a token that was good when it was checked has not expired since."""
        expires_at = identity.expires_at
        return expires_at is None or expires_at > time.time()

    def _remember(self, token: str, identity: Identity) -> None:
        self._good[token] = identity
        if len(self._good) > MAX_REMEMBERED:
            del self._good[next(iter(self._good))]

    def _claims(self, token: str, key: str | jwt.PyJWK) -> Mapping[str, Any]:
        if isinstance(key, jwt.PyJWK) and key is not self._key:
            algorithms = [key.algorithm_name]
        else:
            algorithms = self._algorithms
        if not self._is_weak:
            return self._decode(token, key, algorithms=algorithms)
        with warnings.catch_warnings():  # it is said once, at the start
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            return self._decode(token, key, algorithms=algorithms)


def user_id(claims: Mapping[str, Any]) -> str:
    """The user that a token's claims name.

    :raises AuthenticationRejected: when none does, or not with a string or a whole number.
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


@hookimpl
def register_settings() -> type[JwtSettings]:
    """The plugin's own table."""
    return JwtSettings


@hookimpl
def register_authenticators(config: PluginConfig, resources: Resources) -> Authenticator:
    """Check bearer tokens with the setting ``jwt_secret``, and with keys of the plugin's own."""
    settings = config.load(JwtSettings)
    secret = config.settings["jwt_secret"]
    weakness = None
    if secret is not None:
        weakness = secret_weakness(secret, settings.algorithms)
        if weakness:
            logger.warning("%s", weakness)
    elif not settings.keys and settings.jwks is None:
        logger.warning("no JWT secret is configured (JWT_SECRET): every token is refused")
    if settings.jwks is None:
        checks = JwtAuthenticator(secret, settings)
        return Authenticator("jwt", checks.authenticate, at_once=checks.identify, weakness=weakness)
    check_source(settings.jwks, settings.jwks_allow_http)
    source = KeySource(settings.jwks, settings.jwks_interval, settings.jwks_pause, resources.report)
    checks = JwtAuthenticator(secret, settings, source)
    return Authenticator("jwt", checks.authenticate, weakness=weakness)

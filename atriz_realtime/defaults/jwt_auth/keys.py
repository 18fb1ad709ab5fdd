"""Keys by their id, each for one algorithm.

The algorithm comes from the key, never from the token (RFC 8725, sections 3.1 and 3.2), so a
public key is never used as an HMAC secret, whatever a token's header says.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import orjson

from atriz_realtime.api import ConfigurationError, Report, limit_reached
from atriz_realtime.defaults.shared.extras import extra

ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Accepted signature algorithms with a public key."""

MIN_RSA_BITS = 2_048
"""Minimum bits of an RSA key (RFC 7518, section 3.3)."""

MIN_SECRET = 32
"""Minimum bytes of an HS256 secret (RFC 7518, section 3.2)."""

MAX_KEYS = 100
"""Keys that are read of one set; the rest are ignored."""

MAX_KID = 128
"""Characters of a key's id; a key with a longer one is ignored."""

FILE = "file:"
"""The prefix of a path to a PEM file."""

TABLE = "[realtime.plugins.jwt_auth]"
"""Where the settings of keys are, for errors."""

_KEY_FILES = (".pem", ".key", ".pub", ".crt", ".cer", ".der")
_PATH = re.compile(r"(~|\.{1,2})?(/[\w.@ -]+)+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+=*")

Keys = Mapping[str, jwt.PyJWK]


def is_path(text: str) -> bool:
    """Whether a text is probably the path of a key's file, and so no secret: it can be guessed."""
    if text.startswith(FILE) or text.lower().endswith(_KEY_FILES):
        return True
    if _PATH.fullmatch(text) and not _BASE64.fullmatch(text):  # which may begin with a slash
        return True
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a path, or with characters that none has
        return False


def configured(table: Mapping[str, str]) -> dict[str, jwt.PyJWK]:
    """The keys of the setting ``keys``.

    :raises ConfigurationError: naming the key that cannot be used, or a library that is missing.
    """
    keys = {}
    for kid, value in table.items():
        where = f"{TABLE}: keys.{kid}"
        if not 0 < len(kid) <= MAX_KID:
            problem = f"{TABLE}: keys: an id has 1 to {MAX_KID} characters"
            raise ConfigurationError(problem, field="keys")
        try:
            keys[kid] = _public(value) if value.startswith(FILE) else _secret(value)
        except OSError as error:
            reason = f"{value.removeprefix(FILE)}: {error.strerror or error}"
            raise ConfigurationError(f"{where}: {reason}", field="keys") from None
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise ConfigurationError(f"{where}: {error}", field="keys") from None
    return keys


def _secret(value: str) -> jwt.PyJWK:
    secret = value.encode()
    if b"-----BEGIN" in secret:
        raise ValueError("a PEM text is no secret; save it as a file, and write file: and its path")
    if is_path(value):
        raise ValueError("a path is no secret; write file: directly in front of it")
    if len(secret) < MIN_SECRET:
        raise ValueError(
            f"an HS256 secret has {MIN_SECRET} bytes or more; a public key is file: and the path"
            " of a PEM file"
        )
    return hmac_key(secret, "HS256")


def hmac_key(secret: bytes, algorithm: str) -> jwt.PyJWK:
    """A secret as the key of one HMAC algorithm."""
    encoded = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    return jwt.PyJWK({"kty": "oct", "k": encoded, "alg": algorithm})


def _public(value: str) -> jwt.PyJWK:
    with extra("crypto", "a public key"):
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415
    public: Any = load_pem_public_key(Path(value.removeprefix(FILE)).read_bytes())
    if isinstance(public, rsa.RSAPublicKey):
        fields = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif hasattr(public, "curve"):
        fields = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        fields = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    return _checked({**fields})


def _checked(fields: Mapping[str, Any]) -> jwt.PyJWK:
    if fields.get("kty") == "oct" or "d" in fields:
        raise ValueError("a key set has public keys only")
    key = jwt.PyJWK(dict(fields))
    if key.algorithm_name not in ASYMMETRIC:
        raise ValueError("an algorithm that is not accepted")
    if key.key_type == "RSA" and key.key.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key has {MIN_RSA_BITS} bits or more")
    return key


def published(document: bytes, report: Report) -> dict[str, jwt.PyJWK]:
    """The usable signature keys of a JWK set (RFC 7517).

    :param report: told of keys that are too many.
    :raises ValueError: when the document is no JWK set.
    """
    parsed = orjson.loads(document)
    fields = parsed if isinstance(parsed, dict) else {}
    listed = fields.get("keys")
    if not isinstance(listed, list):
        hint = "; its jwks_uri is the URL of the keys" if "jwks_uri" in fields else ""
        raise ValueError(f'what is there has no list "keys"{hint}')
    if len(listed) > MAX_KEYS:
        message = f"{len(listed)} keys in one set: those after the first {MAX_KEYS} are ignored"
        limit_reached(report, f"{__name__}.MAX_KEYS", message)
    keys: dict[str, jwt.PyJWK] = {}
    for fields in listed[:MAX_KEYS]:
        if not isinstance(fields, dict) or fields.get("use", "sig") != "sig":
            continue
        kid = fields.get("kid")
        if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID or kid in keys:
            continue
        try:
            keys[kid] = _checked(fields)
        except Exception:  # noqa: S112  # PyJWT and cryptography raise what they like
            continue  # a kind of key that is not supported does not make the others unusable
    return keys


def fits_any(secret: str, algorithms: tuple[str, ...]) -> bool:
    """Whether a secret is a key of one of the algorithms at least."""
    known = jwt.algorithms.get_default_algorithms()
    for algorithm in algorithms:
        try:
            known[algorithm].prepare_key(secret)
        except (jwt.InvalidKeyError, ValueError, TypeError):
            continue
        return True
    return False


class _OneSecret(jwt.algorithms.HMACAlgorithm):
    """HMAC with one secret that was checked before.

    PyJWT checks with every token whether the secret is a key of another kind, which takes longer
    than the rest of its work.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        """Return the secret's bytes, unchecked."""
        return key if isinstance(key, bytes) else key.encode()


def signing_key(secret: str, algorithms: tuple[str, ...]) -> str | jwt.PyJWK:
    """The key that PyJWT verifies signatures with.

    :raises ConfigurationError: when the secret looks like a key of another kind, or like its path.
    """
    elsewhere = f"a public key belongs under keys in {TABLE}, as file: and its path"
    if is_path(secret):
        raise ConfigurationError(
            f"jwt_secret: a path is no secret; {elsewhere}", field="jwt_secret"
        )
    algorithm, *others = algorithms
    known = jwt.algorithms.get_default_algorithms()[algorithm]
    if others or not isinstance(known, jwt.algorithms.HMACAlgorithm):
        return secret
    try:
        known.prepare_key(secret)
    except jwt.InvalidKeyError as error:
        reason = f"jwt_secret: {error}; {elsewhere}"
        raise ConfigurationError(reason, field="jwt_secret") from error
    key = hmac_key(secret.encode(), algorithm)
    key.Algorithm = _OneSecret(known.hash_alg)
    return key

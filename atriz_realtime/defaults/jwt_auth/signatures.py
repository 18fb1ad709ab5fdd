"""Signatures of one HMAC secret, under headers that PyJWT has accepted before."""

from __future__ import annotations

import base64
import hmac
from typing import Any

from jwt import PyJWK, PyJWS
from jwt.algorithms import HMACAlgorithm

MAX_ACCEPTED = 64
"""Headers that are remembered, since the tokens of an issuer share one; PyJWT parses further ones
each time."""


class OneSecret(HMACAlgorithm):
    """HMAC with one secret that was checked before.

    PyJWT checks with every token whether the secret is a key of another kind, which takes longer
    than the rest of its work.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        """Return the secret's bytes, unchecked."""
        return key if isinstance(key, bytes) else key.encode()


class Signatures(PyJWS):
    """PyJWT's check of signatures, which parses and checks the header of every token.

    A token with one secret's signature, under a header that was accepted with it before, is not
    parsed again.  Whether any other token is accepted, and with what error it is refused, is
    PyJWT's to decide.

    :param secret: a key whose algorithm is :class:`OneSecret`.
    """

    def __init__(self, secret: PyJWK) -> None:
        super().__init__()
        self._secret = secret
        algorithm: Any = secret.Algorithm
        self._digest = algorithm.hash_alg().name
        self._accepted: dict[str, dict[str, Any]] = {}

    def decode_complete(
        self, jwt: str | bytes, key: Any = "", *arguments: Any, **options: Any
    ) -> dict[str, Any]:
        """Verify a token; returns its ``payload``, ``header`` and ``signature``."""
        if key is not self._secret or isinstance(jwt, bytes):
            return super().decode_complete(jwt, key, *arguments, **options)
        signed, _, signature = jwt.rpartition(".")
        header, _, payload = signed.partition(".")
        fields = self._accepted.get(header)
        if fields is not None:
            mac = hmac.digest(key.key, signed.encode(), self._digest)
            if hmac.compare_digest(encoded(mac), signature.encode()):
                content = decoded(payload)
                if content is not None:
                    return {"payload": content, "header": fields, "signature": mac}
        complete = super().decode_complete(jwt, key, *arguments, **options)
        if len(self._accepted) < MAX_ACCEPTED:
            self._accepted[header] = complete["header"]
        return complete


def encoded(content: bytes) -> bytes:
    """A segment of a token."""
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def decoded(segment: str) -> bytes | None:
    """What a segment of a token holds; ``None`` when it is not written as it should be."""
    try:
        content = base64.urlsafe_b64decode(segment + "==")
    except ValueError:
        return None
    return content if encoded(content) == segment.encode() else None

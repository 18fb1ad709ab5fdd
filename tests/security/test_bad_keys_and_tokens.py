"""Keys and tokens that are well formed and signed, and must still be refused (RFC 8725)."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.security.test_keys import EC, KeySetAuthenticator, accepts, issuing, jwk, make, signed
from tests.support.servers.serving import SECRET

CLAIMS = {"userId": "u1"}


def segment(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def by_hand(header: bytes, payload: bytes) -> str:
    """A token with any header and payload, validly signed with the usual secret."""
    text = b".".join([segment(header), segment(payload)])
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return b".".join([text, segment(hmac.sign(text, SECRET.encode()))]).decode()


def plain(**fields: Any) -> bytes:
    return json.dumps({"alg": "HS256", "typ": "JWT", **fields}).encode()


async def test_a_point_that_is_not_on_the_curve_is_no_key() -> None:
    """Section 3.4: the inputs of a cryptographic operation are validated."""
    good = jwk("good", "ES256", EC)
    moved = jwk("moved", "ES256", EC)
    moved["y"] = moved["x"]
    other = jwk("other", "ES256", ec.generate_private_key(ec.SECP256R1()), crv="P-384")
    async with issuing(good, moved, other) as issuer:
        authenticator = KeySetAuthenticator(issuer.url)
        assert await authenticator.accepts(signed("good", "ES256", EC))
        assert set(authenticator.source.keys) == {"good"}


async def test_an_encrypted_or_compressed_token_is_refused() -> None:
    """Section 3.6: nothing is encrypted here, so nothing is ever decompressed."""
    payload = json.dumps(CLAIMS).encode()
    packed = zlib.compressobj(wbits=-15)
    deflated = packed.compress(payload) + packed.flush()
    assert await accepts(make(), by_hand(plain(), payload))
    assert not await accepts(make(), by_hand(plain(zip="DEF"), deflated))
    head = segment(json.dumps({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}).encode())
    five = b".".join([head, b"", segment(b"iv"), segment(deflated), segment(b"tag")])
    assert not await accepts(make(), five.decode())


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-8-sig"]
)
async def test_only_utf_8_is_read(encoding: str) -> None:
    """Section 3.7."""
    payload = json.dumps(CLAIMS)
    assert await accepts(make(), by_hand(plain(), payload.encode()))
    assert not await accepts(make(), by_hand(plain(), payload.encode(encoding)))
    header = plain().decode().encode(encoding)
    assert not await accepts(make(), by_hand(header, payload.encode()))
    assert not await accepts(make(), by_hand(plain(), b'{"userId":"\xe9"}'))

"""Keys by their id: configured, published as a key set, rotated, unavailable."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWS
from starlette.applications import Starlette

from atriz_realtime import RealtimeServer
from atriz_realtime.api import AuthenticationRejected, ConfigurationError, Credentials
from atriz_realtime.cli.verdict import Verdict
from atriz_realtime.defaults.jwt_auth import JwtAuthenticator, JwtSettings, headers
from atriz_realtime.defaults.jwt_auth import jwks as jwks_module
from atriz_realtime.defaults.jwt_auth import keys as keys_module
from atriz_realtime.defaults.jwt_auth.jwks import KeySource, check_source
from tests.support.clients.python_socketio import python_connect
from tests.support.servers.serving import SECRET, config, serving, token, until

LOAD = PyJWS._load

OTHER_SECRET = "another-secret-of-more-than-32-bytes"

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
KINDS: list[tuple[str, Any]] = [("RS256", RSA), ("ES256", EC), ("EdDSA", ED)]


def pem(key: Any) -> bytes:
    written: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return written


def jwk(kid: str, algorithm: str, key: Any, **fields: Any) -> dict[str, Any]:
    known = jwt.algorithms.get_default_algorithms()[algorithm]
    public = json.loads(known.to_jwk(key.public_key()))
    return {**public, "kid": kid, "alg": algorithm, "use": "sig", **fields}


def signed(kid: Any, algorithm: str, key: Any, /, user: str = "u1", **headers: Any) -> str:
    return jwt.encode({"userId": user}, key, algorithm, headers={"kid": kid, **headers})


def make(secret: str | None = SECRET, **settings: Any) -> JwtAuthenticator:
    return JwtAuthenticator(secret, JwtSettings(**settings))


async def accepts(authenticator: JwtAuthenticator, text: str, source: Any = "handshake") -> bool:
    try:
        identity = await authenticator.authenticate(Credentials(token=text, source=source))
    except AuthenticationRejected:
        return False
    return identity is not None


# -- configured ----------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "key"), KINDS)
async def test_a_public_key_in_a_file(tmp_path: Path, algorithm: str, key: Any) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem(key))
    checks = make(keys={"k1": f"file:{file}"})
    assert await accepts(checks, signed("k1", algorithm, key))
    assert not await accepts(checks, signed("k2", algorithm, key))
    # the algorithm is the key's, so the public key is no HMAC secret
    segments = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT", "kid": "k1"}, {"userId": "u1"})
    ]
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = base64.urlsafe_b64encode(hmac.sign(b".".join(segments), pem(key))).rstrip(b"=")
    assert not await accepts(checks, b".".join([*segments, signature]).decode())


async def test_secrets_are_rotated_by_their_ids() -> None:
    checks = make(keys={"old": OTHER_SECRET, "new": SECRET * 2})
    assert await accepts(checks, signed("old", "HS256", OTHER_SECRET))
    assert await accepts(checks, signed("new", "HS256", SECRET * 2))
    assert await accepts(checks, token())  # without a key id, jwt_secret is used
    for bad in (
        signed("old", "HS256", SECRET * 2),
        signed("old", "HS512", OTHER_SECRET * 2),
        signed("gone", "HS256", OTHER_SECRET),
        signed("k" * 200, "HS256", SECRET),
        signed("old", "HS256", OTHER_SECRET, typ="dpop+jwt"),
        signed("old", "HS256", OTHER_SECRET, crit=["exp"]),
        jwt.encode({"userId": "u1"}, "", "none", headers={"kid": "old"}),
    ):
        assert not await accepts(checks, bad)
    assert not await accepts(make(None, keys={"old": OTHER_SECRET}), token())


async def test_a_header_is_parsed_once_for_all_tokens_that_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[str] = []

    def parse(jws: PyJWS, text: str) -> Any:
        parsed.append(text.partition(".")[0])
        return LOAD(jws, text)

    monkeypatch.setattr(PyJWS, "_load", parse)
    monkeypatch.setattr(headers, "MAX_ACCEPTED", 2)
    checks = make(keys={"old": OTHER_SECRET, "new": SECRET * 2, "next": SECRET * 3})
    for number in range(3):
        assert await accepts(checks, signed("old", "HS256", OTHER_SECRET, f"u{number}"))
        assert await accepts(checks, signed("new", "HS256", SECRET * 2, f"u{number}"))
    assert len(parsed) == 4  # before each is verified, and when it is
    for _ in range(2):
        assert not await accepts(checks, signed("old", "HS512", OTHER_SECRET * 2))  # not remembered
    assert len(parsed) == 8
    assert await accepts(checks, signed("next", "HS256", SECRET * 3))  # takes the place of "old"
    assert await accepts(checks, signed("new", "HS256", SECRET * 2, "u3"))
    assert len(parsed) == 10
    assert await accepts(checks, signed("old", "HS256", OTHER_SECRET, "u3"))
    assert len(parsed) == 12


async def test_a_wrong_audience_or_issuer_is_refused() -> None:
    checks = make(audience="app", issuer="us")
    assert await accepts(checks, token(aud="app", iss="us"))
    for claims in ({"aud": "app", "iss": "them"}, {"aud": "other", "iss": "us"}, {}):
        assert not await accepts(checks, token(**claims))


async def test_a_key_that_the_token_brings_is_not_read() -> None:
    async with issuing(jwk("k1", "RS256", RSA)) as issuer:
        checks = make(keys={"old": OTHER_SECRET})
        brought: dict[str, Any] = {
            "jku": issuer.url,
            "x5u": issuer.url,
            "jwk": jwk("old", "RS256", RSA),
        }
        assert not await accepts(checks, signed("old", "RS256", RSA, **brought))
        assert issuer.requests == 0


async def test_claims_that_a_token_must_have() -> None:
    checks = make(required_claims=("exp", "jti"))
    assert not await accepts(checks, token())
    assert not await accepts(checks, token(exp=4_000_000_000))
    assert await accepts(checks, token(exp=4_000_000_000, jti="1"))


def test_a_file_that_cannot_be_read_is_named_without_a_number() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        make(keys={"k1": "file:/nowhere/key.pem"})
    reason = "keys.k1: /nowhere/key.pem: No such file or directory"
    assert refusal.value.message.endswith(reason)


@pytest.mark.parametrize("value", ["short", "file:/nowhere/key.pem", "file:", pem(RSA).decode()])
def test_a_key_that_cannot_be_used_stops_the_start(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"keys\.k1") as error:
        make(keys={"k1": value})
    assert str(error.value).startswith("[realtime.plugins.jwt_auth]: keys.k1: ")
    assert "file:" in str(error.value) or value.startswith("file:")
    assert "BEGIN" not in str(error.value)


@pytest.mark.parametrize(
    "path",
    [
        "keys/public.pem",
        "/etc/realtime/keys/the-public-key-of-2026-11",
        "../a/directory/with-keys/and-one-of-them",
        "~/.keys/realtime/the-public-key-of-2026-11",
        "the-private-key-of-the-issuer-of-2026-11.key",
    ],
)
@pytest.mark.parametrize("key", [False, True], ids=["jwt_secret", "keys"])
def test_a_path_without_its_prefix_is_no_secret(path: str, key: bool) -> None:
    """Anybody can guess it, and so sign tokens with it."""
    with pytest.raises(ConfigurationError, match="file:") as refusal:
        make(None, keys={"k1": path}) if key else make(path)
    assert "[realtime.plugins.jwt_auth]" in refusal.value.message
    assert refusal.value.field == ("keys" if key else "jwt_secret")


def test_a_name_of_a_file_that_exists_is_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "public-key-of-the-issuer-of-our-tokens"
    make(name, keys={"k1": name})
    Path(name).write_bytes(pem(RSA))
    with pytest.raises(ConfigurationError, match="file:"):
        make(name)
    with pytest.raises(ConfigurationError, match="file:"):
        make(None, keys={"k1": name})


def test_the_path_of_a_key_is_no_jwt_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="under keys"):
        make(f"file:{tmp_path}/a-directory-with-keys/public.pem")


@pytest.mark.parametrize(
    "secret",
    [
        "/9j4ShQk1VbX0yZ3mT7pLw2cR8dNfGhJ6sAaEeUuIiO=",  # Base64 may begin with a slash
        "/J!x$Kq%9wZ(t2&Rb)5mV^s8*Lp+3nHc#7dGf",
        "a secret of many words, with a / in between",
        "x" * 5_000,
    ],
)
def test_a_secret_may_hold_slashes(secret: str) -> None:
    make(secret, keys={"k1": secret})


def test_a_short_rsa_key_stops_the_start(tmp_path: Path) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    (tmp_path / "key.pem").write_bytes(pem(short))
    with pytest.raises(ConfigurationError, match="2048 bits"):
        make(keys={"k1": f"file:{tmp_path / 'key.pem'}"})


# -- published -----------------------------------------------------------------------------


@attrs.define
class Issuer:
    """Publishes a key set over HTTP, and counts requests."""

    url: str = ""
    keys: list[dict[str, Any]] = attrs.field(factory=list)
    body: bytes | None = None
    status: int = 200
    requests: int = 0
    hangs: asyncio.Event | None = None

    async def answer(self, _: web.Request) -> web.Response:
        self.requests += 1
        if self.hangs is not None:
            await self.hangs.wait()
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return web.Response(body=body, status=self.status, headers={"Location": self.url})


@asynccontextmanager
async def issuing(*keys: dict[str, Any]) -> AsyncIterator[Issuer]:
    issuer = Issuer(keys=list(keys))
    app = web.Application()
    app.router.add_get("/jwks.json", issuer.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
        yield issuer
    finally:
        await runner.cleanup()


class KeySetAuthenticator:
    """An authenticator with a key set, and the incidents that it reported."""

    def __init__(self, source: str, interval: float = 300, pause: float = 0) -> None:
        self.reported: list[str] = []
        self.messages: list[str] = []
        self.source = KeySource(source, interval, pause, self._report)
        self.checks = JwtAuthenticator(None, JwtSettings(), self.source)

    def _report(self, kind: str, message: str, *, labels: Mapping[str, str] | None = None) -> None:
        self.reported.append(kind.format(**labels or {}))
        self.messages.append(message)

    async def accepts(self, text: str, source: Any = "handshake") -> bool:
        return await accepts(self.checks, text, source)


@pytest.mark.parametrize("source", ["handshake", "event", "http"])
async def test_a_new_key_is_found_and_a_removed_key_is_refused(source: str) -> None:
    async with issuing(jwk("k1", "RS256", RSA)) as issuer:
        authenticator = KeySetAuthenticator(issuer.url)
        first, second = signed("k1", "RS256", RSA), signed("k2", "ES256", EC)
        assert await authenticator.accepts(first, source)
        assert await authenticator.accepts(first, source)
        assert issuer.requests == 1
        issuer.keys = [jwk("k2", "ES256", EC)]
        assert await authenticator.accepts(second)
        assert issuer.requests == 2
        assert not await authenticator.accepts(first, source)  # although it was remembered


async def test_an_outage_keeps_the_keys_that_were_read() -> None:
    other = json.dumps({"keys": [jwk("k2", "EdDSA", ED)]}).encode()
    async with issuing(jwk("k1", "EdDSA", ED)) as issuer:
        authenticator = KeySetAuthenticator(issuer.url)
        assert await authenticator.accepts(signed("k1", "EdDSA", ED))
        for status, body in (
            (500, None),
            (302, None),
            (200, b"{"),
            (200, b'{"keys": null}'),
            (200, other.ljust(jwks_module.MAX_BYTES + 1)),
        ):
            issuer.status, issuer.body = status, body
            assert not await authenticator.accepts(signed("k2", "EdDSA", ED))
            assert await authenticator.accepts(signed("k1", "EdDSA", ED))
    await authenticator.source.refresh()  # the issuer has stopped
    assert await authenticator.accepts(signed("k1", "EdDSA", ED))
    assert authenticator.reported == ["key set unavailable"] * 6


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, None, "it answered with status 404"),
        (302, None, "it answered with status 302, a redirect, which is not followed"),
        (200, b"<html>", "what is there is not JSON"),
        (200, b"[]", 'what is there has no list "keys"'),
        (
            200,
            b'{"issuer": "x", "jwks_uri": "https://x/keys"}',
            'what is there has no list "keys"; its jwks_uri is the URL of the keys',
        ),
        (200, b" " * 262_145, "more than 262144 bytes"),
    ],
)
async def test_the_log_says_why_a_set_cannot_be_read(
    status: int, body: bytes | None, reason: str
) -> None:
    async with issuing(jwk("k1", "EdDSA", ED)) as issuer:
        issuer.status, issuer.body = status, body
        secret = issuer.url.replace("http://", "http://user:hunter2@") + "?token=hunter2#hunter2"
        authenticator = KeySetAuthenticator(secret)
        assert not await authenticator.accepts(signed("k1", "EdDSA", ED))
        end = "; the 0 keys read before are kept"
        assert set(authenticator.messages) == {f"{issuer.url}: {reason}{end}"}


async def test_the_log_says_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_module, "TIMEOUT", 0.01)
    async with issuing() as issuer:
        issuer.hangs = asyncio.Event()
        hanging = KeySetAuthenticator(issuer.url)
        assert not await hanging.accepts(signed("k1", "EdDSA", ED))
        assert hanging.messages[0].startswith(f"{issuer.url}: no answer within 0.01 s; the 0 keys")
        issuer.hangs.set()
    monkeypatch.setattr(jwks_module, "TIMEOUT", 5)
    stopped = KeySetAuthenticator(issuer.url)
    assert not await stopped.accepts(signed("k1", "EdDSA", ED))
    assert "Connect call failed" in stopped.messages[0]


@pytest.mark.parametrize("source", ["id.example.com/jwks.json", "/nowhere/jwks.json", "ftp://x/y"])
def test_a_path_without_a_file_stops_the_start(source: str) -> None:
    settings = config(plugins={"jwt_auth": {"jwks": source}})
    with pytest.raises(ConfigurationError) as error:
        RealtimeServer(Starlette(), settings)
    problem = f"jwks: there is no file {source!r}; a URL begins with https://"
    assert error.value.message == f"[realtime.plugins.jwt_auth]: {problem}"


@pytest.mark.parametrize(
    "left",
    [[], [jwk("k1", "EdDSA", ED, use="enc")], [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}]],
)
async def test_a_set_without_keys_is_an_answer_and_no_outage(left: list[dict[str, Any]]) -> None:
    async with issuing(jwk("k1", "EdDSA", ED)) as issuer:
        authenticator = KeySetAuthenticator(issuer.url)
        good = signed("k1", "EdDSA", ED)
        assert await authenticator.accepts(good)
        issuer.keys = left
        await authenticator.source.refresh()
        assert not await authenticator.accepts(good)
        assert set(authenticator.reported) == {"key set empty"}
        issuer.keys = [jwk("k1", "EdDSA", ED)]
        assert await authenticator.accepts(good)


async def test_a_known_key_waits_for_no_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_module, "TIMEOUT", 60)
    async with issuing(jwk("k1", "EdDSA", ED)) as issuer:
        authenticator = KeySetAuthenticator(issuer.url, interval=0.01)
        assert await authenticator.accepts(signed("k1", "EdDSA", ED))
        issuer.hangs = asyncio.Event()
        seen = issuer.requests
        await until(lambda: issuer.requests > seen)  # nobody calls meanwhile
        assert await authenticator.accepts(signed("k1", "EdDSA", ED))
        assert await authenticator.accepts(signed("k1", "EdDSA", ED, "u2"))
        unknown = asyncio.ensure_future(authenticator.accepts(signed("k2", "ES256", EC)))
        await asyncio.sleep(0)
        assert not unknown.done()  # the read may bring its key
        issuer.keys.append(jwk("k2", "ES256", EC))
        issuer.hangs.set()
        assert await unknown
        authenticator.source.close()


async def test_the_keys_of_a_set_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "MAX_KEYS", 1)
    async with issuing(jwk("k1", "EdDSA", ED), jwk("k2", "EdDSA", ED)) as issuer:
        authenticator = KeySetAuthenticator(issuer.url, pause=60)
        assert await authenticator.accepts(signed("k1", "EdDSA", ED))
        assert not await authenticator.accepts(signed("k2", "EdDSA", ED))
    assert authenticator.reported == ["limit defaults.jwt_auth.keys.MAX_KEYS reached"]


async def test_unknown_keys_cause_no_flood_of_requests() -> None:
    async with issuing(jwk("k1", "RS256", RSA)) as issuer:
        authenticator = KeySetAuthenticator(issuer.url, pause=60)
        for number in range(50):
            assert not await authenticator.accepts(signed(f"x{number}", "ES256", EC))
        assert issuer.requests == 1


def test_a_refusal_names_the_unknown_key_and_the_missing_claim() -> None:
    """Apart from its reason, by which refusals are counted: anybody can send any key's id."""
    credentials = Credentials(token=signed("no\nkey", "HS256", SECRET))
    with pytest.raises(AuthenticationRejected) as refusal:
        make(keys={"k1": SECRET}).identify(credentials)
    assert refusal.value.reason == "the token names an unknown key"
    assert refusal.value.detail == r"kid 'no\nkey'"
    with pytest.raises(AuthenticationRejected) as refusal:
        make(audience="tracking").identify(Credentials(token=token()))
    assert refusal.value.reason == "MissingRequiredClaimError"
    assert refusal.value.detail == "claim 'aud'"


async def test_a_set_that_has_not_changed_forgets_no_token() -> None:
    """Anybody can have it read, with a token that names an unknown key."""
    async with issuing(jwk("k1", "ES256", EC)) as issuer:
        authenticator = KeySetAuthenticator(issuer.url)
        for user in ("u1", "u2"):
            assert await authenticator.accepts(signed("k1", "ES256", EC, user))
        assert not await authenticator.accepts(signed("unknown", "ES256", EC))
        assert issuer.requests == 2
        assert authenticator.checks.statistics()["remembered"] == 2
        authenticator.source.close()


async def test_a_set_is_read_again_after_its_interval(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk("k1", "RS256", RSA)]}))
    authenticator = KeySetAuthenticator(str(file), interval=0.01, pause=60)
    assert await authenticator.accepts(signed("k1", "RS256", RSA))
    file.write_text(json.dumps({"keys": [jwk("k2", "ES256", EC)]}))
    await until(lambda: "k2" in authenticator.source.keys)  # nobody calls meanwhile
    assert not await authenticator.accepts(signed("k1", "RS256", RSA))
    assert await authenticator.accepts(signed("k2", "ES256", EC))
    authenticator.source.close()


async def test_keys_that_are_not_for_this_are_left_out() -> None:
    secret = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    async with issuing(
        {"kty": "oct", "k": secret, "kid": "oct", "alg": "HS256"},
        jwk("enc", "RS256", RSA, use="enc"),
        jwk("short", "RS256", short),
        jwk("swapped", "RS256", RSA, alg="HS256"),
        jwk("none", "RS256", RSA, alg="none"),
        {"kty": "new", "kid": "new"},
        jwk("good", "RS256", RSA),
    ) as issuer:
        authenticator = KeySetAuthenticator(issuer.url)
        assert await authenticator.accepts(signed("good", "RS256", RSA))
        assert set(authenticator.source.keys) == {"good"}
        assert not await authenticator.accepts(signed("oct", "HS256", SECRET))
        assert not await authenticator.accepts(signed("good", "RS512", RSA))


async def test_a_server_with_a_key_set_and_no_secret() -> None:
    async with (
        issuing(jwk("k1", "ES256", EC)) as issuer,
        serving(
            jwt_secret=None,
            plugins={"jwt_auth": {"jwks": issuer.url, "jwks_interval": 60, "jwks_pause": 0}},
        ) as live,
    ):
        good, bad = signed("k1", "ES256", EC), signed("k2", "ES256", EC)
        async with python_connect(live, auth={"token": good}) as client:
            assert await client.call("track:vehicle", "v1") == {"success": True}
        async with python_connect(live, user=None) as client:
            answer = await client.call("authenticate", bad)
            assert answer["message"] == "Authentication failed"
            assert answer["code"] == "invalid_token"
        plugin: Any = live.server._plugins._manager.get_plugin("jwt_auth")
        source = plugin.source
        requests = issuer.requests
        await live.server.close()
        await source.refresh()
        source.start()
        assert issuer.requests == requests


async def problems(source: str, *lacking: str) -> list[str]:
    """What the plugins' checks find with a key set."""
    server = RealtimeServer(Starlette(), config(plugins={"jwt_auth": {"jwks": source}}))
    found = Verdict()
    await found.ask_plugins(server, lacking)
    return found.problems


async def test_check_reads_the_key_set_of_a_url() -> None:
    async with issuing(jwk("k1", "ES256", EC)) as issuer:
        assert await problems(issuer.url) == []
        assert issuer.requests == 1
        for status, body, reason in (
            (503, None, "status 503"),
            (302, None, "status 302, a redirect"),
            (200, b"<html>", "not JSON"),
            (200, b'{"jwks_uri": "x"}', "its jwks_uri is the URL of the keys"),
            (200, b'{"keys": []}', "no key that can be used"),
            (200, b"[]".ljust(jwks_module.MAX_BYTES + 1), "more than 262144 bytes"),
        ):
            issuer.status, issuer.body = status, body
            (problem,) = await problems(issuer.url)
            assert problem.startswith("[realtime.plugins.jwt_auth]: jwks: ")
            assert reason in problem
        requests = issuer.requests
        assert await problems(issuer.url, "redis", "network") == []
        assert issuer.requests == requests
    (problem,) = await problems(issuer.url)
    assert problem.startswith("[realtime.plugins.jwt_auth]: jwks: Connect call failed")


async def test_check_says_that_an_issuer_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_module, "TIMEOUT", 0.05)
    async with issuing() as issuer:
        issuer.hangs = asyncio.Event()
        (problem,) = await problems(issuer.url)
        issuer.hangs.set()
    assert problem.endswith("jwks: no answer within 0.05 s")


async def test_check_reads_the_file_of_a_key_set_offline_too(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk("k1", "ES256", EC)]}))
    assert await problems(str(file), "redis", "network") == []
    file.write_text("{")
    (problem,) = await problems(str(file), "redis", "network")
    assert problem.endswith("jwks: what is there is not JSON")


def test_http_is_allowed_for_loopback_alone() -> None:
    for source in ("https://id.example.com/jwks", "http://localhost:1/jwks", __file__):
        check_source(source, allow_http=False)
    with pytest.raises(ConfigurationError, match="use https"):
        check_source("http://id.example.com/jwks", allow_http=False)
    RealtimeServer(
        Starlette(),
        config(plugins={"jwt_auth": {"jwks": "http://id.example.com/", "jwks_allow_http": True}}),
    )

"""JWT authentication beyond the contract: claims, algorithms, times, weak secrets."""

from __future__ import annotations

import base64
import hmac
import re
import time
import tracemalloc
from collections.abc import Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Literal

import jwt
import pytest
from jwt.warnings import InsecureKeyLengthWarning

from atriz_realtime.api import AuthenticationRejected, ConfigurationError, Credentials, Resources
from atriz_realtime.defaults import jwt_auth
from atriz_realtime.defaults.jwt_auth import (
    JwtAuth,
    JwtAuthenticator,
    JwtSettings,
    secret_weakness,
)
from atriz_realtime.plugin_system.plugins import PluginView
from atriz_realtime.plugin_system.structure import structure
from atriz_realtime.testing import SECRET, FakeClock

LONG_SECRET = SECRET * 2
RESOURCES = Resources(clock=FakeClock(), redis=None, settings={})


def signed(
    claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256", **options: Any
) -> Credentials:
    return Credentials(token=jwt.encode(claims, secret, algorithm, **options))


def make(secret: str | None = SECRET, **settings: Any) -> JwtAuthenticator:
    return JwtAuthenticator(secret, structure(settings, JwtSettings, "[table]"))


def set_clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Set the current time, for PyJWT as well."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(now, tz)

    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr("jwt.api_jwt.datetime", Clock)


async def refused(authenticator: JwtAuthenticator, credentials: Credentials) -> str:
    with pytest.raises(AuthenticationRejected) as refusal:
        await authenticator.authenticate(credentials)
    return refusal.value.reason


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"userId": "a", "id": "b", "sub": "c"}, "a"),
        ({"id": "b", "sub": "c"}, "b"),
        ({"sub": "c"}, "c"),
        ({"userId": None, "id": "b"}, "b"),
        ({"userId": 7}, "7"),
        ({"userId": 0}, "0"),
        ({"sub": 42}, "42"),
        ({"sub": 42, "jti": 7}, "42"),
        ({"userId": "a", "sub": 42}, "a"),
        ({"userId": "飛 🚚"}, "飛 🚚"),
    ],
)
async def test_the_claim_that_names_the_user(claims: dict[str, Any], user: str) -> None:
    identity = await make().authenticate(signed(claims))
    assert identity is not None
    assert identity.user_id == user
    assert dict(identity.claims) == claims


@pytest.mark.parametrize("value", [None, True, 1.5, [], {}], ids=str)
@pytest.mark.parametrize("claim", ["sub", "jti"])
async def test_a_subject_and_an_id_are_strings_or_integers(claim: str, value: Any) -> None:
    credentials = signed({"userId": "a", claim: value})
    assert await refused(make(), credentials) == f"the claim {claim} is no string and no integer"


async def test_claims_cannot_be_changed() -> None:
    identity: Any = await make().authenticate(signed({"userId": "a"}))
    with pytest.raises(TypeError):
        identity.claims["userId"] = "b"


@pytest.mark.parametrize("secret", [None, SECRET])
async def test_credentials_without_a_token_are_left_to_others(secret: str | None) -> None:
    assert await make(secret).authenticate(Credentials()) is None


async def test_without_a_secret_every_token_is_refused_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = JwtAuth().register_authenticators(
        PluginView(name="jwt_auth", settings={"jwt_secret": None}, table={}),
        RESOURCES,
    )
    assert caplog.messages == ["no JWT secret is configured (JWT_SECRET): every token is refused"]
    with pytest.raises(AuthenticationRejected):
        await record.authenticate(signed({"userId": "a"}))
    assert record.weakness is None


# -- algorithms come from configuration ----------------------------------------------------


async def test_only_configured_algorithms_are_accepted() -> None:
    both = make(LONG_SECRET, algorithms=["HS256", "HS512"])
    for algorithm in ("HS256", "HS512"):
        assert await both.authenticate(signed({"userId": "a"}, LONG_SECRET, algorithm))
    await refused(make(LONG_SECRET), signed({"userId": "a"}, LONG_SECRET, "HS512"))


@pytest.mark.parametrize("algorithms", [["none"], ["HS257"], ["HS256", "None"]])
def test_an_unknown_algorithm_stops_the_start(algorithms: list[str]) -> None:
    with pytest.raises(ConfigurationError) as error:
        make(algorithms=algorithms)
    assert error.value.field == "algorithms"


@pytest.mark.parametrize("algorithms", [[], "", 5])
def test_algorithms_are_a_list_that_is_not_empty(algorithms: Any) -> None:
    with pytest.raises(ConfigurationError, match="algorithms"):
        make(algorithms=algorithms)


async def test_a_public_key_is_no_secret() -> None:
    """A token signed with the public key's text must not pass (RFC 8725, section 3.1)."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    authenticator = make(public.decode(), algorithms=["RS256"])
    good = jwt.encode({"userId": "a"}, key, "RS256")
    assert await authenticator.authenticate(Credentials(token=good))
    header, body = (part.rstrip(b"=") for part in (b"eyJhbGciOiJIUzI1NiJ9", b"eyJ1c2VySWQiOiJhIn0"))
    forged = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = jwt.utils.base64url_encode(forged.sign(header + b"." + body, public))
    await refused(authenticator, Credentials(token=b".".join((header, body, signature)).decode()))


def test_a_public_key_cannot_be_the_secret() -> None:
    """Likewise, when only secrets are expected."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    public = ed25519.Ed25519PrivateKey.generate().public_key()
    text = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    with pytest.raises(ConfigurationError, match="asymmetric key") as error:
        make(text)
    assert error.value.field == "jwt_secret"


# -- times, audience, issuer ---------------------------------------------------------------


async def test_the_identity_has_the_expiry() -> None:
    expires = int(time.time()) + 60
    for exp in (expires, float(expires), str(expires)):
        identity = await make().authenticate(signed({"userId": "a", "exp": exp}))
        assert identity is not None
        assert identity.expires_at == expires
        assert isinstance(identity.expires_at, int | float)
    unlimited = await make().authenticate(signed({"userId": "a"}))
    assert unlimited is not None
    assert unlimited.expires_at is None


@pytest.mark.parametrize(
    "exp", ["soon", [], {}, None, "nan", "inf", float("inf"), 10**400], ids=lambda exp: str(exp)[:8]
)
async def test_an_invalid_expiry_is_refused(exp: Any) -> None:
    await refused(make(), signed({"userId": "a", "exp": exp}))


async def test_leeway() -> None:
    expired = signed({"userId": "a", "exp": int(time.time()) - 5})
    assert await refused(make(), expired) == "ExpiredSignatureError"
    assert await make(leeway=60.0).authenticate(expired)


async def test_audience_and_issuer() -> None:
    strict = make(audience="app", issuer="us")
    assert await strict.authenticate(signed({"userId": "a", "aud": "app", "iss": "us"}))
    assert await strict.authenticate(signed({"userId": "a", "aud": ["x", "app"], "iss": "us"}))
    for claims in (
        {"iss": "us"},
        {"aud": "app"},
        {"aud": "other", "iss": "us"},
        {"aud": "app", "iss": "them"},
    ):
        await refused(strict, signed({"userId": "a", **claims}))
    assert await make().authenticate(signed({"userId": "a", "aud": "anything"}))


@pytest.mark.parametrize(
    "headers", [{"crit": ["exp"]}, {"crit": ["b64"], "b64": False}, {"crit": []}, {"crit": "exp"}]
)
async def test_an_unknown_critical_extension_is_refused(headers: dict[str, Any]) -> None:
    await refused(make(), signed({"userId": "a"}, headers=headers))


@pytest.mark.parametrize("payload", [b"[1]", b'"u1"', b"7", b"null", b"true", b"{", b""])
async def test_claims_that_are_no_object_are_refused(payload: bytes) -> None:
    token = jwt.PyJWS().encode(payload, SECRET, "HS256")
    assert await refused(make(), Credentials(token=token)) == "DecodeError"


# -- tokens that are remembered ------------------------------------------------------------


class Counting(JwtAuthenticator):
    """Counts how often a token is verified."""

    checked = 0

    def _claims(self, token: str, key: str | jwt.PyJWK) -> Mapping[str, Any]:
        self.checked += 1
        return super()._claims(token, key)


def counting(**settings: Any) -> Counting:
    return Counting(SECRET, structure(settings, JwtSettings, "[table]"))


Source = Literal["handshake", "event", "http"]


def sent(claims: dict[str, Any], source: Source = "http") -> Credentials:
    return Credentials(token=jwt.encode(claims, SECRET, "HS256"), source=source)


@pytest.mark.parametrize("sources", [("handshake", "event"), ("event", "handshake"), ("http",)])
async def test_a_token_is_verified_once(sources: tuple[Source, ...]) -> None:
    authenticator = counting()
    first = await authenticator.authenticate(sent({"userId": "a"}, sources[0]))
    for source in sources:
        assert await authenticator.authenticate(sent({"userId": "a"}, source)) is first
    assert authenticator.checked == 1
    other = await authenticator.authenticate(sent({"userId": "b"}))
    assert other is not None
    assert (other.user_id, authenticator.checked) == ("b", 2)


@pytest.mark.parametrize("leeway", [0.0, 5.0])
@pytest.mark.parametrize("exp", [1_900_000_000, 1_900_000_000.9, "1900000000"])
async def test_a_remembered_token_expires_on_time(
    monkeypatch: pytest.MonkeyPatch, leeway: float, exp: Any
) -> None:
    credentials, remembers = sent({"userId": "a", "exp": exp}), counting(leeway=leeway)
    ends = 1_900_000_000 + leeway
    set_clock(monkeypatch, ends - 10)
    assert await remembers.authenticate(credentials)
    for moment in (ends - 1, ends - 0.001, ends, ends + 0.5, ends + 1, ends + 100):
        set_clock(monkeypatch, moment)
        outcomes = []
        for authenticator in (remembers, make(leeway=leeway)):
            try:
                outcomes.append(await authenticator.authenticate(credentials) is not None)
            except AuthenticationRejected:
                outcomes.append(False)
        assert outcomes == [moment < ends] * 2, moment


def mutations(token: str) -> list[str]:
    """What a token can be changed into."""
    header, payload, signature = token.split(".")
    other = jwt.encode({"sub": "mallory"}, SECRET * 2, "HS256")
    _, others_payload, others_signature = other.split(".")
    last = "-" if signature[-1] != "-" else "_"
    return [
        f"{header}.{others_payload}.{signature}",
        f"{header}.{payload}.{others_signature}",
        other,
        f"{header}.{payload}.{signature[:-1]}{last}",
        f"{header}.{payload}.{signature[:-1]}",
        f"{header}.{payload}.{signature}==",
        f"{header}.{payload}.{signature}=",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}..{signature}",
        f"{header}={payload}.{signature}",
        f".{payload}.{signature}",
        f"{header}.{payload}.x.{signature}",
        f" {token}",
        f"{token}\n",
        f"{header}.{payload}.{signature[:-1]}é",
        f"{header}.{payload}.{signature[:-1]}\ud800",
        "",
        "..",
    ]


def segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def sign(header: str, payload: str) -> str:
    """A token of the issuer, whatever it is made of."""
    mac = hmac.digest(SECRET.encode(), f"{header}.{payload}".encode(), "sha256")
    return f"{header}.{payload}.{segment(mac)}"


HEADER = jwt.encode({}, SECRET, "HS256").partition(".")[0]

TOKENS = [
    jwt.encode({"sub": "a"}, SECRET, "HS256"),
    *mutations(jwt.encode({"sub": "a"}, SECRET, "HS256")),
    *(
        sign(HEADER, payload)
        for payload in (
            segment(b'{"sub":"a"}') + "=",
            segment(b'{"sub":"ab"}') + "!",
            segment(b'{"sub":"a"}')[:-1] + "x",
            segment(b'{"sub":"a"}') + "abcd.",
            segment(b"not JSON"),
            segment(b'{"sub":"a","exp":1}'),
            segment(b'{"sub":"a","nbf":99999999999}'),
            segment(b'{"sub":7}'),
            "a",
            "",
        )
    ),
    *(
        sign(segment(header), segment(b'{"sub":"a"}'))
        for header in (
            b'{"alg":"none"}',
            b'{"alg":"HS512"}',
            b'{"alg":"HS256","crit":["x"],"x":1}',
            b'{"alg":"HS256","b64":false,"crit":["b64"]}',
            b'{"alg":"HS256","kid":7}',
            b'{"alg":"HS256"}',
            b"{}",
        )
    ),
]


@pytest.mark.parametrize("token", TOKENS)
async def test_a_header_that_was_accepted_before_changes_nothing(token: str) -> None:
    answers: list[Any] = []
    for known in (False, True):
        authenticator = make()
        if known:
            await authenticator.authenticate(signed({"sub": "first"}))
        try:
            identity = await authenticator.authenticate(Credentials(token=token))
            answers.append(None if identity is None else identity.claims)
        except AuthenticationRejected as refusal:
            answers.append(refusal.reason)
    assert answers[0] == answers[1]


async def test_a_refused_token_is_not_remembered() -> None:
    authenticator = counting()
    late = sent({"userId": "a", "exp": int(time.time()) - 5})
    nameless, forged = sent({"name": "a"}), Credentials(token="x.y.z", source="http")
    for count in (1, 2):
        for credentials in (late, nameless, forged):
            await refused(authenticator, credentials)
        assert authenticator.checked == 3 * count
    assert authenticator.statistics()["remembered"] == 0


@pytest.mark.parametrize(
    ("source", "limit"), [("http", "MAX_REMEMBERED"), ("handshake", "MAX_REMEMBERED_SOCKETS")]
)
async def test_the_cache_is_bounded(
    monkeypatch: pytest.MonkeyPatch, source: Source, limit: str
) -> None:
    monkeypatch.setattr(jwt_auth, limit, 3)
    authenticator = counting()
    tokens = [sent({"userId": str(number)}, source) for number in range(5)]
    for credentials in tokens:
        await authenticator.authenticate(credentials)
    assert authenticator.statistics()["remembered"] == 3
    checked = authenticator.checked
    for credentials in tokens[2:]:
        await authenticator.authenticate(credentials)
    assert authenticator.checked == checked
    await authenticator.authenticate(tokens[0])
    assert authenticator.checked == checked + 1
    assert authenticator.statistics()["remembered"] == 3


async def test_the_tokens_of_sockets_make_nobody_forget_those_of_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jwt_auth, "MAX_REMEMBERED", 3)
    authenticator, device = counting(), sent({"userId": "device"})
    await authenticator.authenticate(device)
    for number in range(5):
        await authenticator.authenticate(sent({"userId": str(number)}, "handshake"))
    checked = authenticator.checked
    await authenticator.authenticate(device)
    assert authenticator.checked == checked


async def test_the_cache_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt_auth, "MAX_REMEMBERED_BYTES", 20_000)
    authenticator = counting()
    tokens = [sent({"userId": str(number), "more": "x" * 2_000}) for number in range(5)]
    await authenticator.authenticate(tokens[0])
    size = authenticator.statistics()["bytes"]
    assert 3 * size < 20_000 < 4 * size
    for credentials in tokens:
        await authenticator.authenticate(credentials)
    assert authenticator.statistics() == {"remembered": 3, "bytes": 3 * size}
    checked = authenticator.checked
    for credentials in tokens[2:]:
        await authenticator.authenticate(credentials)
    assert authenticator.checked == checked


def nested(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "roles",
    [
        "admin",
        "ä" * 1_000 + "🚚",
        [{}] * 1_500,
        [[]] * 1_500,
        [{"a": 1}] * 600,
        [["ab"]] * 600,
        [7.5] * 1_000,
        nested(None, 700),
        {str(number): [] for number in range(500)},
    ],
    ids=range(9),
)
async def test_the_memory_of_remembered_tokens_is_what_is_counted(roles: Any) -> None:
    tokens = [sent({"userId": f"u{number}", "roles": roles}) for number in range(20)]
    authenticator = counting()
    await authenticator.authenticate(tokens[0])
    tracemalloc.start()
    try:
        for credentials in tokens[1:]:
            await authenticator.authenticate(credentials)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    counted = authenticator.statistics()["bytes"] * 19 / 20
    assert 0.2 * counted < taken + sum(len(each.token or "") for each in tokens[1:]) < counted


async def test_an_expired_token_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator, credentials = counting(), sent({"userId": "a", "exp": 1_900_000_000})
    set_clock(monkeypatch, 1_800_000_000)
    await authenticator.authenticate(credentials)
    set_clock(monkeypatch, 1_900_000_000)
    await refused(authenticator, credentials)
    assert authenticator.statistics() == {"remembered": 0, "bytes": 0}


# -- weak secrets --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "algorithms", "weakness"),
    [
        ("x" * 32, ("HS256",), None),
        ("x" * 31, ("HS256",), "the JWT secret has 31 bytes; HS256 needs at least 32"),
        ("ü" * 16, ("HS256",), None),
        ("x" * 40, ("HS256", "HS512"), "the JWT secret has 40 bytes; HS512 needs at least 64"),
        ("short", ("RS256",), None),
    ],
)
def test_the_shortest_secret_of_each_algorithm(
    secret: str, algorithms: tuple[str, ...], weakness: str | None
) -> None:
    assert secret_weakness(secret, algorithms) == weakness


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"algorithms": ["RS256"]},
            ["jwt_secret is no public key, which RS256 needs: every token is refused"],
        ),
        ({"algorithms": ["RS256", "HS256"]}, []),
        ({"algorithms": ["RS256"], "keys": {"old": "x" * 32}}, []),
    ],
)
def test_a_secret_that_is_no_public_key_is_pointed_out(
    table: dict[str, Any], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    JwtAuth().register_authenticators(
        PluginView(name="jwt_auth", settings={"jwt_secret": "x" * 32}, table=table),
        RESOURCES,
    )
    assert [record.getMessage() for record in caplog.records] == said


async def test_a_weak_secret_works_and_is_logged_once_without_its_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = JwtAuth().register_authenticators(
        PluginView(name="jwt_auth", settings={"jwt_secret": "hunter2"}, table={}),
        RESOURCES,
    )
    assert record.weakness == "the JWT secret has 7 bytes; HS256 needs at least 32"
    with pytest.warns(InsecureKeyLengthWarning):  # PyJWT's own, at the test's signature alone
        credentials = signed({"userId": "a"}, "hunter2")
    for _ in range(3):
        assert await record.authenticate(credentials)
    assert caplog.messages == [record.weakness]
    assert "hunter2" not in caplog.text


def test_every_reason_for_a_refusal_is_documented() -> None:
    package = Path(jwt_auth.__file__).parent
    source = "".join(path.read_text() for path in package.glob("*.py"))
    reasons = re.findall(r'(?:AuthenticationRejected|UnknownKey)\("([^"]+)"\)', source)
    page = (package.parents[2] / "docs" / "tokens.md").read_text("utf-8")
    assert len(reasons) > 5
    assert [reason for reason in reasons if f"`{reason}`" not in page] == []

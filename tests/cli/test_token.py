"""``token``: claims, options and refusals."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from atriz_realtime.cli.main import run
from tests.cli.processes import only_line
from tests.support.servers.serving import SECRET, serving

LONG_SECRET = SECRET * 3


pytestmark = pytest.mark.usefixtures("plain")


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["token", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return only_line(captured.out)


def claims(token: str, secret: str = SECRET, algorithm: str = "HS256", **options: Any) -> Any:
    return jwt.decode(token, secret, algorithms=[algorithm], **options)


def test_only_the_token_is_printed_and_it_is_valid_for_an_hour(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = time.time()
    payload = claims(made(capsys, "--user", "u1"))
    assert payload.keys() == {"userId", "exp"}
    assert payload["userId"] == "u1"
    assert 3_599 <= payload["exp"] - before <= 3_600 + time.time() - before


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        ("30s", 30),
        ("15m", 900),
        ("1h", 3_600),
        ("2d", 172_800),
        ("1h30m", 5_400),
        ("3650d", 315_360_000),
    ],
)
def test_a_ttl_is_a_number_and_a_unit(
    ttl: str, seconds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = time.time()
    expires = claims(made(capsys, "--user", "u1", "--ttl", ttl))["exp"]
    assert seconds - 1 <= expires - before <= seconds + time.time() - before


@pytest.mark.parametrize("ttl", ["", "1", "h", "0s", "-1h", "1w", "1.5h", "1h 2m", "3651d", "٣h"])
def test_an_invalid_ttl_is_a_usage_error(ttl: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "--user", "u1", "--ttl", ttl]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert only_line(captured.err).startswith("error: Invalid value for '--ttl'")


def test_claims_are_json_where_they_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["role=driver", 'vehicles=["v1"]', "level=3", "on=true", "note=a=b", "empty=", "x=NaN"]
    payload = claims(made(capsys, "--user", "u1", *(f"--claim={claim}" for claim in given)))
    assert {name: payload[name] for name in payload.keys() - {"userId", "exp"}} == {
        "role": "driver",
        "vehicles": ["v1"],
        "level": 3,
        "on": True,
        "note": "a=b",
        "empty": "",
        "x": "NaN",
    }


@pytest.mark.parametrize("claim", ["role", "=driver", "userId=u2", "exp=1"])
def test_an_invalid_claim_is_a_usage_error(claim: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "--user", "u1", "--claim", claim]) == 2
    assert only_line(capsys.readouterr().err).startswith("error: Invalid value for '--claim'")


def test_the_token_matches_the_settings_of_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.toml"
    file.write_text(
        f'[realtime]\njwt_secret = "{LONG_SECRET}"\n[realtime.plugins.jwt_auth]\n'
        'algorithms = ["RS256", "HS512"]\naudience = "fleet"\nissuer = "here"\n'
    )
    (tmp_path / "atriz.toml").write_text('[realtime]\njwt_secret = "not this one"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JWT_SECRET")
        token = made(capsys, "--user", "u1", "--config", str(file))
    payload = claims(token, LONG_SECRET, "HS512", audience="fleet", issuer="here")
    assert payload["userId"] == "u1"


async def test_a_server_with_the_same_secret_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    token = made(capsys, "--user", "driver-7", "--ttl", "1m")
    async with serving() as live:
        status, answer = await live.get(
            "/api/tracking/vehicle", headers={"Authorization": f"Bearer {token}"}
        )
    assert (status, answer["locations"]) == (200, [])


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"JWT_SECRET": None}, "set JWT_SECRET"),
        ({"ATRIZ_REALTIME_DISABLED_PLUGINS": "jwt_auth"}, "'jwt_auth' is off"),
        ({"ATRIZ_REALTIME_PLUGINS__JWT_AUTH__ALGORITHMS": '["RS256"]'}, "RS256"),
        ({"ATRIZ_REALTIME_JWT_SECRT": "x"}, "unknown environment variable"),
    ],
)
def test_a_token_that_cannot_be_signed_gives_the_reason_in_one_line(
    variables: dict[str, str | None],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert run(["token", "--user", "u1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    line = only_line(captured.err)
    assert line.startswith("error: ")
    assert reason in line


def test_a_short_secret_signs_without_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JWT_SECRET", "short")
    assert made(capsys, "--user", "u1").count(".") == 2


def test_a_user_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token"]) == 2
    assert "--user" in only_line(capsys.readouterr().err)
    assert run(["token", "--user", " "]) == 2
    assert "--user" in only_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    "table", ["jwks = 'https://id.example/jwks.json'", "keys = { k1 = 'file:public.pem' }"]
)
def test_a_server_with_keys_alone_needs_a_token_of_their_owner(
    tmp_path: Path,
    table: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("JWT_SECRET")
    (tmp_path / "atriz.toml").write_text(f"[realtime.plugins.jwt_auth]\n{table}\n")
    assert run(["token", "--user", "u1"]) == 1
    line = only_line(capsys.readouterr().err)
    assert line.endswith("get a token from the service that signs with one of those keys")

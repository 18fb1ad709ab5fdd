"""Logging: one line per event, as text or JSON, and no secrets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from atriz_realtime.cli.logs import HIDDEN, redact, redact_event
from tests.cli.processes import environment, started
from tests.support.servers.serving import token

TOKEN = token("u1")
UNUSUAL = "ewogICJhbGciOiAiSFMyNTYiCn0.eyJ1c2VySWQiOiJ1MSJ9.c2lnbmF0dXJl"
"""A JWT with a header that was formatted over several lines."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"refused {TOKEN} of u1", f"refused {HIDDEN} of u1"),
        (f"refused {UNUSUAL}.", f"refused {HIDDEN}"),
        (f"Authorization: Bearer {TOKEN}", f"Authorization: Bearer {HIDDEN}"),
        ("Authorization: Bearer opaque-thing", f"Authorization: Bearer {HIDDEN}"),
        ("authorization: Basic dTpw, next", f"authorization: Basic {HIDDEN}, next"),
        ("authorization: opaque next", f"authorization: {HIDDEN} next"),
        ("GET /socket.io/?token=abc&EIO=4", f"GET /socket.io/?token={HIDDEN}&EIO=4"),
        ("?access_token=abc&TOKEN=def", f"?access_token={HIDDEN}&TOKEN={HIDDEN}"),
        ('{"token": "abc", "n": 1}', f'{{"token": "{HIDDEN}", "n": 1}}'),
        ("{'auth': {'token': 'abc'}}", f"{{'auth': {{'token': '{HIDDEN}'}}}}"),
        ("(b'authorization', b'Bearer abc')", f"(b'authorization', b'Bearer {HIDDEN}')"),
        ("JWT_SECRET=hunter2 serve", f"JWT_SECRET={HIDDEN} serve"),
        ("redis://user:pass@host:6379/0", f"redis://user:{HIDDEN}@host:6379/0"),
        (
            "redis://h?sentinel_password=pa:ss: timeout",
            f"redis://h?sentinel_password={HIDDEN}: timeout",
        ),
        ("redis://h?ssl_password=pw:", f"redis://h?ssl_password={HIDDEN}:"),
        ("rediss://:pa:ss@host", f"rediss://:{HIDDEN}@host"),
        ("postgresql://app:p@ss/w0rd@db/x", f"postgresql://app:{HIDDEN}@db/x"),
        ("client_secret=abc&n=1", f"client_secret={HIDDEN}&n=1"),
        ("passwd: abc", f"passwd: {HIDDEN}"),
    ],
)
def test_secrets_are_redacted(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "refused invalid_token: the token is too long",
        "no JWT secret is configured (JWT_SECRET): every token is refused",
        "authenticator 'jwt': ExpiredSignatureError",
        "http://127.0.0.1:3001 at 12:00:01",
        "atriz_realtime.defaults.jwt_auth is disabled",
        "event.handler.failed eventually",
    ],
)
def test_other_texts_are_not_redacted(text: str) -> None:
    assert redact(text) == text


KEY = "ak_3f2a9c0d4e5b6071_pPjJbc42gPqTdXZYLq5djYtFVK03zWrW3xKL6RW7iDc"
REFUSED = "refused credentials: authenticator 'apikey': wrong secret for key 3f2a9c0d4e5b6071"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"X-API-Key: {KEY}", "X-API-Key: ***"),
        (f"{{'x-api-key': '{KEY}', 'a': 1}}", "{'x-api-key': '***', 'a': 1}"),
        ("X-API-Key: another's", "X-API-Key: ***'s"),
        (f"ApiKey {KEY}", "ApiKey ***"),
        (f"Authorization: Bearer {KEY}", "Authorization: Bearer ***"),
        (f'40{{"apiKey":"{KEY}"}}', '40{"apiKey":"***"}'),
        (f'42["authenticate","{KEY}"]', '42["authenticate","***"]'),
        (f"GET /?apiKey={KEY}&a=1", "GET /?apiKey=***&a=1"),
        (REFUSED, REFUSED),
        ("plugin apikey failed: HTTP", "plugin apikey failed: HTTP"),
    ],
)
def test_an_api_key_in_a_text_is_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(("name", "value"), [("X-API-Key", "x"), ("api_key", "x"), ("key", KEY)])
def test_an_api_key_in_a_field_is_redacted(name: str, value: str) -> None:
    assert redact_event(None, "info", {name: value}) == {name: "***"}


def logged(statement: str, *, env: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The JSON lines that a statement logs."""
    program = (
        "import logging, warnings, structlog\n"
        "from atriz_realtime.cli import logs\n"
        "logs.configure()\n"
        f"T = {TOKEN!r}\n"
        f"{statement}"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout == ""
    assert TOKEN not in done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.parametrize(
    "statement",
    [
        "logging.getLogger('some.plugin').warning('refused %s', T)",
        "logging.getLogger('uvicorn.error').error('bad request %r', {'token': T})",
        "structlog.get_logger('x').warning('refused', token=T, list=[{'Authorization': T}, (T,)])",
        "structlog.get_logger('x').warning('refused', error=ValueError(T), raw=T.encode())",
        "warnings.warn(f'a warning about {T}')",
    ],
)
def test_no_logging_call_shows_a_token(statement: str) -> None:
    (line,) = logged(statement)
    assert HIDDEN in json.dumps(line)
    assert list(line)[:4] == ["time", "level", "logger", "event"]


def test_a_traceback_is_one_line_without_secrets() -> None:
    (line,) = logged(
        "try:\n    raise ValueError('bad token=abc ' + T)\n"
        "except ValueError:\n    logging.getLogger('x').exception('failed')"
    )
    assert line["event"] == "failed"
    assert line["exception"].splitlines()[-1] == f"ValueError: bad token={HIDDEN} {HIDDEN}"


def test_no_line_of_a_traceback_looks_like_one_of_the_log() -> None:
    program = (
        "from atriz_realtime.cli import logs\n"
        "from atriz_realtime.core.runtime.clock import SystemClock\n"
        "from atriz_realtime.core.runtime.incidents import Incidents\n"
        "logs.configure(form='text')\n"
        "incidents = Incidents(SystemClock())\n"
        "try:\n    raise ValueError('a\\n2026-01-31 [error] forged\\x1b[2J token=abc')\n"
        "except ValueError as error:\n"
        "    incidents.plugin_problem('shop', 'failed', 'filter', error=error)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    first, *traceback = done.stderr.splitlines()
    assert "plugin shop failed: filter: ValueError: a\\n2026" in first
    assert traceback[0] == "  Traceback (most recent call last):"
    assert traceback[-1] == rf"  2026-01-31 [error] forged\x1b[2J token={HIDDEN}"
    assert all(line.startswith("  ") for line in traceback)


def test_libraries_log_through_it_once_from_their_level_on() -> None:
    lines = logged(
        "from atriz_realtime import create_app, RealtimeConfig\n"
        "create_app(RealtimeConfig(jwt_secret='x' * 40))\n"
        "logging.getLogger('uvicorn.error').info('noise')\n"
        "logging.getLogger('engineio.server').info('noise')\n"
        "logging.getLogger('engineio.server').error('refused an origin')\n"
        "logging.getLogger('atriz_realtime').info('connected')"
    )
    assert [line["event"] for line in lines] == ["refused an origin", "connected"]


def test_an_incident_has_its_kind_and_count_as_fields() -> None:
    lines = logged(
        "from atriz_realtime.core.runtime.clock import SystemClock\n"
        "from atriz_realtime.core.runtime.incidents import Incidents\n"
        "incidents = Incidents(SystemClock())\n"
        "incidents.report('redis disconnected', 'url redis://u:hunter2@host')\n"
        "incidents.report('redis disconnected', 'again')\n"
        "incidents.report('fixes dropped', 'one')",
    )
    assert [(line["incident"], line["count"]) for line in lines] == [
        ("redis disconnected", 1),
        ("fixes dropped", 1),
    ]
    assert lines[0]["event"] == f"redis disconnected: url redis://u:{HIDDEN}@host"


def test_lines_of_a_worker_carry_its_number() -> None:
    program = (
        "logs.configure(form='json', worker=3)\n"
        "logging.getLogger('x').info('one')\n"
        "structlog.get_logger('x').info('two')\n"
        "structlog.get_logger('x').info('three', worker=1)"
    )
    assert [line["worker"] for line in logged(program)] == [3, 3, 1]


async def test_the_format_can_be_chosen_for_the_workers_too(redis_url: str) -> None:
    arguments = ("serve", "--port=0", "--workers=2", "--log-format=text")
    async with started(*arguments, env=environment(REDIS_URL=redis_url)) as command:
        line = await command.until_said("workers ready")
        assert await command.ended(signal.SIGTERM) == 0
    assert not line.startswith("{")
    assert "\x1b" not in line
    assert any("stopping" in line and "worker=1" in line for line in command.err)

"""Logs: one line each, readable or JSON, and nothing secret in any."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from atriz_realtime.cli.logs import HIDDEN, redact
from tests.cli.processes import environment, started
from tests.support.servers.serving import token

TOKEN = token("u1")
UNUSUAL = "ewogICJhbGciOiAiSFMyNTYiCn0.eyJ1c2VySWQiOiJ1MSJ9.c2lnbmF0dXJl"
"""A JWT whose header is written over several lines."""


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
        ("rediss://:pa:ss@host", f"rediss://:{HIDDEN}@host"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str) -> None:
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
def test_what_does_not_is_shown(text: str) -> None:
    assert redact(text) == text


def logged(statement: str, *, env: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The JSON lines that a program with our logs writes."""
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
def test_no_way_to_log_shows_a_token(statement: str) -> None:
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


def test_libraries_log_through_it_once_and_only_what_matters() -> None:
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


def test_lines_of_a_worker_have_its_number() -> None:
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

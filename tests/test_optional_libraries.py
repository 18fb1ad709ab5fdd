"""The package serves over ASGI without uvicorn, uvloop, httptools and websockets."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio
import sys

for name in sys.argv[1:]:
    sys.modules[name] = None  # importing it raises ModuleNotFoundError

import atriz_realtime
from atriz_realtime import RealtimeConfig, RealtimeServer, create_app
from atriz_realtime.api import ConfigurationError


async def request(app, path, query=b""):
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": []}
    await app({**scope, "scheme": "http", "root_path": ""}, receive, send)
    return sent[0]["status"], sent[1]["body"].decode()


async def main():
    app = create_app(RealtimeConfig(jwt_secret="k" * 32))
    server = app.state.realtime
    assert isinstance(server, RealtimeServer)
    print(await request(app, "/readyz"))
    print(*(await request(app, "/socket.io/", b"EIO=4&transport=polling"))[1][:8])
    for name in ("websocket_protocol", "http_protocol"):
        try:
            getattr(server, name)()
            print("made")
        except ConfigurationError as error:
            print(error)
    await server.close()


asyncio.run(main())
"""

ANSWERS = ['(200, \'{"status":"ready"}\')', '0 { " s i d " :']
MISSING = (
    "{what}() needs uvicorn and httptools, but {module} cannot be imported: pip install "
    "'atriz-realtime[serve]' (from your wheel or index), or leave uvicorn's http= and ws= as they "
    "are"
)


@pytest.mark.parametrize(
    ("blocked", "protocols"),
    [
        (["uvloop"], ["made", "made"]),
        (
            ["uvloop", "httptools"],
            ["made", MISSING.format(what="http_protocol", module="httptools")],
        ),
        (
            ["websockets"],
            [
                MISSING.format(what="websocket_protocol", module="websockets"),
                MISSING.format(what="websocket_protocol", module="websockets"),
            ],
        ),
        (
            ["uvloop", "httptools", "uvicorn"],
            [
                MISSING.format(what="websocket_protocol", module="uvicorn"),
                MISSING.format(what="websocket_protocol", module="uvicorn"),
            ],
        ),
    ],
    ids=["uvloop", "httptools", "websockets", "uvicorn"],
)
def test_it_serves_without(blocked: list[str], protocols: list[str]) -> None:
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM, *blocked], capture_output=True, text=True, check=False
    )
    assert (child.stderr, child.stdout.splitlines()) == ("", [*ANSWERS, *protocols])


def test_the_configuration_is_checked_without_httptools() -> None:
    program = (
        "import sys\n"
        "sys.modules['httptools'] = None\n"
        "from atriz_realtime.cli.main import main\n"
        "main(['check', '--json'])\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"JWT_SECRET": "a-secret-of-more-than-thirty-two-bytes"},
    )
    assert (child.returncode, child.stderr) == (0, "")

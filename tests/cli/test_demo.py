"""``demo``: the printed commands work, and entities move like vehicles."""

from __future__ import annotations

import asyncio
import itertools
import math
import shlex
import shutil
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from atriz_realtime.testing import TIMEOUT
from tests.cli.processes import Command, environment, finished, only_line, started
from tests.support.servers.serving import until

pytestmark = pytest.mark.usefixtures("plain")

EARTH_RADIUS = 6_371_008.8


def metres(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The distance between two positions (haversine)."""
    a, b = math.radians(one["latitude"]), math.radians(other["latitude"])
    dx = math.radians(other["longitude"] - one["longitude"])
    h = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(dx / 2) ** 2
    return 2 * EARTH_RADIUS * math.asin(math.sqrt(h))


def printed(demo: Command, heading: str) -> str:
    """The line under a heading."""
    return demo.out[demo.out.index(heading) + 1].strip()


async def test_the_printed_commands_work(tmp_path: Path, unused_tcp_port: int) -> None:
    """The demo ignores the environment and the configuration file, which are broken here."""
    (tmp_path / "atriz.toml").write_text("this is no TOML")
    env = environment(
        REDIS_URL=f"redis://127.0.0.1:{unused_tcp_port}", JWT_SECRET="x", PORT="1", HOST="192.0.2.1"
    )
    arguments = ("demo", "--port", "0", "--entities", "10")
    async with started(*arguments, env=env, cwd=tmp_path) as demo:
        await demo.until_said(" watch --type")
        assert '"redis": "embedded"' in demo.err[0]
        program, *command = shlex.split(printed(demo, "watch them:"))
        found = shutil.which(program)
        assert found == str(Path(sys.executable).with_name("atriz-realtime"))
        url = command[command.index("--url") + 1]
        assert f"10 vehicles and deliveries at {url}" in demo.out
        assert command[command.index("--token") + 1] == printed(demo, "token:")
        assert demo.out[:3] == ["", "live map:", f"  {url}/console#token={printed(demo, 'token:')}"]

        async with started(*command, "--json", env=environment(JWT_SECRET=None)) as watch:
            await until(lambda: {event["entityId"] for event in watch.events} == VEHICLES)
        headers = {"Origin": "https://anything.example"}
        async with aiohttp.ClientSession(headers=headers) as session, asyncio.timeout(TIMEOUT):
            tracking: dict[str, int] = {}
            while tracking.get("totalTracking") != 10:
                async with session.get(f"{url}/health/realtime") as response:
                    assert response.headers["Access-Control-Allow-Origin"] == "*"
                    tracking = (await response.json())["tracking"]
            assert tracking == {"activeVehicles": 8, "activeDeliveries": 2, "totalTracking": 10}
        assert await demo.ended(signal.SIGINT) == 0
    assert printed(demo, "token:") not in "\n".join(demo.err)


VEHICLES = {f"v{number}" for number in range(1, 9)}


async def test_vehicles_move_as_they_report() -> None:
    async with started("demo", "--port", "0", "--entities", "20") as demo:
        await demo.until_said(" watch --type")
        command = shlex.split(printed(demo, "watch them:"))[1:]
        async with started(*command, "--json") as watch:
            await until(lambda: sum(metres(*step) > 5 for step in steps(watch.events)) > 20, 30)
        assert await demo.ended(signal.SIGTERM) == 0
    for before, after in steps(watch.events):
        assert 52.0 < after["latitude"] < 53.2
        assert -9.8 < after["longitude"] < -7.7
        assert 0 <= after["speed"] <= 100
        assert 2 < after["accuracy"] < 11
        # under any load, no entity moves faster than the highest speed
        lapse = seconds(after) - seconds(before)
        assert metres(before, after) < (lapse + 0.1) * 100 / 3.6 + 5


def steps(events: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of successive positions of each entity."""
    journeys = defaultdict(list)
    for event in events:
        journeys[event["entityId"]].append(event["location"])
    return [step for journey in journeys.values() for step in itertools.pairwise(journey)]


def seconds(location: dict[str, Any]) -> float:
    _, minutes, rest = location["timestamp"].split(":")
    return float(minutes) * 60 + float(rest.rstrip("Z"))


async def test_a_port_in_use_is_one_line() -> None:
    async with started("demo", "--port", "0", "--entities", "1") as demo:
        line = await demo.until_said("1 vehicles and deliveries at")
        second = await finished("demo", "--port", line.rpartition(":")[2])
    assert (second.status, second.out) == (1, "")
    assert "the port is in use" in only_line(second.err)

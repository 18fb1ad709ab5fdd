"""The configuration in the README works as the README says."""

from __future__ import annotations

import asyncio
import re
from importlib.metadata import entry_points
from pathlib import Path

from atriz_realtime import RealtimeConfig
from atriz_realtime.testing import serving

README = Path(__file__).parents[1] / "README.md"
INSTALLED = "ratelimit" in entry_points(group="atriz_realtime").names
PLUGIN = () if INSTALLED else ("atriz_realtime_ratelimit.ratelimit",)

METRE = 0.000009
"""Degrees of latitude, roughly."""


async def test_the_configuration(tmp_path: Path) -> None:
    (toml,) = re.findall(r"^```toml\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    file = tmp_path / "atriz.toml"
    file.write_text(toml)
    entities = RealtimeConfig.load(file, environ={}).entities
    async with serving(entities=entities, extra_plugins=PLUGIN) as live:
        answers = await asyncio.gather(*(live.publish("v1") for _ in range(40)))
        throttled = [answer.get("throttled", False) for answer in answers]
        assert throttled.count(False) >= 5
        assert throttled.count(True) > 0

        decisions = []
        for metres in (0, 20, 30):
            latitude = 52 + metres * METRE
            body = {"type": "delivery", "entityId": "d1", "latitude": latitude, "longitude": -8}
            _, answer = await live.post("/api/tracking/location", body)
            decisions.append("throttled" if answer.get("throttled") else "published")
        assert decisions == ["published", "throttled", "published"]

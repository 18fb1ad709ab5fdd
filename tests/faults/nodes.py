"""Valkey processes that can be suspended, killed and restarted on the same port."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import redis.asyncio
from redis.exceptions import RedisError

START_LIMIT = 15.0
"""Seconds that a process has to answer."""

Answer = Callable[[], Any]


def free_port() -> int:
    """A free port below the range of ephemeral ports."""
    while True:
        port = random.randint(15_000, 31_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@attrs.define(eq=False)
class Node:
    """One process: a server, a Sentinel or a member of a cluster.

    :param program: the Valkey server.
    :param folder: an empty folder of its own.
    :param settings: lines of its configuration file besides the port and the folder.
    :param options: of the command line.
    """

    program: Path
    folder: Path
    settings: Mapping[str, str | int] = attrs.field(factory=dict)
    options: tuple[str, ...] = ()
    password: str | None = None
    port: int = attrs.field(factory=free_port)
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    @property
    def url(self) -> str:
        """Its URL as a single server."""
        return f"redis://127.0.0.1:{self.port}"

    def configure(self, settings: Mapping[str, str | int]) -> None:
        """Add lines to its configuration file, for its next start."""
        with (self.folder / "valkey.conf").open("a") as config:
            config.writelines(f"{name} {value}\n" for name, value in settings.items())

    async def start(self) -> None:
        """Start it on its port, with the data in its folder, and wait until it answers."""
        config = self.folder / "valkey.conf"
        if not config.exists():  # a Sentinel and a member of a cluster write their own
            lines = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, **self.settings}
            config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        process = self._process = self._launch(config)
        async with asyncio.timeout(START_LIMIT):
            while not await self._answers():
                assert process.poll() is None, (self.folder / "valkey.log").read_text()
                await asyncio.sleep(0.02)

    def _launch(self, config: Path) -> subprocess.Popen[bytes]:
        with (self.folder / "valkey.log").open("ab") as log:
            return subprocess.Popen([self.program, config, *self.options], stdout=log, stderr=log)

    async def _answers(self) -> bool:
        try:
            return bool(await self.ask("PING"))
        except (RedisError, OSError):
            return False

    async def ask(self, *command: str | int, **options: Any) -> Any:
        """Run one command on a new connection; the reply is decoded."""
        connect: Any = redis.asyncio.Redis  # redis-py leaves execute_command untyped
        async with connect(
            port=self.port, password=self.password, decode_responses=True, socket_timeout=5
        ) as client:
            return await client.execute_command(*command, **options)

    async def wait_for(self, *command: str | int, until: Callable[[Any], Any]) -> Any:
        """Repeat a command until its reply satisfies a condition; returns the reply."""
        async with asyncio.timeout(START_LIMIT):
            while not until(answer := await self.ask(*command)):
                await asyncio.sleep(0.05)
        return answer

    def suspend(self) -> None:
        """SIGSTOP: its connections stay open, and are not answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it answers again."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; does nothing when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@asynccontextmanager
async def started(*nodes: Node) -> AsyncIterator[None]:
    """Start processes together; kill them all on exit."""
    try:
        await asyncio.gather(*(node.start() for node in nodes))
        yield
    finally:
        for node in nodes:
            node.kill()

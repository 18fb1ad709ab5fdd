"""Runs the command line as users do, with processes, pipes, terminals and signals."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from tests.support.servers.serving import SECRET, until

START_TIMEOUT = 30.0
"""Seconds within which a process must start; generous, so that a slow machine passes."""

PROGRAM = (sys.executable, "-m", "atriz_realtime.cli")

UVICORN = (sys.executable, "-m", "uvicorn")

OURS = ("REDIS_URL", "JWT_SECRET", "HOST", "PORT", "CORS_ORIGIN")


def configures(variable: str) -> bool:
    """Whether an environment variable is a setting of a server."""
    return variable in OURS or variable.startswith(("ATRIZ_", "WS_"))


def environment(**variables: str | None) -> dict[str, str]:
    """The environment of this process, with no settings but a secret and no throttle.

    :param variables: additional variables; ``None`` removes one.
    """
    plain = {name: value for name, value in os.environ.items() if not configures(name)}
    wanted = {"JWT_SECRET": SECRET, "ATRIZ_REALTIME_THROTTLE_INTERVAL": "0", **variables}
    if wanted["JWT_SECRET"] == SECRET:  # a server would warn that the documentation prints it
        wanted.setdefault("ATRIZ_REALTIME_ALLOW_WEAK_SECRET", "1")
    return plain | {name: value for name, value in wanted.items() if value is not None}


@attrs.define
class Command:
    """A running command, with the lines it has printed so far."""

    process: asyncio.subprocess.Process
    out: list[str] = attrs.field(factory=list)
    err: list[str] = attrs.field(factory=list)

    @property
    def events(self) -> list[Any]:
        """The lines of standard output as JSON."""
        return [json.loads(line) for line in self.out]

    async def until_said(self, text: str) -> str:
        """Wait for a line on either stream that contains a text, and return it."""

        def said() -> str | None:
            return next((line for line in [*self.out, *self.err] if text in line), None)

        await until(lambda: said() or self.process.returncode is not None, START_TIMEOUT)
        line = said()
        assert line is not None, f"ended without {text!r}: {self.out} {self.err}"
        return line

    def forget(self) -> None:
        """Forget what has been said."""
        self.out.clear()
        self.err.clear()

    async def ended(self, *signals: signal.Signals) -> int:
        """Send signals, wait for the end, and return the exit status."""
        for number in signals:
            self.process.send_signal(number)
        async with asyncio.timeout(START_TIMEOUT):
            return await self.process.wait()

    async def ended_after(self, number: signal.Signals) -> tuple[int, float]:
        """Send a signal, and return the exit status and the seconds until the end.

        Seconds in which the process was ready to run while the machine ran others do not count.
        """
        schedule = Path(f"/proc/{self.process.pid}/schedstat")

        def unserved() -> float:
            return int(schedule.read_text().split()[1]) / 1e9

        before, at_first = time.monotonic(), unserved()
        at_last = at_first
        ending = asyncio.ensure_future(self.ended(number))
        while not ending.done():
            with suppress(OSError):  # it is gone
                at_last = unserved()
            await asyncio.wait([ending], timeout=0.02)
        return ending.result(), time.monotonic() - before - (at_last - at_first)


@asynccontextmanager
async def started(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    program: Sequence[str] = PROGRAM,
) -> AsyncIterator[Command]:
    """Run a command in the background; it is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *program,
        *arguments,
        env=environment() if env is None else dict(env),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    command = Command(process)

    async def read(stream: asyncio.StreamReader | None, lines: list[str]) -> None:
        assert stream is not None
        while line := await stream.readline():
            lines.append(line.decode().rstrip("\n"))

    reading = asyncio.gather(read(process.stdout, command.out), read(process.stderr, command.err))
    try:
        yield command
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


@attrs.frozen
class Finished:
    """A command that has ended."""

    status: int
    out: str
    err: str


async def finished(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Finished:
    """Run a command to its end."""
    async with started(*arguments, env=env, cwd=cwd) as command:
        status = await command.ended()
    lines = ("".join(f"{line}\n" for line in stream) for stream in (command.out, command.err))
    return Finished(status, *lines)


def only_line(text: str) -> str:
    """The only line of a text."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


@attrs.frozen
class Served:
    """A running ``serve`` or ``demo``."""

    command: Command
    url: str
    port: int


@asynccontextmanager
async def serve(
    *arguments: str,
    port: int = 0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> AsyncIterator[Served]:
    """Run ``serve`` and wait until it serves."""
    async with started("serve", "--port", str(port), *arguments, env=env, cwd=cwd) as command:
        banner = json.loads(await command.until_said('"event": "serving"'))
        url: str = banner["url"]
        yield Served(command, url, int(url.rpartition(":")[2]))


@asynccontextmanager
async def own_uvicorn(
    *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Served]:
    """Run a server with plain uvicorn, with all sockets over ASGI."""
    application = ("--factory", "atriz_realtime.asgi:create_app", "--port", "0")
    async with started(*application, *arguments, env=env, program=UVICORN) as command:
        said = re.search(r"http://[\d.]+:(\d+)", await command.until_said("Uvicorn running on"))
        assert said is not None
        yield Served(command, said[0], int(said[1]))


@attrs.define
class Terminal:
    """A command on a pseudo-terminal."""

    process: asyncio.subprocess.Process
    screen: str = ""
    """Everything it has written, including control sequences."""

    async def until_shown(self, text: str) -> None:
        """Wait until a text was written."""
        await until(
            lambda: text in self.screen or self.process.returncode is not None, START_TIMEOUT
        )
        assert text in self.screen, self.screen


@asynccontextmanager
async def on_terminal(
    *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Terminal]:
    """Run a command on a terminal of 24 lines of 100 characters."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        env={
            **(environment() if env is None else env),
            "TERM": "xterm-256color",
            "COLUMNS": "100",
            "LINES": "24",
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    terminal = Terminal(process)

    def read() -> None:
        with suppress(OSError):  # raised when the other end is closed
            terminal.screen += os.read(ours, 65_536).decode(errors="replace")

    asyncio.get_running_loop().add_reader(ours, read)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


def write_gpx(path: Path, fixes: Sequence[tuple[float, float]], step: float = 1.0) -> Path:
    """Write a GPX file with a fix every ``step`` seconds."""
    points = "".join(
        f'<trkpt lat="{latitude}" lon="{longitude}"><time>2026-01-31T'
        f"{int(index * step) // 3600:02}:{int(index * step) // 60 % 60:02}:"
        f"{index * step % 60:06.3f}Z</time></trkpt>"
        for index, (latitude, longitude) in enumerate(fixes)
    )
    path.write_text(
        '<gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1">'
        f"<trk><trkseg>{points}</trkseg></trk></gpx>"
    )
    return path

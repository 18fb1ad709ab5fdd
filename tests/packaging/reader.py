"""Follows a tutorial as its reader would: writes its files and runs its commands in one shell.

``bash``
    runs in one bash from the first block to the last; background processes keep running.
``text``
    is the output of the last commands: each line must occur in it, perhaps a little later;
    ``…`` matches anything, and runs of spaces are equal.  The last command must fail if and
    only if the block shows an ``error:``.
``python``, ``toml``, ``html``
    is written to the file that its first line names, in the shell's folder; with ``, above its
    last import`` after the name, it is inserted there.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shlex
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs

from tests.support.servers.serving import TIMEOUT, until

STEP_TIMEOUT = 120.0
"""Seconds that a step may take, which may download packages."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(
    r"(?:#|//|<!--) (?P<name>[\w./-]+)(?P<above>, above its last import)?(?: -->)?\n"
)


@attrs.frozen
class Step:
    """One block of a tutorial."""

    line: int
    language: str
    text: str


def steps(document: Path) -> list[Step]:
    """The code blocks of a document."""
    text = document.read_text()
    return [
        Step(text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in _BLOCK.finditer(text)
    ]


def named_files(document: Path) -> dict[str, str]:
    """The code blocks of a document that begin with the name of a file, by that name."""
    named = ((_FILE.match(step.text), step.text) for step in steps(document))
    return {found["name"]: text for found, text in named if found is not None}


class Reader:
    """A shell, and what it has printed."""

    def __init__(self, shell: asyncio.subprocess.Process, notes: Path, line_timeout: float) -> None:
        self._shell = shell
        self._line_timeout = line_timeout
        self._notes = notes
        self._screen = notes / "screen"
        self._screen.touch()
        self._seen = 0

    def output(self) -> str:
        """The output of the last commands so far."""
        return self._screen.read_bytes()[self._seen :].decode(errors="replace")

    async def run(self, script: str) -> int:
        """Run commands; returns the status of the last."""
        self._seen = self._screen.stat().st_size
        typed, screen = self._notes / "typed", shlex.quote(str(self._screen))
        typed.write_text(script)
        await self._send(f". {shlex.quote(str(typed))} </dev/null >>{screen} 2>&1; echo $?")
        return int(await self._receive())

    async def folder(self) -> Path:
        """The working directory of the shell."""
        await self._send("pwd")
        return Path(await self._receive())

    async def write(self, text: str) -> None:
        """Write, or insert into, the file that the first line names."""
        named = _FILE.match(text)
        assert named is not None, f"the first line names no file\n{text}"
        path = await self.folder() / named["name"]
        if named["above"]:
            text = above_the_last_import(path.read_text(), text.removeprefix(named[0]))
        path.write_text(text)

    async def expect(self, expected: str) -> None:
        """Wait until every expected line has been printed."""
        for line in expected.splitlines():
            words = ".*".join(re.escape(" ".join(part.split())) for part in line.split("…"))
            words = words.replace(r"\ .*", r"\ ?.*").replace(r".*\ ", r".*\ ?")
            pattern = re.compile(words)

            def printed(pattern: re.Pattern[str] = pattern) -> bool:
                lines = self.output().splitlines()
                return any(pattern.search(" ".join(each.split())) for each in lines)

            try:
                await until(printed, self._line_timeout)
            except TimeoutError:
                raise AssertionError(f"no line {line!r} in\n{self.output()}") from None

    async def _send(self, command: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(command.encode() + b"\n")
        await self._shell.stdin.drain()

    async def _receive(self) -> str:
        assert self._shell.stdout is not None
        async with asyncio.timeout(STEP_TIMEOUT):
            return (await self._shell.stdout.readline()).decode().strip()


def above_the_last_import(source: str, addition: str) -> str:
    """A module's source with lines added above its last import."""
    imports = [
        statement
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Import | ast.ImportFrom)
    ]
    lines = source.splitlines(keepends=True)
    lines.insert(imports[-1].lineno - 1, addition)
    return "".join(lines)


@asynccontextmanager
async def reading(
    folder: Path, notes: Path, environment: Mapping[str, str], line_timeout: float = TIMEOUT
) -> AsyncIterator[Reader]:
    """A reader whose shell starts in a folder; background processes are stopped on exit.

    :param notes: another folder, for the files of the test.
    :param line_timeout: seconds to wait for a line.
    """
    shell = await asyncio.create_subprocess_exec(
        *("bash", "--noprofile", "--norc"),
        cwd=folder,
        env=dict(environment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    reader = Reader(shell, notes, line_timeout)
    try:
        yield reader
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
        await shell.communicate()


async def follow(reader: Reader, document: Path, replace: Mapping[str, str]) -> None:
    """Run a document from top to bottom.

    :param replace: texts of the document with their replacements, such as a port.
    """
    found = steps(document)
    for step, following in zip(found, [*found[1:], None], strict=True):
        text = step.text
        for shown, real in replace.items():
            text = text.replace(shown, real)
        try:
            match step.language:
                case "bash":
                    shown = following.text if following and following.language == "text" else ""
                    status = await reader.run(text)
                    failed = status != 0
                    assert failed == ("error:" in shown), f"status {status}\n{reader.output()}"
                case "text":
                    await reader.expect(text)
                case _:
                    await reader.write(text)
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"{document.name}:{step.line}: {error}") from error

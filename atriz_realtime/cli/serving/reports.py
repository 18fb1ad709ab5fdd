"""Lets any worker report on all: it asks the others over Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from atriz_realtime.api import ProcessReport, RealtimeError, decode_json, encode_json

ANSWER_TIMEOUT = 1.0
"""Seconds a worker has to answer; one that takes longer is left out."""

MAX_ANSWER = 1_048_576
"""Maximum bytes of an answer that are read."""


_NAME = "report-{}.sock"


class WorkerReports:
    """Asks the other workers for their reports, and answers them.

    :param directory: holds the sockets of all workers; only this user may enter it.
    """

    def __init__(self, directory: Path, worker: int) -> None:
        self._directory = directory
        self._path = directory / _NAME.format(worker)

    @asynccontextmanager
    async def answering(self, own: Callable[[], ProcessReport]) -> AsyncIterator[None]:
        """Answer the other workers' requests until the context exits.

        :param own: returns this worker's report.
        """

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(encode_json(attrs.asdict(own())))
            writer.close()
            with contextlib.suppress(OSError):  # the other worker has gone
                await writer.wait_closed()

        self._path.unlink(missing_ok=True)  # left by a worker that was killed
        server = await asyncio.start_unix_server(answer, self._path)
        try:
            yield
        finally:
            server.close()
            self._path.unlink(missing_ok=True)

    async def others(self) -> list[ProcessReport]:
        """The reports of the other workers that answer."""
        paths = [path for path in self._directory.glob(_NAME.format("*")) if path != self._path]
        reports = await asyncio.gather(*map(_ask, paths))
        return [report for report in reports if report is not None]


def connected(directory: Path, workers: Iterable[int]) -> dict[int, bool]:
    """Whether the backends of workers are connected, by number; without those that do not answer.

    It runs an event loop of its own: the parent of the workers has none.
    """
    paths = [directory / _NAME.format(worker) for worker in workers]

    async def ask() -> list[ProcessReport | None]:
        return await asyncio.gather(*map(_ask, paths))

    return {each.worker: each.connected for each in asyncio.run(ask()) if each is not None}


async def _ask(path: Path) -> ProcessReport | None:
    """A worker's report; ``None`` when it does not answer."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                answer = await reader.read(MAX_ANSWER)
                while chunk := await reader.read(MAX_ANSWER - len(answer)):
                    answer += chunk
            finally:
                writer.close()
        return ProcessReport(**decode_json(answer))
    except (OSError, RealtimeError, TypeError):  # stopping, or of another version
        return None

"""Reports of all workers from any of them: whichever is asked, asks the others.

Each answers on a Unix socket beside the one for handed-over connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from atriz_realtime.api import ProcessReport, RealtimeError, decode_json, encode_json
from atriz_realtime.core.runtime.reports import Reports

ANSWER_TIMEOUT = 1.0
"""Seconds a worker has to answer; one that does not is left out."""

MAX_ANSWER = 1_048_576
"""Bytes of an answer that are read."""


class Exchange:
    """One worker's end.

    :param directory: where the workers' sockets are; only this user may enter it.
    :param reports: this worker's, which ask the others through this from now on.
    """

    def __init__(self, directory: Path, worker: int, reports: Reports) -> None:
        self._directory = directory
        self._path = directory / f"report-{worker}.sock"
        self._reports = reports
        reports.worker = worker
        reports.others = self._others

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Answer the other workers."""
        self._path.unlink(missing_ok=True)  # one that was killed leaves it
        server = await asyncio.start_unix_server(self._answer, self._path)
        try:
            yield
        finally:
            server.close()
            self._path.unlink(missing_ok=True)

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_json(attrs.asdict(self._reports.own())))
        writer.close()
        with contextlib.suppress(OSError):  # whoever asked has gone
            await writer.wait_closed()

    async def _others(self) -> list[ProcessReport]:
        paths = [path for path in self._directory.glob("report-*.sock") if path != self._path]
        reports = await asyncio.gather(*map(_ask, paths))
        return [report for report in reports if report is not None]


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
    except (OSError, TimeoutError, RealtimeError, TypeError):  # it stops, or is of another version
        return None

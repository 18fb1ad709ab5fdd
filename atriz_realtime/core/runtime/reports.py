"""Reports on this process, and on the others that serve the same port."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from atriz_realtime.api.contracts import BackendStatus, Clock, Sockets
from atriz_realtime.api.reports import ProcessReport
from atriz_realtime.core.runtime.incidents import Incidents

_MEMORY = Path("/proc/self/statm")


class Reports:
    """Makes reports on demand.

    :param worker: the number of this process among those that serve the port.
    :param others: asks the other processes for their reports; ``None``: there are none.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        sockets: Sockets,
        status: Callable[[], BackendStatus],
        statistics: Callable[[], Mapping[str, Mapping[str, float]]],
        incidents: Incidents,
        worker: int,
        others: Callable[[], Awaitable[Sequence[ProcessReport]]] | None,
    ) -> None:
        self._started_at = clock.now()
        self._sockets = sockets
        self._status = status
        self._statistics = statistics
        self._incidents = incidents
        self._worker = worker
        self._others = others

    def own(self) -> ProcessReport:
        """The report of this process."""
        return ProcessReport(
            worker=self._worker,
            started_at=self._started_at,
            cpu=time.process_time(),
            memory=_resident_memory(),
            connections=self._sockets.connections,
            rooms=self._sockets.rooms,
            connected=self._status().state != "disconnected",
            statistics=self._statistics(),
            incidents=dict(self._incidents.counts),
            labelled_incidents=self._incidents.labelled_counts(),
        )

    async def all(self) -> list[ProcessReport]:
        """The reports of all processes that serve this port, by worker number."""
        others = [] if self._others is None else await self._others()
        return sorted([self.own(), *others], key=lambda report: report.worker)


def _resident_memory() -> float:
    with contextlib.suppress(OSError):  # not on Linux
        pages = int(_MEMORY.read_text().split()[1])
        return float(pages * os.sysconf("SC_PAGE_SIZE"))
    return 0.0

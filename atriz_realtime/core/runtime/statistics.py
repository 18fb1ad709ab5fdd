"""The numbers of a server's parts, and the reports on its processes that contain them."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from atriz_realtime.api.contracts import BackendStatus, Clock, Measuring, Sockets
from atriz_realtime.api.reports import ProcessReport
from atriz_realtime.core.runtime import open_files
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.engine.session import Session, State

_MEMORY = Path("/proc/self/statm")


class Statistics:
    """Asks each part for its numbers on demand."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents
        self._parts: dict[str, tuple[str, Measuring]] = {}

    def add(self, name: str, part: object, plugin: str = "host") -> None:
        """Include a part under a name, if it has numbers.

        :param plugin: the plugin that the part is of; its failures are counted under that name.
        """
        if isinstance(part, Measuring):
            self._parts[name] = (plugin, part)

    def add_all(self, parts: Mapping[str, object]) -> None:
        """Include several parts of the server, by their names."""
        for name, part in parts.items():
            self.add(name, part)

    def read(self) -> dict[str, dict[str, float]]:
        """The numbers of each part; a part that fails is counted, and left out."""
        found: dict[str, dict[str, float]] = {}
        for name, (plugin, part) in self._parts.items():
            try:
                found[name] = _numbers(part.statistics())
            except Exception as error:  # a plugin's part may raise anything
                what = f"statistics of {name!r}"
                self._incidents.plugin_problem(plugin, "failed", what, error=error)
        return found


def _numbers(statistics: Mapping[Any, Any]) -> dict[str, float]:
    """Check that names are strings and values are finite: JSON and monitoring take nothing else."""
    for name, value in statistics.items():
        if not isinstance(name, str) or not isinstance(value, int | float):
            raise TypeError(f"{name!r}: {value!r} is no number by a name")
        if not math.isfinite(value):
            raise ValueError(f"{name!r} is {value}")
    return dict(statistics)


class ClientLag:
    """How far the clients of this server are behind, computed on demand.

    :param sessions: the live Engine.IO sessions, by id.
    """

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self._sessions = sessions

    def statistics(self) -> dict[str, float]:
        """Clients that are ``lagging``, the greatest ``lag`` in seconds, frames ``waiting``."""
        lagging, greatest, waiting = 0, 0.0, 0
        for session in self._sessions.values():
            outbox = session.outbox
            if outbox is None or session.state is State.CLOSED:
                continue
            waiting += outbox.frames
            if outbox.lagging:
                lagging += 1
                greatest = max(greatest, outbox.lag)
        return {"lagging": lagging, "lag": greatest, "waiting": waiting}


class Reports:
    """Makes reports on demand.

    :param worker: the number of this process among those that serve the port.
    :param deaths: how often the worker of this number has died.
    :param failed_tasks: returns the background tasks of plugins that have failed.
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
        failed_tasks: Callable[[], Sequence[Mapping[str, str]]],
        worker: int,
        deaths: int,
        others: Callable[[], Awaitable[Sequence[ProcessReport]]] | None,
    ) -> None:
        self._started_at = clock.now()
        self._sockets = sockets
        self._status = status
        self._statistics = statistics
        self._incidents = incidents
        self._failed_tasks = failed_tasks
        self._worker = worker
        self._deaths = deaths
        self._others = others
        self._workers, self._hangs = 1, 0

    def of_parent(self, *, workers: int, hangs: int) -> None:
        """Report what the parent of the workers has counted, too."""
        self._workers, self._hangs = workers, hangs

    def own(self) -> ProcessReport:
        """The report of this process."""
        return ProcessReport(
            worker=self._worker,
            deaths=self._deaths,
            hangs=self._hangs,
            workers=self._workers,
            started_at=self._started_at,
            cpu=time.process_time(),
            memory=_resident_memory(),
            open_files=open_files.count(),
            max_open_files=open_files.limit(),
            connections=self._sockets.connections,
            rooms=self._sockets.rooms,
            connected=self._status().state != "disconnected",
            statistics=self._statistics(),
            incidents=dict(self._incidents.counts),
            labelled_incidents=self._incidents.labelled_counts(),
            failed_tasks=self._failed_tasks(),
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

"""The numbers of a server's parts, collected for the health report, metrics and plugins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from atriz_realtime.api.contracts import Measuring
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.engine.session import Session, State


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

    def read(self) -> dict[str, dict[str, float]]:
        """The numbers of each part; a part that fails is counted, and left out."""
        found: dict[str, dict[str, float]] = {}
        for name, (plugin, part) in self._parts.items():
            try:
                found[name] = _numbers(part.statistics())
            except Exception as error:  # a plugin's part may raise anything
                self._incidents.plugin_problem(
                    plugin, "failed", f"statistics of {name!r}: {type(error).__name__}: {error}"
                )
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

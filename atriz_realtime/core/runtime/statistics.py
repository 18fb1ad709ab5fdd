"""The numbers of a server's parts, gathered for the health report and for plugins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from atriz_realtime.api.contracts import Measuring
from atriz_realtime.core.runtime.incidents import Incidents


class Statistics:
    """Asks each part for its numbers when somebody wants to see them."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents
        self._parts: dict[str, tuple[str, Measuring]] = {}

    def add(self, name: str, part: object, plugin: str = "host") -> None:
        """Show a part's numbers under a name, if it has any.

        :param plugin: whose part it is: what goes wrong with it is counted under that name.
        """
        if isinstance(part, Measuring):
            self._parts[name] = (plugin, part)

    def read(self) -> dict[str, dict[str, float]]:
        """The numbers of each part; one that fails is counted, and left out."""
        found: dict[str, dict[str, float]] = {}
        for name, (plugin, part) in self._parts.items():
            try:
                found[name] = _numbers(part.statistics())
            except Exception as error:  # a plugin's part may raise what it likes
                self._incidents.report(
                    f"plugin {plugin} failed",
                    f"statistics of {name!r}: {type(error).__name__}: {error}",
                )
        return found


def _numbers(statistics: Mapping[Any, Any]) -> dict[str, float]:
    """What JSON can carry; nothing else gets into a report that monitoring has to read."""
    for name, value in statistics.items():
        if not isinstance(name, str) or not isinstance(value, int | float):
            raise TypeError(f"{name!r}: {value!r} is no number by a name")
        if not math.isfinite(value):
            raise ValueError(f"{name!r} is {value}")
    return dict(statistics)

"""The numbers of a server's parts."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.statistics import Statistics


@attrs.define
class Part:
    """Something with numbers, or not quite."""

    numbers: Any

    def statistics(self) -> Any:
        if isinstance(self.numbers, Exception):
            raise self.numbers
        return self.numbers


def test_each_part_that_has_numbers_is_asked_anew(incidents: Incidents) -> None:
    statistics, part = Statistics(incidents), Part({"lag": 0.5})
    statistics.add("one", part)
    statistics.add("other", Part({}))
    statistics.add("nothing to say", object())
    assert statistics.read() == {"one": {"lag": 0.5}, "other": {}}
    part.numbers["lag"] = 1
    assert statistics.read()["one"] == {"lag": 1}


@pytest.mark.parametrize(
    "broken",
    [LookupError("a bug"), None, {"lag": "0.5"}, {"lag": None}, {"lag": math.nan}, {1: 1.0}],
    ids=repr,
)
def test_a_part_that_fails_is_counted_and_left_out(incidents: Incidents, broken: Any) -> None:
    statistics = Statistics(incidents)
    statistics.add("broken", Part(broken), "scales")
    statistics.add("whole", Part({"sent": 3}), "scales")
    assert statistics.read() == {"whole": {"sent": 3}}
    assert incidents.counts == {"plugin scales failed": 1}

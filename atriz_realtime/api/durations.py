"""Durations in text, such as ``1h30m``."""

from __future__ import annotations

import re
from types import MappingProxyType

from atriz_realtime.api.errors import InvalidRequest

_UNITS = MappingProxyType({"s": 1, "m": 60, "h": 3_600, "d": 86_400})


def parse_duration(text: str) -> int:
    """Read a duration such as ``30s``, ``15m``, ``1h``, ``1h30m`` or ``2d``, in seconds.

    :raises InvalidRequest: for anything else.
    """
    if not re.fullmatch(r"([0-9]{1,9}[smhd])+", text):
        raise InvalidRequest(f"{text!r} is no duration such as 30s, 15m, 1h or 2d")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)([smhd])", text))

"""What a link says about its entity: a name, a destination, and what of `metadata` it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from atriz_realtime.api import InvalidRequest
from atriz_realtime.defaults.sharing.text import MAX_TEXT, line_of, text_of

SHOWN = ("name", "status", "since", "driver", "plate", "eta", "destination")
"""What a page can show of a location's ``metadata``, as far as the configuration names it."""

DECIMALS = 6  # of a destination's degrees; the last is 11 cm

Number = int | float


@attrs.frozen
class Destination:
    """The place that an entity goes to."""

    latitude: float
    """Degrees north."""
    longitude: float
    """Degrees east."""
    label: str | None = None
    """How the page names it."""

    def to_wire(self) -> dict[str, Any]:
        """The JSON object; a label that is not given is left out."""
        wire: dict[str, Any] = {"latitude": self.latitude, "longitude": self.longitude}
        return wire if self.label is None else wire | {"label": self.label}

    @classmethod
    def read(cls, data: object) -> Destination | None:
        """Read a JSON object; ``None`` when it names no place.  Other keys are ignored."""
        if not isinstance(data, Mapping):
            return None
        latitude = _degrees(data.get("latitude"), 90)
        longitude = _degrees(data.get("longitude"), 180)
        if latitude is None or longitude is None:
            return None
        return cls(latitude, longitude, text_of(data.get("label")))


@attrs.frozen(kw_only=True)
class Details:
    """What the creator of a link says."""

    name: str | None = None
    """How the page names the entity."""
    destination: Destination | None = None
    """Where it goes."""
    show: tuple[str, ...] | None = None
    """What the link shows of `metadata`, by names of :data:`SHOWN`; ``None``: all that is
    configured."""

    @classmethod
    def from_wire(cls, data: Mapping[str, Any], known: Iterable[str] = SHOWN) -> Details:
        """Read the fields of a request, or the claims of a token; others are ignored.

        :param known: what `show` may name.
        :raises InvalidRequest: naming the field that is invalid.
        """
        return cls(
            name=_said(data.get("name"), "name"),
            destination=_destination(data.get("destination")),
            show=_show(data.get("show"), known),
        )

    def to_wire(self) -> dict[str, Any]:
        """The fields that are given, as JSON."""
        wire: dict[str, Any] = {}
        if self.name is not None:
            wire["name"] = self.name
        if self.destination is not None:
            wire["destination"] = self.destination.to_wire()
        if self.show is not None:
            wire["show"] = list(self.show)
        return wire


def _said(value: object, field: str) -> str | None:
    """A text of a creator as a line; unlike a device's, it is refused rather than cut.

    :raises InvalidRequest: naming the field.
    """
    if value is None:
        return None
    line = line_of(value) if isinstance(value, str) else None
    if line is None or len(line) > MAX_TEXT:
        raise InvalidRequest(f"{field} must be a text of 1 to {MAX_TEXT} characters", field=field)
    return line


def _destination(data: object) -> Destination | None:
    if data is None:
        return None
    found = Destination.read(data)
    known = {"latitude", "longitude", "label"}
    if found is None or not isinstance(data, Mapping) or data.keys() - known:
        raise InvalidRequest(
            "destination must be an object with latitude, longitude, and if you like a label",
            field="destination",
        )
    return attrs.evolve(found, label=_said(data.get("label"), "destination.label"))


def _show(data: object, known: Iterable[str]) -> tuple[str, ...] | None:
    if data is None:
        return None
    names = sorted(known)
    if not isinstance(data, list) or not all(each in names for each in data):
        allowed = ", ".join(names) or "nothing (the configuration has no fields)"
        raise InvalidRequest(f"show must be a list of: {allowed}", field="show")
    return tuple(dict.fromkeys(data))


def _degrees(value: object, most: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, Number) or not -most <= value <= most:
        return None
    return round(float(value), DECIMALS)

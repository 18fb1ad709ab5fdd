"""Views that show some watchers less of a location: coarser coordinates, and fewer fields.

Coordinates are rounded to the points of a fixed grid, so a vehicle at rest stays at one point and
no average over many fixes reveals its position.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from atriz_realtime.api import (
    LOCATION_FIELDS,
    ConfigurationError,
    EntityRef,
    Identity,
    InvalidEntityId,
    LocationEvent,
    PluginConfig,
    ServerHandle,
    UnknownEntityType,
    View,
    encode_json,
    hookimpl,
)

HIDDEN = "hidden"
"""The value of a hidden id; clients expect the field to be present."""

METRES_PER_DEGREE = 111_319.49  # of longitude at the equator, by WGS 84
DECIMALS = 6  # of a coarse position; the last is 11 cm

IDS = {"deviceId": "device_id", "userId": "user_id"}
"""The required fields that can be hidden: the attribute of each by its name on the wire."""

MEASURED = ("speed", "heading", "accuracy", "altitude", "metadata")
"""The optional fields, which may reveal more about the position."""


@attrs.frozen(kw_only=True)
class PrivacyRule:
    """One table ``[realtime.plugins.privacy.rules.<name>]``: whom it applies to, what it hides."""

    claim: str | None = None
    """The claim that decides whether the rule applies to a watcher; none: it applies to all."""
    values: tuple[str, ...] = ()
    """Values of the claim, or of an item of it, that the rule applies to."""
    except_values: tuple[str, ...] = ()
    """Values that it does not apply to; it applies to all others, and when the claim is missing."""
    entity_types: tuple[str, ...] = ()
    """Entity types that it applies to; none: all."""
    precision: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Metres between the grid points that positions are rounded to, 1 or more; 0: no rounding."""
    hide: tuple[str, ...] = ()
    """Fields to leave out.  `deviceId` and `userId`, which clients expect, get the value `"hidden"`
    instead."""
    keep: tuple[str, ...] = ()
    """Fields to show although `precision` is set, which leaves out `speed`, `heading`, `accuracy`,
    `altitude` and `metadata`."""

    def __attrs_post_init__(self) -> None:
        if self.claim is None and (self.values or self.except_values):
            raise ConfigurationError("values need a claim", field="claim")
        if self.claim is not None and bool(self.values) == bool(self.except_values):
            raise ConfigurationError("a claim needs either values or except_values", field="values")
        if 0 < self.precision < 1:
            raise ConfigurationError("precision: 0, or 1 m and more", field="precision")
        for key, names, allowed in (
            ("hide", self.hide, {*IDS, *MEASURED}),
            ("keep", self.keep, set(MEASURED)),
        ):
            for name in names:
                if name not in allowed:
                    what = "cannot be" if name in LOCATION_FIELDS else "is no field that can be"
                    raise ConfigurationError(f"{key}: {name!r} {what} named here", field=key)
        if not self.precision and not self.hide:
            raise ConfigurationError("a rule needs precision or hide", field="precision")


@attrs.frozen(kw_only=True)
class PrivacySettings:
    """The table ``[realtime.plugins.privacy]``."""

    rules: dict[str, PrivacyRule] = attrs.field(factory=dict)
    """A table for each rule, by name; all rules that apply to a watcher are combined."""


class Rule:
    """Applies one rule."""

    def __init__(self, rule: PrivacyRule) -> None:
        self._rule = rule
        hidden = {*rule.hide}
        if rule.precision:
            hidden |= set(MEASURED) - set(rule.keep)
        self._changes: dict[str, Any] = {name: None for name in MEASURED if name in hidden}
        self._changes |= {own: HIDDEN for name, own in IDS.items() if name in hidden}

    async def applies(self, identity: Identity, entity: EntityRef) -> bool:
        """Whether the rule applies to an identity and an entity."""
        rule = self._rule
        if rule.entity_types and entity.type not in rule.entity_types:
            return False
        if rule.claim is None:
            return True
        value = identity.claims.get(rule.claim)
        items = value if isinstance(value, list | tuple) else [value]
        named = {_as_text(item) for item in items}
        if rule.except_values:
            return named.isdisjoint(rule.except_values)
        return not named.isdisjoint(rule.values)

    def apply(self, event: LocationEvent) -> LocationEvent:
        """The event without what the rule hides."""
        changes = self._changes
        if self._rule.precision:
            latitude, longitude = coarse(
                event.location.latitude, event.location.longitude, self._rule.precision
            )
            changes = {**changes, "latitude": latitude, "longitude": longitude}
        return attrs.evolve(event, location=attrs.evolve(event.location, **changes))


def coarse(latitude: float, longitude: float, metres: float) -> tuple[float, float]:
    """The nearest point of a grid, in degrees.

    Rows are ``metres`` apart.  The distance of the points within a row depends on the row, not on
    the exact latitude, which it would reveal.
    """
    step = metres / METRES_PER_DEGREE
    row = min(90.0, max(-90.0, round(latitude / step) * step))
    width = step / max(math.cos(math.radians(row)), 1e-9)
    column = round(longitude / width) * width if width < 360 else 0.0
    return round(row, DECIMALS), round(min(180.0, max(-180.0, column)), DECIMALS)


def _as_text(value: object) -> str | None:
    """A claim's value as configuration writes it: a string as it is, anything else as JSON."""
    return value if value is None or isinstance(value, str) else encode_json(value).decode()


@hookimpl
def register_settings() -> type[PrivacySettings]:
    """Return the settings class."""
    return PrivacySettings


@hookimpl
def register_views(config: PluginConfig) -> list[View]:
    """Register a view for each rule."""
    views = []
    for name, settings in config.load(PrivacySettings).rules.items():
        rule = Rule(settings)
        views.append(View(f"privacy:{name}", rule.applies, rule.apply))
    return views


@hookimpl
def server_started(config: PluginConfig, server: ServerHandle) -> None:
    """Refuse to start with a rule for an unknown entity type: it would hide nothing."""
    for name, rule in config.load(PrivacySettings).rules.items():
        for kind in rule.entity_types:
            try:
                server.tracking.entity(kind, "1")
            except InvalidEntityId:
                pass
            except UnknownEntityType as error:
                raise ConfigurationError(
                    f"[realtime.plugins.privacy.rules.{name}]: no entity type {kind!r}",
                    field="entity_types",
                ) from error

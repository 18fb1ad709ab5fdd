"""Less than the whole position for some watchers: coarser, and without some fields.

Positions are moved to the points of a grid that stands still, so that a vehicle at rest
stays at one point and no number of fixes averages out to where it is.
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
"""What stands in place of an id that is hidden: clients count on there being one."""

METRES_PER_DEGREE = 111_319.49  # of longitude at the equator, by WGS 84
DECIMALS = 6  # of a coarse position; the last is 11 cm

IDS = {"deviceId": "device_id", "userId": "user_id"}
"""Fields that every location has, and that can be hidden, by their names on the wire."""

MEASURED = ("speed", "heading", "accuracy", "altitude", "metadata")
"""Fields that a location may have; they can tell more of where it is."""


@attrs.frozen(kw_only=True)
class PrivacyRule:
    """One table ``[realtime.plugins.privacy.rules.<name>]``: who sees less, and how much less."""

    claim: str | None = None
    """The claim of an identity that says whether the rule is for it; none: it is for everybody."""
    values: tuple[str, ...] = ()
    """Values of the claim, or of an item of it, that the rule is for."""
    except_values: tuple[str, ...] = ()
    """Or those that it is not for; it is then for all others, and for who lacks the claim."""
    entity_types: tuple[str, ...] = ()
    """Entity types that it is for; none named: all."""
    precision: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Metres between the points that positions are moved to, 1 or more; 0: they stay."""
    hide: tuple[str, ...] = ()
    """Fields to leave out; of `deviceId` and `userId`, which clients count on, the value is
    `"hidden"` instead."""
    keep: tuple[str, ...] = ()
    """Fields that stay although `precision` is set, which leaves out `speed`, `heading`,
    `accuracy`, `altitude` and `metadata`."""

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
                    what = "cannot be" if name in LOCATION_FIELDS else "is no field to be"
                    raise ConfigurationError(f"{key}: {name!r} {what} named here", field=key)
        if not self.precision and not self.hide:
            raise ConfigurationError("a rule needs precision or hide", field="precision")


@attrs.frozen(kw_only=True)
class PrivacySettings:
    """The table ``[realtime.plugins.privacy]``."""

    rules: dict[str, PrivacyRule] = attrs.field(factory=dict)
    """A table for each rule, by a name of its own; all that are for a watcher apply."""


class Rule:
    """A rule at work."""

    def __init__(self, rule: PrivacyRule) -> None:
        self._rule = rule
        hidden = {*rule.hide}
        if rule.precision:
            hidden |= set(MEASURED) - set(rule.keep)
        self._changes: dict[str, Any] = {name: None for name in MEASURED if name in hidden}
        self._changes |= {own: HIDDEN for name, own in IDS.items() if name in hidden}

    async def applies(self, identity: Identity, entity: EntityRef) -> bool:
        """Whether the rule is for this identity and this entity."""
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
        """The event as the rule lets it be seen."""
        changes = self._changes
        if self._rule.precision:
            latitude, longitude = coarse(
                event.location.latitude, event.location.longitude, self._rule.precision
            )
            changes = {**changes, "latitude": latitude, "longitude": longitude}
        return attrs.evolve(event, location=attrs.evolve(event.location, **changes))


def coarse(latitude: float, longitude: float, metres: float) -> tuple[float, float]:
    """The nearest point of a grid, in degrees.

    Rows are ``metres`` apart.  How far apart the points of a row are depends on the row
    alone, not on the exact latitude, which they would give away.
    """
    step = metres / METRES_PER_DEGREE
    row = min(90.0, max(-90.0, round(latitude / step) * step))
    width = step / max(math.cos(math.radians(row)), 1e-9)
    column = round(longitude / width) * width if width < 360 else 0.0
    return round(row, DECIMALS), round(min(180.0, max(-180.0, column)), DECIMALS)


def _as_text(value: object) -> str | None:
    """A claim as it is written in the configuration: text as it is, the rest as its JSON."""
    return value if value is None or isinstance(value, str) else encode_json(value).decode()


@hookimpl
def register_settings() -> type[PrivacySettings]:
    """The plugin's own table."""
    return PrivacySettings


@hookimpl
def register_views(config: PluginConfig) -> list[View]:
    """A view for each rule."""
    views = []
    for name, settings in config.load(PrivacySettings).rules.items():
        rule = Rule(settings)
        views.append(View(f"privacy:{name}", rule.applies, rule.apply))
    return views


@hookimpl
def server_started(config: PluginConfig, server: ServerHandle) -> None:
    """Refuse to start with a rule for an entity type that there is not: it would hide nothing."""
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

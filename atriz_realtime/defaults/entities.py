"""The documented entity types, a plugin each: ``vehicle`` and ``delivery``."""

from __future__ import annotations

import attrs

from atriz_realtime.api import EntityType, hookimpl


@attrs.frozen(eq=False)
class EntityTypePlugin:
    """A plugin that registers one plain entity type."""

    name: str

    @hookimpl
    def register_entity_types(self) -> EntityType:
        """Register the type."""
        return EntityType(self.name)


vehicle = EntityTypePlugin("vehicle")
delivery = EntityTypePlugin("delivery")

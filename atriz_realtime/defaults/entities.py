"""The documented entity types ``vehicle`` and ``delivery``, each a plugin."""

from __future__ import annotations

import attrs

from atriz_realtime.api import EntityType, hookimpl


@attrs.frozen(eq=False)
class EntityTypePlugin:
    """A plugin that registers one entity type, with default settings."""

    name: str

    @hookimpl
    def register_entity_types(self) -> EntityType:
        """Register the entity type."""
        return EntityType(self.name)


vehicle = EntityTypePlugin("vehicle")
delivery = EntityTypePlugin("delivery")

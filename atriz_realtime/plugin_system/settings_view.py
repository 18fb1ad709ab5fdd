"""What others see of the settings: plugins all but their tables, people all but the secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from atriz_realtime.plugin_system.checks import mask_url
from atriz_realtime.plugin_system.config import RealtimeConfig


class SettingsView(Mapping[str, Any]):
    """The settings by name, read-only, as plugins see them: without the tables of plugins.

    Its ``repr`` masks secrets, because plugins log what they are given.
    """

    def __init__(self, config: RealtimeConfig) -> None:
        self._config = config
        self._values = {name: getattr(config, name) for name in _SEEN}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        shown = describe(self._config)
        return repr({name: shown[name] for name in self})


_SEEN = tuple(name for name in attrs.fields_dict(RealtimeConfig) if name != "plugins")


def describe(config: RealtimeConfig) -> dict[str, Any]:
    """The settings by name, with secrets masked, for printing."""
    described: dict[str, Any] = {}
    for field in attrs.fields(RealtimeConfig):
        value = getattr(config, field.name)
        secret = field.metadata["secret"]
        if value and secret is True:
            value = dict.fromkeys(value, "***") if isinstance(value, dict) else "***"
        elif value and secret == "password":  # noqa: S105  # a marker
            value = mask_url(value)
        elif field.name == "entities":
            value = {name: attrs.asdict(entry) for name, entry in value.items()}
        described[field.name] = value
    return described

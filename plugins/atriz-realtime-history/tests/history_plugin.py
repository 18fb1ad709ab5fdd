"""How the tests turn the plugin on, installed or not."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

INSTALLED = "history" in entry_points(group="atriz_realtime").names
PLUGINS = () if INSTALLED else ("atriz_realtime_history.history:history",)


def history_settings(
    url: str, *, others: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Settings of a server with history.

    :param others: tables of other plugins.
    :param more: of the plugin's own table.
    """
    tables = {"history": {"url": url, **more}, **(others or {})}
    return {"extra_plugins": PLUGINS, "plugins": tables}

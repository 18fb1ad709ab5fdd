"""The commands that plugins add."""

from __future__ import annotations

from collections.abc import Iterable

import click

from atriz_realtime.api.contracts import Resources
from atriz_realtime.api.errors import PluginError
from atriz_realtime.api.records import EntityType
from atriz_realtime.cli.main import COMMANDS
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.plugin_system.discovery import DISTRIBUTION
from atriz_realtime.plugin_system.plugins import PluginHost
from atriz_realtime.plugin_system.settings_view import SettingsView
from atriz_realtime.redis_link import optional_link


def load() -> dict[str, click.Command]:
    """Ask the configured plugins for their commands; returns them by name.

    :raises RealtimeError: when the configuration or a plugin is broken, or two commands have
        one name.
    """
    found = owned(RealtimeConfig.load())
    return {name: command for name, (_, command) in found.items()}


def entity_types() -> dict[str, EntityType]:
    """The entity types that the configured plugins register, by name.

    :raises RealtimeError: when the configuration or a plugin is broken.
    """
    found: dict[str, EntityType] = {}
    for _, returned in PluginHost(RealtimeConfig.load()).call("register_entity_types"):
        for each in returned if isinstance(returned, Iterable) else [returned]:
            found[each.name] = each
    return found


def owned(config: RealtimeConfig) -> dict[str, tuple[str, click.Command]]:
    """The commands by name, each with the plugin that it comes from.

    :raises PluginError: when a plugin is broken, or two commands have one name, of which one may
        be built in.
    """
    clock = SystemClock()
    link = optional_link(config.redis_url, Incidents(clock).report)  # not connected
    resources = Resources(clock=clock, redis=link, settings=SettingsView(config))
    found: dict[str, tuple[str, click.Command]] = {}
    owners = dict.fromkeys(COMMANDS, DISTRIBUTION)
    for plugin, returned in PluginHost(config).call("register_commands", resources=resources):
        for command in returned if isinstance(returned, Iterable) else [returned]:
            if not isinstance(command, click.Command):
                raise PluginError(
                    f"plugin {plugin!r}: register_commands must return click commands, "
                    f"not {type(command).__name__}"
                )
            name = command.name or ""
            if name in owners:
                raise PluginError(
                    f"plugins {owners[name]!r} and {plugin!r} both register the command {name!r}"
                )
            owners[name], found[name] = plugin, (plugin, command)
    return found

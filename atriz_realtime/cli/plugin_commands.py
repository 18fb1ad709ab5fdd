"""The commands that plugins add."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable

import click

from atriz_realtime.api.contracts import Resources
from atriz_realtime.api.errors import PluginError
from atriz_realtime.api.records import EntityType
from atriz_realtime.cli.main import COMMANDS
from atriz_realtime.cli.options import config_option
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.plugin_system import settings_file
from atriz_realtime.plugin_system.checks import mask_url
from atriz_realtime.plugin_system.config import LoadedConfig, RealtimeConfig, load_config
from atriz_realtime.plugin_system.discovery import DISTRIBUTION
from atriz_realtime.plugin_system.plugins import PluginHost
from atriz_realtime.plugin_system.settings_view import SettingsView
from atriz_realtime.redis_link import optional_link

SETTINGS = "atriz_realtime.settings"
"""The key of click's ``Context.meta`` with the text that says which settings a command has."""

ENTITY_TYPES = "atriz_realtime.entity_types"
"""The key of click's ``Context.meta`` with a function that returns the entity types by name."""


def load(arguments: list[str], meta: dict[str, object]) -> dict[str, click.Command]:
    """Ask the configured plugins for their commands; returns them by name.

    Each has the option ``--config``.  The plugins are loaded from the file that it names, so it is
    read from the arguments before there is a command to parse them.

    :param arguments: those of the command.
    :param meta: what the commands find in click's ``Context.meta`` is put here.
    :raises RealtimeError: when the configuration or a plugin is broken, or two commands have
        one name.
    """
    loaded = load_config(_file_in(arguments))
    meta[SETTINGS] = described(loaded)
    meta[ENTITY_TYPES] = functools.partial(entity_types, loaded.config)
    return {
        name: _with_config(command, f"plugin {plugin!r}: the command {name!r}")
        for name, (plugin, command) in owned(loaded.config).items()
    }


def described(loaded: LoadedConfig) -> str:
    """The line that says which file, Redis and prefix a command uses."""
    config = loaded.config
    url = "none" if config.redis_url is None else mask_url(config.redis_url)
    prefix = repr(config.redis_prefix) if config.redis_prefix else "none"
    return f"settings: {settings_file.described(loaded)}; redis_url: {url}; redis_prefix: {prefix}"


def _file_in(arguments: list[str]) -> str | None:
    """The file that ``--config`` names among the arguments of a command that is not known yet."""
    any_command = click.Command(
        "any",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    context = config_option(any_command).make_context("any", [*arguments], resilient_parsing=True)
    file: str | None = context.params["file"]
    return file


def _with_config(command: click.Command, what: str) -> click.Command:
    """A copy of a command with the option ``--config``, which :func:`load` has read already.

    :raises PluginError: when it has an option of this name.
    """
    if any("--config" in option.opts for option in command.params):
        raise PluginError(f"{what} has an option --config, which the command line adds to it")
    found = copy.copy(command)
    found.params = list(command.params)
    config_option(found)
    found.params[-1].expose_value = False
    found.params[-1].name = "--config"  # no name of a parameter of the command's own
    if isinstance(command, click.Group) and isinstance(found, click.Group):
        found.commands = {name: _with_config(each, what) for name, each in command.commands.items()}
    return found


def entity_types(config: RealtimeConfig) -> dict[str, EntityType]:
    """The entity types that the configured plugins register, by name.

    :raises RealtimeError: when a plugin is broken.
    """
    found: dict[str, EntityType] = {}
    for _, returned in PluginHost(config).call("register_entity_types"):
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

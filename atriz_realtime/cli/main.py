"""The group of all commands, and how every failure becomes one line."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click

from atriz_realtime.api.errors import PluginError, RealtimeError
from atriz_realtime.cli.output import complain, discard_output, warn
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.plugin_system.discovery import DISTRIBUTION
from atriz_realtime.plugin_system.plugins import PluginHost

NAME = "atriz-realtime"

COMMANDS = MappingProxyType(
    {
        module.rpartition(".")[2]: f"{__package__}.{module}"
        for module in (
            "serve",
            "demo",
            "token",
            "client.publish",
            "client.watch",
            "client.replay",
            "plugins",
            "frontend",
            "deployment",
            "check",
        )
    }
)
"""The built-in commands, each with the module that has a command of that name."""

_INTERRUPTED = 130
"""The exit status of a program that SIGINT ended, as shells count."""


class Program(click.Group):
    """The built-in commands, and whatever the plugins add.

    Both are imported when they are asked for, so that no command pays for another, and
    a broken plugin harms the plugins' commands alone.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The built-in commands in the order of use, then the plugins'."""
        try:
            contributed = _contributed(ctx)
        except RealtimeError as error:
            warn(f"commands of plugins are left out: {error.message}")
            return list(COMMANDS)
        return [*COMMANDS, *sorted(contributed)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command by its name."""
        if cmd_name in COMMANDS:
            command: click.Command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
            return command
        try:
            return _contributed(ctx).get(cmd_name)
        except RealtimeError as error:
            raise PluginError(
                f"{cmd_name!r} is no built-in command, and plugins cannot be asked: {error.message}"
            ) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; ``--traceback`` shows where a failure came from."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever read our output has had enough
            discard_output()
            return None
        except Exception as error:
            if ctx.params["traceback"] and not isinstance(error, click.exceptions.Exit):
                traceback.print_exc()
            raise


@click.group(
    cls=Program,
    name=NAME,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--traceback", is_flag=True, help="Show where a failure came from.")
@click.version_option(package_name=DISTRIBUTION, prog_name=NAME)
def program(**_: object) -> None:
    """Live GPS tracking: run a server, feed it, watch it.

    Settings come from the environment (JWT_SECRET, REDIS_URL, HOST, PORT, …), from atriz.toml or
    from pyproject.toml in the working directory; `atriz-realtime check` shows them.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``atriz-realtime`` and exit: 0 done, 1 failed, 2 used in a wrong way."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None, command: click.Command = program) -> int:
    """Run ``atriz-realtime``; returns the exit status, a failure's one line printed."""
    try:
        status = command.main(arguments, prog_name=NAME, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else NAME
        complain(f"{error.format_message()} (see {path} --help)")
        return error.exit_code
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except RealtimeError as error:
        complain(error.message)
        return 1
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return 0
    except OSError as error:
        complain(str(error))
        return 1
    except (Exception, asyncio.CancelledError) as error:
        complain(f"unexpected {type(error).__name__}: {error} (--traceback shows where)")
        return 1
    return status if isinstance(status, int) else 0


def _contributed(ctx: click.Context) -> dict[str, click.Command]:
    """The plugins' commands by name; asked for once.

    :raises RealtimeError: when the configuration or a plugin is broken, or a name stands twice.
    """
    found: dict[str, click.Command] | None = ctx.meta.get(__name__)
    if found is None:
        found = ctx.meta[__name__] = _ask_plugins()
    return found


def _ask_plugins() -> dict[str, click.Command]:
    commands: dict[str, click.Command] = {}
    owners = dict.fromkeys(COMMANDS, DISTRIBUTION)
    config = RealtimeConfig.load()
    resources = import_module(f"{__package__}.offline").offline_resources(config)
    for plugin, returned in PluginHost(config).call("register_commands", resources=resources):
        for command in _commands(plugin, returned):
            name = command.name or ""
            if name in owners:
                raise PluginError(
                    f"plugins {owners[name]!r} and {plugin!r} both register the command {name!r}"
                )
            owners[name], commands[name] = plugin, command
    return commands


def _commands(plugin: str, returned: object) -> Iterable[click.Command]:
    for command in returned if isinstance(returned, Iterable) else [returned]:
        if not isinstance(command, click.Command):
            raise PluginError(
                f"plugin {plugin!r}: register_commands must return click commands, "
                f"not {type(command).__name__}"
            )
        yield command

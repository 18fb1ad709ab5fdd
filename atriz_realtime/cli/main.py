"""The group of all commands, and its error handling: every failure prints one line."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from atriz_realtime.api.errors import ConfigurationError, PluginError, RealtimeError
from atriz_realtime.api.extras import install_hint
from atriz_realtime.cli.output import complain, discard_output, warn
from atriz_realtime.plugin_system.discovery import DISTRIBUTION, search_working_directory
from atriz_realtime.plugin_system.failures import unexpected

NAME = "atriz-realtime"

COMMANDS = MappingProxyType(
    {
        "serve": "serve",
        "demo": "demo",
        "token": "token",
        "publish": "client.publish",
        "watch": "client.watch",
        "replay": "client.replay",
        "bench": "client.bench",
        "plugins": "plugins",
        "frontend": "shipped_files",
        "deployment": "shipped_files",
        "check": "check",
    }
)
"""The built-in commands, and for each the module of this package that defines it."""

_SERVING = frozenset({"serve", "demo"})
"""The commands whose libraries the extra ``serve`` installs; ``cli`` has those of the others."""

_ARGUMENTS = "atriz_realtime.arguments"
"""The key of click's ``Context.meta`` with the arguments behind the command's name."""

SHOWS_WHERE = f"{NAME} --traceback COMMAND shows where"
"""The end of an error whose traceback tells more than its message."""

_INTERRUPTED = 130
"""The exit status that shells give a program that SIGINT ended."""


class Program(click.Group):
    """The built-in commands and those of plugins.

    Each is imported when it is called, so that no command pays for another's imports, and
    a broken plugin breaks only the commands of plugins.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The built-in commands in the order in which one needs them, then those of plugins."""
        try:
            contributed = _plugin_commands(ctx)
        except RealtimeError as error:
            warn(f"the commands of plugins are not listed: {error.message}")
            return list(COMMANDS)
        return [*COMMANDS, *sorted(contributed)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command by its name."""
        if cmd_name in COMMANDS:
            try:
                module = import_module(f"{__package__}.{COMMANDS[cmd_name]}")
            except ImportError as error:
                reason = _why_not_imported(cmd_name, error)
                if reason is None:
                    raise
                return _not_imported(cmd_name, reason, error)
            command: click.Command = getattr(module, cmd_name)
            return command
        try:
            return _plugin_commands(ctx).get(cmd_name)
        except RealtimeError as error:
            raise PluginError(
                f"{cmd_name!r} is no built-in command, and the plugins cannot be loaded: "
                f"{error.message}"
            ) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names; a plugin's may be in ``--config``."""
        ctx.meta[_ARGUMENTS] = args[1:]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; with ``--traceback`` a failure prints its traceback."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our output has gone
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
@click.option("--traceback", is_flag=True, help="Print the traceback of a failure.")
@click.version_option(package_name=DISTRIBUTION, prog_name=NAME)
def program(**_: object) -> None:
    """Live GPS tracking: run a server, feed it, watch it.

    Settings come from the environment (JWT_SECRET, REDIS_URL, HOST, PORT, …), from atriz.toml or
    from pyproject.toml in the working directory; the command `check` shows them.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``atriz-realtime`` and exit: 0 success, 1 failure, 2 wrong usage."""
    search_working_directory()
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None, command: click.Command = program) -> int:
    """Run a command; returns its exit status, after printing a failure in one line."""
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
        complain(error.message if unexpected(error) is None else f"{error.message} ({SHOWS_WHERE})")
        return 1
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return 0
    except OSError as error:
        complain(_described(error))
        return 1
    except (Exception, asyncio.CancelledError) as error:
        complain(f"unexpected {type(error).__name__}: {error} ({SHOWS_WHERE})")
        return 1
    return status if isinstance(status, int) else 0


def _described(error: OSError) -> str:
    """What failed, and why, without the number that Python puts in front of it."""
    if error.strerror is None or error.filename is None:
        return error.strerror or str(error)
    return f"{error.filename}: {error.strerror}"


def _why_not_imported(name: str, error: ImportError) -> str | None:
    """What keeps a command from being imported: a file with a library's name, or its absence."""
    places = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    for place in map(Path, reversed(places)):
        if place.parent == Path.cwd():
            return f"cannot be imported: {error}; {place} was imported, maybe in a library's place"
    if not isinstance(error, ModuleNotFoundError):
        return None
    return f"needs {error.name}: {install_hint('serve' if name in _SERVING else 'cli')}"


def _not_imported(name: str, reason: str, error: ImportError) -> click.Command:
    """A stand-in for a command that cannot be imported; it says why."""

    def refuse() -> None:
        raise ConfigurationError(f"{name} {reason}") from error

    return click.Command(
        name,
        callback=refuse,
        short_help=reason.capitalize(),
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


def _plugin_commands(ctx: click.Context) -> dict[str, click.Command]:
    """The plugins' commands by name, loaded once.

    :raises RealtimeError: when the configuration or a plugin is broken, or two commands have
        one name.
    """
    found: dict[str, click.Command] | None = ctx.meta.get(__name__)
    if found is None:
        loader = import_module(f"{__package__}.plugin_commands")
        found = ctx.meta[__name__] = loader.load(ctx.meta.get(_ARGUMENTS, []), ctx.meta)
    return found

"""``atriz-realtime plugins``."""

from __future__ import annotations

from pathlib import Path

import attrs
import click

from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.asgi import create_app
from atriz_realtime.cli import logs
from atriz_realtime.cli.options import config_option, json_option
from atriz_realtime.cli.output import print_json, print_table, warn
from atriz_realtime.cli.registered import of_plugin, registered, singular
from atriz_realtime.cli.scaffold import KINDS, write_skeleton
from atriz_realtime.cli.verdict import warnings_collected
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.plugin_system.plugins import PluginHost, PluginInfo
from atriz_realtime.server import RealtimeServer


@click.group(short_help="List plugins, or write the skeleton of one.", invoke_without_command=True)
@json_option
@config_option
@click.pass_context
def plugins(context: click.Context, as_json: bool, file: str | None) -> None:
    """List all plugins that are found: their origin, the hooks they implement, what they register.

    A hook in brackets is disabled by disabled_hooks.
    """
    if context.invoked_subcommand is not None:
        return
    logs.configure()
    config = RealtimeConfig.load(file)
    host = PluginHost(config, read_tables=False)  # lists them even if a setting is wrong
    try:
        with warnings_collected():  # check shows them
            server: RealtimeServer = create_app(config).state.realtime
            infos, records = server.plugins(), registered(server)
    except RealtimeError as error:
        infos, records = host.describe(), {}
        warn(f"what they register is not known, because a server would not start: {error.message}")
    contributed = {info.name: of_plugin(records, info.name) for info in infos}
    if as_json:
        print_json([attrs.asdict(info) | {"records": contributed[info.name]} for info in infos])
        return
    print_table(
        ("name", "version", "origin", "state", "hooks"),
        [(info.name, info.version, _origin(info), _state(info), _hooks(info)) for info in infos],
    )
    click.echo()
    print_table(
        ("plugin", "registers", "names"),
        [
            (name, singular(kind), ", ".join(names))
            for name, kinds in contributed.items()
            for kind, names in kinds.items()
        ],
    )


@plugins.command(short_help="Write the skeleton of a plugin.")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="entity",
    show_default=True,
    help="What the plugin adds.",
)
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Directory to write it to.  [default: the working directory]",
)
def new(name: str, kind: str, directory: Path) -> None:
    """Write the skeleton of a plugin: a distribution with an entry point and a passing test."""
    folder = write_skeleton(name, kind, directory)
    named = folder.name.removeprefix("atriz-realtime-").replace("-", "_")
    if named not in (name, name.removeprefix("atriz-realtime-")):
        click.echo(f"The plugin is named {named}: a plugin's name has _ instead of -.")
    click.echo(f"{folder} is ready. Next:")
    click.echo(f"  cd {folder} && pip install -e '.[test]' && pytest")


def _origin(info: PluginInfo) -> str:
    return f"{info.origin} ({info.file})" if info.file else info.origin


def _state(info: PluginInfo) -> str:
    return f"{info.state}: {info.failure}" if info.failure else info.state


def _hooks(info: PluginInfo) -> str:
    return ", ".join([*info.hooks, *(f"[{hook}]" for hook in info.blocked_hooks)])

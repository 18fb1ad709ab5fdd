"""Options that several commands share."""

from __future__ import annotations

import click

config_option = click.option(
    "--config",
    "file",
    type=click.Path(),
    metavar="FILE",
    help="Read settings from this file instead of atriz.toml or pyproject.toml.",
)

type_option = click.option(
    "--type",
    "kind",
    metavar="TYPE",
    default="vehicle",
    show_default=True,
    help="Entity type: vehicle, delivery, or one that a plugin adds.",
)

log_format_option = click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "text"]),
    default="auto",
    show_default=True,
    help="Format of log lines; auto: text on a terminal, JSON elsewhere.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

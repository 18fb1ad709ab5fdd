"""Printing: results go to standard output, everything else to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from atriz_realtime.api.wire import encode_json

_UNLIMITED_WIDTH = 10_000
"""Columns when the output is not a terminal: piped output is neither cut nor wrapped."""


def complain(message: str) -> None:
    """Print an error on one line."""
    _line("error", "red", message)


def warn(message: str) -> None:
    """Print a warning on one line."""
    _line("warning", "yellow", message)


def _line(kind: str, colour: str, message: str) -> None:
    text = " ".join(message.split())
    click.echo(f"{click.style(f'{kind}:', fg=colour)} {text}", err=True)


def print_json(value: object) -> None:
    """Print a JSON value on one line, and flush."""
    sys.stdout.write(encode_json(value).decode() + "\n")
    sys.stdout.flush()


def console(*, stderr: bool = False) -> Console:
    """A console without markup, and without a line width where there is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        width=None if stream.isatty() else _UNLIMITED_WIDTH,
    )


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print rows under a heading."""
    table = Table(
        box=SIMPLE_HEAD,
        title=Text(title, "bold") if title else None,
        title_justify="left",
        pad_edge=False,
        show_edge=False,
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def discard_output() -> None:
    """Drop buffered output, so that Python does not complain about a closed pipe at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)

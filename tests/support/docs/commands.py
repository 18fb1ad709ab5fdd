"""Checks commands in documents, and writes the reference of the command line in docs/cli.md."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
from collections.abc import Iterator

import click

from atriz_realtime.cli.main import COMMANDS, NAME, program

_USE = re.compile(rf"(?<![\w./-])(?:\.venv/bin/)?{NAME}((?:[ \t][^|&;)>\n]*)?)")


BAR = r"\|"
"""A bar in a table, where an unescaped one begins the next cell."""


def _program() -> click.Context:
    return click.Context(program, info_name=NAME)


def complaint(script: str) -> str | None:
    """What is wrong with a shell script, or ``None``.

    bash must parse it, and each ``atriz-realtime`` in it must be an existing command with
    existing options and all required parameters.
    """
    parsed = subprocess.run(
        ["bash", "-n"], input=script, capture_output=True, text=True, check=False
    )
    if parsed.returncode:
        return parsed.stderr
    for use in _USE.finditer(script.replace("\\\n", " ")):
        try:
            _parse(program, _program(), shlex.split(use[1], comments=True))
        except click.UsageError as error:
            return f"{use[0]}: {error.format_message()}"
    return None


def _parse(command: click.Command, context: click.Context, arguments: list[str]) -> None:
    """Parse arguments without converting the values, which may name files and variables."""
    given, rest, _ = command.make_parser(context).parse_args(arguments)
    for parameter in command.params:
        if parameter.required and not given.get(parameter.name or ""):
            raise click.MissingParameter(ctx=context, param=parameter)
    if isinstance(command, click.Group) and rest:
        name, found, rest = command.resolve_command(context, rest)
        if found is not None:
            _parse(found, click.Context(found, context, info_name=name), rest)
    elif rest:
        raise click.UsageError(f"unexpected {' '.join(rest)!r}")


def built_in() -> Iterator[click.Context]:
    """Every command that does not come from a plugin, subcommands after their group."""
    waiting = [
        (name, program.get_command(_program(), name), _program()) for name in reversed(COMMANDS)
    ]
    while waiting:
        name, command, parent = waiting.pop()
        if command is None:
            continue
        context = click.Context(command, parent, info_name=name)
        yield context
        if isinstance(command, click.Group):
            waiting += [(each, found, context) for each, found in command.commands.items()]


def path(context: click.Context) -> str:
    """A command without the program's name."""
    return context.command_path.removeprefix(f"{NAME} ")


def described() -> str:
    """A section for each command: its usage, help, example and options."""
    return "\n\n".join(_section(context) for context in built_in())


def _section(context: click.Context) -> str:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"## {path(context)}", f"```text\n{usage}\n```", _plain(command.help)]
    if command.epilog:
        example = _plain(command.epilog).removeprefix("Example:").strip()
        parts.append(f"```bash\n{inspect.cleandoc(example)}\n```")
    rows = [
        record
        for parameter in command.params
        if (record := parameter.get_help_record(context)) is not None
    ]
    table = "".join(
        f"\n| `{option.replace('|', BAR)}` | {_cell(text)} |" for option, text in rows if text
    )
    if table:
        parts.append(f"| option | |\n| --- | --- |{table}")
    return "\n\n".join(parts)


def _plain(text: str | None) -> str:
    """Help as click stores it, without click's formatting marks."""
    return inspect.cleandoc((text or "").replace("\b\n", ""))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", BAR).replace("<", "\\<")

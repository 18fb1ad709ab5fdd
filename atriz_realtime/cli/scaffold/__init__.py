"""The skeleton of a plugin: a distribution that works, with a test that passes."""

from __future__ import annotations

import keyword
import re
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from atriz_realtime.api import hookspecs
from atriz_realtime.plugin_system.discovery import DEFAULT_PLUGINS

KINDS = (
    *("entity", "observer", "recorder", "route", "event"),
    *("authorizer", "authenticator", "throttle", "cache"),
)
"""What a skeleton may add."""

CLASSES = frozenset({"recorder"})
"""The kinds whose plugin is a class, because its hooks share state; the others' is a module."""

_DEPENDENCIES = {"route": "starlette>=1.3"}
"""What a kind uses besides the server; if it is not listed, attrs."""


def write_skeleton(name: str, kind: str, parent: Path) -> Path:
    """Write the distribution ``atriz-realtime-<name>`` into a folder.

    :param name: the name of the plugin in the configuration.
    :param kind: one of :data:`KINDS`.
    :returns: the distribution's folder.
    :raises click.ClickException: when the name is invalid or taken, or the folder exists.
    """
    name = name.removeprefix("atriz-realtime-").replace("-", "_")
    if keyword.iskeyword(name):
        raise click.ClickException(f"{name!r} cannot name a plugin: it is a keyword of Python")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
        raise click.ClickException(
            f"{name!r} cannot name a plugin: use at most 32 lower-case letters, digits and "
            "_, starting with a letter"
        )
    if name in {*DEFAULT_PLUGINS, *entry_points(group=hookspecs.PROJECT_NAME).names}:
        raise click.ClickException(f"there is a plugin {name!r} already")
    distribution = f"atriz-realtime-{name.replace('_', '-')}"
    package = f"atriz_realtime_{name}"
    folder = parent / distribution
    if folder.exists():
        raise click.ClickException(f"{folder} exists already")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    module = f"{package}.{name}"
    words = {
        "name": name,
        "distribution": distribution,
        "package": package,
        "plugin": f"{module}:{class_name}" if kind in CLASSES else module,
        "dependency": _DEPENDENCIES.get(kind, "attrs>=25.4"),
        "Class": class_name,
        "imports": ", ".join(sorted((class_name, "Options"))),
    }
    for target, template in {
        "pyproject.toml": "pyproject.toml",
        "README.md": f"{kind}/README.md",
        f"src/{package}/__init__.py": "__init__.py",
        f"src/{package}/py.typed": "py.typed",
        f"src/{package}/{name}.py": f"{kind}/plugin.py",
        "tests/conftest.py": "conftest.py",
        f"tests/test_{name}.py": f"{kind}/test.py",
    }.items():
        source = files(__package__).joinpath("templates", f"{template}.in")
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(source.read_text()).substitute(words))
    return folder

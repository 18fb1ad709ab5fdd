"""Generates the parts of docs/ and README.md that are written from the code.

``python -m tests.support.docs.reference`` brings the documents up to date; tests/test_docs.py
fails when one is not.  A part stands between the comments ``<!-- begin: name -->`` and
``<!-- end: name -->``.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, get_args, get_origin, get_type_hints

import attrs

import atriz_realtime
from atriz_realtime import EntitySettings, RealtimeConfig, api, testing
from atriz_realtime.api import Throttle, hookspecs
from atriz_realtime.defaults.metrics.families import ENTITIES, ENTITIES_MEANING, FAMILIES
from atriz_realtime.plugin_system.discovery import DEFAULT_PLUGINS
from atriz_realtime.plugin_system.plugins import PluginHost
from atriz_realtime.plugin_system.sources import DOCUMENTED_ENVIRONMENT
from tests.support.checks.seams import SEAMS
from tests.support.docs import commands, sizing
from tests.support.docs.docstrings import (
    attribute_docs,
    documented,
    first_sentence,
    in_cell,
    markdown,
)
from tests.support.docs.figures import figures, sizes
from tests.support.docs.tables import table

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "atriz_realtime"
README = "../README.md"


# -- settings ------------------------------------------------------------------------------

_KINDS = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "tuple[str, ...]": "list of strings",
}


def _kind(field: attrs.Attribute[Any]) -> str:
    name = str(field.type).removesuffix(" | None")
    if name.startswith("Literal["):
        return "one of " + ", ".join(f'`"{each}"`' for each in ast.literal_eval(name[7:]))
    return _KINDS.get(name, "table")


def _default(field: attrs.Attribute[Any]) -> str:
    """A default as TOML writes it."""
    match field.default:
        case attrs.NOTHING:
            return "required"
        case None:
            return "none"
        case bool(value):
            return f"`{str(value).lower()}`"
        case int(value) | float(value):
            return f"`{int(value) if value == int(value) else value}`"
        case str(value):
            return f'`"{value}"`'
        case tuple(value):
            return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
        case _:
            return "`{}`"


def settings() -> str:
    """Every setting of RealtimeConfig."""
    by_precedence = list(DOCUMENTED_ENVIRONMENT.items())[::-1]
    rows: list[tuple[str, ...]] = []
    for field in attrs.fields(RealtimeConfig):
        variables = [f"`{known}`" for known, name in by_precedence if name == field.name]
        also = f" Also read from {', '.join(variables)}." if variables else ""
        rows.append(
            (
                f"`{field.name}`",
                _kind(field),
                _default(field),
                field.metadata["help"] + also,
            )
        )
    return table(("setting", "type", "default", "meaning"), rows)


def entity_settings() -> str:
    """Every key of ``[realtime.entities.<type>]``."""
    rows: list[tuple[str, ...]] = [
        (f"`{field.name}`", _kind(field), field.metadata["help"])
        for field in attrs.fields(EntitySettings)
    ]
    return table(("key", "type", "meaning"), rows)


def _options(settings_class: type[Any]) -> str:
    docs = attribute_docs(settings_class)
    rows: list[tuple[str, ...]] = [
        (f"`{field.name}`", _kind(field), _default(field), docs[field.name])
        for field in attrs.fields(settings_class)
        if field.init
    ]
    return table(("key", "type", "default", "meaning"), rows)


def plugin_settings() -> str:
    """The settings of each default plugin that has some."""
    tables = PluginHost(RealtimeConfig()).settings
    return "\n\n".join(
        f"### `[realtime.plugins.{path}]`\n\n{_options(settings_class)}"
        for name, own in tables.items()
        if name in DEFAULT_PLUGINS
        for path, settings_class in _with_tables_within(name, type(own))
    )


def _with_tables_within(path: str, settings_class: type[Any]) -> Iterator[tuple[str, type[Any]]]:
    """A class of settings, and the classes of the tables in it."""
    yield path, settings_class
    for name, hint in get_type_hints(settings_class).items():
        if attrs.has(hint):
            yield f"{path}.{name}", hint
        if get_origin(hint) is dict and attrs.has(get_args(hint)[1]):
            yield f"{path}.{name}.<name>", get_args(hint)[1]


def default_throttles() -> list[Throttle]:
    """The throttling policies of the default plugins."""
    registered = PluginHost(RealtimeConfig()).call("register_throttles")
    return [
        throttle for plugin, them in registered if plugin in DEFAULT_PLUGINS for throttle in them
    ]


def throttles() -> str:
    """Each default throttling policy, with its options."""
    rows: list[tuple[str, ...]] = []
    for throttle in default_throttles():
        options = attribute_docs(throttle.options) if throttle.options else {}
        shown = "<br>".join(f"`{name}`: {text}" for name, text in options.items()) or "none"
        rows.append((f"`{throttle.name}`", shown))
    return table(("policy", "options"), rows)


# -- limits --------------------------------------------------------------------------------


def limits() -> str:
    """The bounds that are constants of the code: every named number with a docstring."""
    rows: list[tuple[str, ...]] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        module = module.removesuffix(".__init__")
        if module.startswith(("cli", "demo", "testing")):
            continue  # not part of a server
        for name, value, text in documented(ast.parse(path.read_text()).body):
            number = _number(value)
            if number is not None and not name.startswith("_"):
                rows.append((text, f"{number:,}", f"`{module}.{name}`"))
    return table(("what", "value", "constant"), rows)


def _number(value: ast.expr | None) -> float | None:
    try:
        number = ast.literal_eval(value) if value is not None else None
    except ValueError:
        return None
    return number if isinstance(number, int | float) else None


# -- metrics -------------------------------------------------------------------------------


def metrics() -> str:
    """Every metric, with its labels."""
    rows: list[tuple[str, ...]] = []
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in ("worker", *family.labels))
        rows.append((f"`{family.name}`", family.kind, labels, family.meaning))
    rows.append((f"`{ENTITIES}`", "gauge", "`type`", ENTITIES_MEANING))
    return table(("metric", "type", "labels", "meaning"), rows)


# -- libraries -----------------------------------------------------------------------------


def seams() -> str:
    """The undocumented names of libraries that the package uses."""
    rows: list[tuple[str, ...]] = []
    for seam in SEAMS:
        names = ", ".join(f"`{name.partition('(')[0]}`" for name in seam.names)
        users = ", ".join(f"`{user}`" for user in seam.users)
        rows.append((seam.library, f"`{seam.owner}`: {names}", users, seam.why))
    return table(("library", "names", "used in", "for"), rows)


# -- files that are shipped ----------------------------------------------------------------


def _shipped(name: str, language: str) -> Callable[[], str]:
    """A file of the package's ``deployment``, as a code block."""
    return lambda: f"```{language}\n{(PACKAGE / 'deployment' / name).read_text()}```"


# -- hooks and names -----------------------------------------------------------------------


def hook_names() -> list[str]:
    """Every hook, in the order of the source."""
    mark = f"{hookspecs.PROJECT_NAME}_spec"
    return [name for name, member in vars(hookspecs).items() if hasattr(member, mark)]


def hooks() -> str:
    """A section for each hook."""
    return "\n\n".join(_hook(name, getattr(hookspecs, name)) for name in hook_names())


def _hook(name: str, spec: Callable[..., Any]) -> str:
    call = f"{_call(name, spec)} -> {_returned(spec)}"
    return f"## {name}\n\n```text\n{call}\n```\n\n{markdown(spec.__doc__)}"


def public_names() -> str:
    """The public names of ``atriz_realtime``."""
    return _names(atriz_realtime, atriz_realtime.__all__)


def api_names() -> str:
    """The further public names of ``atriz_realtime.api``."""
    return _names(api, set(api.__all__) - set(atriz_realtime.__all__))


def testing_names() -> str:
    """The public names of ``atriz_realtime.testing``."""
    return _names(testing, testing.__all__)


def _names(module: Any, names: set[str] | list[str]) -> str:
    constants = _constants(Path(module.__file__).parent)
    return "\n\n".join(
        f"### {name}\n\n{constants.get(name) or _described(name, getattr(module, name))}"
        for name in sorted(names, key=str.lower)
    )


def _described(name: str, value: Any) -> str:
    value = inspect.unwrap(value)
    if inspect.isclass(value):
        return _class(value)
    if inspect.isfunction(value):
        return (
            f"```text\n{_call(name, value)} -> {_returned(value)}\n```\n\n{markdown(value.__doc__)}"
        )
    return first_sentence(value.__doc__ or type(value).__doc__)


def _constants(package: Path) -> dict[str, str]:
    """The strings below the constants of a package's modules."""
    return {
        name: text
        for path in sorted(package.rglob("*.py"))
        for name, _, text in documented(ast.parse(path.read_text()).body)
    }


INHERITED = ("ServerInterface",)
"""Classes without entries of their own, whose members belong to those of their subclasses."""


def _class(owner: type[Any]) -> str:
    """A class's docstring, its tests, and its attributes, constants, properties and methods."""
    docs: dict[str, str] = {}
    types: dict[str, Any] = {}
    members: dict[str, Any] = {}
    bases = [each for each in owner.__mro__ if each.__name__ in INHERITED or each is owner]
    for each in reversed(bases):
        docs |= attribute_docs(each)
        types |= inspect.get_annotations(each)
        members |= vars(each)
    defaults = _defaults(owner)
    rows: list[tuple[str, ...]] = [
        (f"`{name}`", f"`{_of_class(kind)}{defaults.get(name, '')}`", docs.get(name, ""))
        for name, kind in types.items()
        if not name.startswith("_")
        and (name in docs or not str(kind).startswith("ClassVar"))
        and owner not in (RealtimeConfig, EntitySettings)  # see configuration.md
    ]
    # whoever implements a contract must know all of it
    describe = in_cell if Protocol in owner.__bases__ else first_sentence
    promises = []
    for name, member in members.items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if name.isupper():
            rows.append(
                (f"`{name}`", f"`{getattr(member, 'value', member)!r}`", docs.get(name, ""))
            )
        elif name.startswith("test_"):
            promises.append(f"- {name.removeprefix('test_').replace('_', ' ')}")
        elif inspect.isfunction(function) and not name.startswith("_"):
            called = name if isinstance(member, property) else _call(name, function)
            returned = _returned(function)
            rows.append(
                (
                    f"`{called}`",
                    f"`{returned}`" if returned != "None" else "",
                    describe(function.__doc__),
                )
            )
    parts = [markdown(owner.__doc__)]
    if attrs.has(owner) and owner not in (RealtimeConfig, EntitySettings):
        parts.insert(0, f"```text\n{_constructor(owner)}\n```")
    if promises:
        parts.append("It promises:\n\n" + "\n".join(promises))
    if rows:
        parts.append(table(("member", "type", "meaning"), rows))
    return "\n\n".join(parts)


def _of_class(kind: Any) -> str:
    """A type as it is shown: that of an attribute of the class, without ``ClassVar``."""
    return re.sub(r"^ClassVar\[(.*)\]$", r"\1", str(kind))


def _constructor(owner: type[Any]) -> str:
    """How an object of a class is made; arguments after ``*`` are keyword-only."""
    defaults = _defaults(owner)
    fields = sorted((each for each in attrs.fields(owner) if each.init), key=lambda f: f.kw_only)
    given = [each.alias + defaults.get(each.name, "").replace(" = ", "=", 1) for each in fields]
    given.insert(sum(not each.kw_only for each in fields), "*")
    return f"{owner.__name__}({', '.join(given).removesuffix(', *')})"


def _defaults(owner: type[Any]) -> Mapping[str, str]:
    """The defaults of a record's fields, as ` = 0`; a long one is shown as ` = …`."""
    shown = {
        field.name: repr(
            dict(field.default) if isinstance(field.default, Mapping) else field.default
        )
        for field in (attrs.fields(owner) if attrs.has(owner) else ())
        if field.init and field.default is not attrs.NOTHING
    }
    return {name: f" = {text if len(text) < 20 else '…'}" for name, text in shown.items()}


def _call(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parameters = [
        each.replace(annotation=each.empty)
        for each in signature.parameters.values()
        if each.name not in ("self", "cls")
    ]
    awaited = "await " if inspect.iscoroutinefunction(function) else ""
    called = signature.replace(parameters=parameters, return_annotation=signature.empty)
    return awaited + name + re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", str(called))


def _returned(function: Callable[..., Any]) -> str:
    return str(inspect.signature(function).return_annotation)


# -- writing and comparing -----------------------------------------------------------------

PARTS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    README: {"figures": figures},
    "architecture.md": {"seams": seams},
    "cli.md": {"commands": commands.described},
    "configuration.md": {
        "settings": settings,
        "entity settings": entity_settings,
        "plugin settings": plugin_settings,
        "throttles": throttles,
    },
    "frontend.md": {"sizes": sizes},
    "operate/limits.md": {"limits": limits},
    "operate/metrics.md": {"metrics": metrics, "scrape": _shipped("prometheus.yml", "yaml")},
    "operate/running.md": {
        "unit": _shipped("atriz-realtime.service", "ini"),
        "environment": _shipped("environment", "env"),
        "container": _shipped("Containerfile", "dockerfile"),
    },
    "operate/sizing.md": {"capacity": sizing.capacity, "example": sizing.example},
    "plugins/hooks.md": {"hooks": hooks},
    "plugins/testing.md": {"testing names": testing_names},
    "reference.md": {"public names": public_names, "api names": api_names},
}
"""The generators, by document and name of the part."""


def updated(document: str) -> str:
    """A document's text with its parts generated again.

    :raises LookupError: when the document lacks a part.
    """
    text = (DOCS / document).read_text()
    for name, generate in PARTS[document].items():
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
        head, has_begin, rest = text.partition(begin)
        _, has_end, tail = rest.partition(end)
        if not has_begin or not has_end:
            raise LookupError(f"{document} has no part {name!r}")
        text = f"{head}{begin}\n{generate()}\n\n{end}{tail}"
    return _formatted(document, text)


def _formatted(document: str, text: str) -> str:
    """The text with its Python formatted by `ruff format`."""
    ruff = [sys.executable, "-m", "ruff", "format", f"--stdin-filename={DOCS / document}", "-"]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for changed in PARTS:
        (DOCS / changed).write_text(updated(changed))
        sys.stdout.write(f"{(DOCS / changed).resolve().relative_to(ROOT)}\n")

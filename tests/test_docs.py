"""The documentation is complete, its links lead somewhere, and its commands exist.

What the code blocks in it do ``pytest docs README.md`` tests (tests/support/docs/documents.py).
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import pytest

import atriz_realtime
from atriz_realtime import EntitySettings, RealtimeConfig, RealtimeError, api
from atriz_realtime.api import errors
from atriz_realtime.core.access.auth_backoff import PER_REQUEST
from atriz_realtime.core.runtime.incidents import PLUGIN_PROBLEM
from atriz_realtime.defaults.metrics.families import FAMILIES
from atriz_realtime.plugin_system.discovery import DEFAULT_PLUGINS
from atriz_realtime.plugin_system.plugins import PluginHost
from tests.support.docs import blocks, commands, reference
from tests.support.docs.reference import DOCS, PACKAGE, PARTS, ROOT

DOCUMENTS = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
READ_ONLY_LANGUAGES = {"text", "nginx", "caddyfile", "haproxy", "yaml"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(document: Path) -> str:
    """A document without its code blocks, comments and inline code."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]()]", "", code[0]), text)


# -- what is generated -----------------------------------------------------------------


@pytest.mark.parametrize("document", PARTS)
def test_what_is_written_out_of_the_code_is_up_to_date(document: str) -> None:
    assert reference.updated(document) == (DOCS / document).read_text(), (
        "run: python -m tests.support.docs.reference"
    )


# -- everything has an entry -----------------------------------------------------------


def entries() -> Iterator[tuple[str, str]]:
    """What must be documented: the document, and a line of it or the beginning of one."""
    for hook in reference.hook_names():
        yield "plugins/hooks.md", f"## {hook}"
    for settings_class in (RealtimeConfig, EntitySettings):
        for field in attrs.fields(settings_class):
            yield "configuration.md", f"| `{field.name}` |"
    for plugin, settings in PluginHost(RealtimeConfig()).settings.items():
        if plugin in DEFAULT_PLUGINS:
            for field in attrs.fields(type(settings)):
                yield "configuration.md", f"| `{field.name}` |"
    for context in commands.built_in():
        yield "cli.md", f"## {commands.path(context)}"
        for parameter in context.command.params:
            if isinstance(parameter, click.Option):
                yield "cli.md", f"| `{parameter.opts[0]}"
    for throttle in reference.default_throttles():
        yield "configuration.md", f"| `{throttle.name}` |"
    for name in {*atriz_realtime.__all__, *api.__all__}:
        yield "reference.md", f"### {name}"
    for family in FAMILIES:
        yield "operate/metrics.md", f"| `{family.name}` | {family.kind} |"
    for _, error in inspect.getmembers(errors, inspect.isclass):
        if issubclass(error, RealtimeError):
            yield "errors.md", f"| `{error.code}` | `{error.__name__}` | {http_status(error)}"


def http_status(error: type[RealtimeError]) -> str:
    """How the table of errors shows a status; what stops the start has none."""
    return "–" if issubclass(error, api.ConfigurationError) else str(error.status)  # noqa: RUF001


def test_everything_has_an_entry() -> None:
    missing = []
    for document, line in entries():
        lines = (DOCS / document).read_text().splitlines()
        if not any(each == line or (line[0] == "|" and each.startswith(line)) for each in lines):
            missing.append(f"docs/{document}: {line}")
    assert missing == []


def incidents() -> set[str]:
    """The kinds of incidents that the code reports; ``…`` stands for a name in one."""
    kinds = set()
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "cli/client"):
            continue  # what a client reports, it reports to its user
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="report" | "_report" | "failed"), args=[first, *_]
                ):
                    kinds.add(_text(first))
                case ast.Call(func=ast.Name(id="report"), args=[first, *_]):
                    kinds.add(_text(first))
                case ast.Call(
                    func=ast.Attribute(attr="plugin_problem"),
                    args=[_, ast.Constant() as second, *_],
                ):
                    kinds.add(PLUGIN_PROBLEM.format(plugin="…", problem=_text(second)))
                case ast.Call(
                    func=ast.Attribute(attr="_attempt"), args=[_, ast.Constant() as second]
                ):
                    kinds.add(_text(second))
                case ast.Call(func=ast.Attribute(attr="_take"), args=[*_, last]):
                    kinds.add(_text(last))
                case ast.Assign(targets=[ast.Name(id="kind")], value=ast.Constant() as value):
                    kinds.add(_text(value))
    return kinds - {"…"}  # a variable: its values are at other calls, or a plugin's own


def _text(expression: ast.expr) -> str:
    match expression:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case _:
            return "…"


def test_the_list_of_incidents_is_complete_and_holds_no_others() -> None:
    _, _, section = (DOCS / "operate" / "watching.md").read_text().partition("\n## Incidents\n")
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
    known = {kind: re.compile(re.sub(r"<\w+>", ".+", kind)) for kind, _, _ in rows}
    assert len(known) == section.count("\n|") - 2, "a row is out of form, or stands twice"
    reported = incidents()
    assert [kind for kind in reported if not any(k.fullmatch(kind) for k in known.values())] == []
    assert [kind for kind, k in known.items() if not any(map(k.fullmatch, reported))] == []


def reported_limits() -> Iterator[str]:
    """The constants that the code names when their limit is reached."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id="limit_reached"), args=[_, limit, _]):
                    yield _text(limit).replace("…", module.removesuffix(".__init__"))


def test_the_list_of_full_tables_is_complete_and_holds_no_others() -> None:
    limits = (DOCS / "operate" / "limits.md").read_text()
    _, _, rest = limits.partition("\n## Full tables\n")
    table, _, others = rest.partition("\n## ")
    named = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert sorted(named) == sorted(reported_limits())
    assert [name for name in named if f"| `{name}` |" not in others] == []


def test_the_table_of_headers_that_are_no_key_is_complete() -> None:
    limits = (DOCS / "operate" / "limits.md").read_text()
    _, _, rest = limits.partition("\n#### Which headers are the same\n")
    rows = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    named = re.findall(r"`([^`]+)`", "\n".join(rows))
    assert sorted(named) == sorted(PER_REQUEST)


def events() -> set[str]:
    """What the package logs besides incidents; ``…`` stands for what is put into it."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="info" | "warning" | "error"),
                    args=[ast.Constant(value=str(text)), *_],
                ) if not text.startswith("%s"):
                    found.add(re.sub(r"%\w", "…", text))
    return found


def test_the_list_of_log_events_is_complete_and_holds_no_others() -> None:
    _, _, rest = (DOCS / "operate" / "watching.md").read_text().partition("\n| event | ")
    table, _, _ = rest.partition("\n\n")
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == events()


def records() -> list[str]:
    """The classes of the API that have fields."""
    classes = {name: getattr(api, name) for name in api.__all__}
    return [name for name, each in classes.items() if inspect.isclass(each) and attrs.has(each)]


@pytest.mark.parametrize("name", records())
def test_the_reference_marks_the_fields_that_are_given_by_name(name: str) -> None:
    _, _, section = (DOCS / "reference.md").read_text().partition(f"\n### {name}\n")
    made = re.match(rf"\n```text\n{name}\((.*)\)\n```\n", section)
    assert made is not None
    positional, _, by_name = made[1].partition("*")
    for field in attrs.fields(getattr(api, name)):
        if field.init:
            shown = by_name if field.kw_only else positional
            assert re.search(rf"\b{field.alias}\b", shown), field.name


# -- links -----------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


def links(document: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(document))


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in links(document):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_document_is_linked_from_the_index() -> None:
    index = DOCS / "index.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(index)}
    fragments = DOCS / "changes"
    documents = {path for path in DOCS.rglob("*.md") if path.parent != fragments}
    assert documents - linked - {index} == set()


def test_every_plugin_beside_the_package_is_linked() -> None:
    index = DOCS / "plugins" / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert set((ROOT / "plugins").glob("*/README.md")) - linked == set()


def test_tests_that_promises_name_exist() -> None:
    missing = []
    for document in (DOCS / "operate").glob("*.md"):
        for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", document.read_text()):
            file = ROOT / path
            if not file.exists() or (name and f"def {name}(" not in file.read_text()):
                missing.append(f"{relative(document)}: {path}::{name}")
    assert missing == []


# -- code blocks and commands ------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_code_block_has_a_language_that_is_tested(document: Path) -> None:
    fences = re.findall(r"^ *```(.*)$", document.read_text(), flags=re.MULTILINE)
    assert set(fences[::2]) <= blocks.EVALUATORS.keys() | READ_ONLY_LANGUAGES


def test_ci_runs_the_test_command_of_the_readme() -> None:
    _, _, section = (ROOT / "README.md").read_text().partition("## Test it")
    command = re.search(r"```bash\n(.+)\n```", section)
    assert command is not None
    printed = subprocess.run(
        [ROOT / ".ci" / "run", "-n"], capture_output=True, text=True, check=True, cwd="/"
    )
    assert printed.stdout == command[1] + "\n"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


# -- changes -----------------------------------------------------------------------------


def is_note(name: str) -> bool:
    """Whether towncrier takes a file for a note about a change, and for one without an issue."""
    return bool(re.fullmatch(r"\+[\w-]+\.(feature|bugfix|doc|removal|misc)\.md", name))


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("+some-name.feature.md", True),
        ("+some-name.removal.md", True),
        ("some-name.feature.md", False),
        ("+some-name.change.md", False),
        ("+some-name.feature.txt", False),
        ("+some name.doc.md", False),
    ],
)
def test_a_misnamed_change_note_is_found(name: str, accepted: bool) -> None:
    assert is_note(name) == accepted


def test_change_notes_are_named_as_towncrier_wants() -> None:
    names = [path.name for path in (DOCS / "changes").iterdir()]
    assert [name for name in names if name != "README.md" and not is_note(name)] == []


def test_the_versions_that_a_service_needs_are_those_of_the_project() -> None:
    page = (ROOT / "docs/atriz-service.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    needed += project["optional-dependencies"]["test"]
    names = (
        "starlette",
        "redis",
        "python-socketio",
        "python-engineio",
        "pyjwt",
        "uvicorn",
        "fastapi",
    )
    for requirement in needed:
        name, _, _ = requirement.partition(">")
        if (name := name.partition("[")[0]) in names:
            spoken = "redis (redis-py)" if name == "redis" else name
            versions = requirement[requirement.index(">") :]
            assert f"{spoken} `{versions}`" in " ".join(page.split())


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    settings = project["tool"]["towncrier"]
    assert (ROOT / settings["filename"], ROOT / settings["directory"]) == (
        DOCS / "changelog.md",
        DOCS / "changes",
    )
    _, marker, entries = (
        (DOCS / "changelog.md").read_text().partition("<!-- towncrier release notes start -->")
    )
    assert marker  # where towncrier puts the next entry
    releases = re.findall(r"^## (.+)$", entries, re.MULTILINE)
    dated = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) \(\d{4}-\d\d-\d\d\)", each) for each in releases]
    assert None not in dated, releases
    versions = [tuple(map(int, each.groups())) for each in dated if each is not None]
    assert versions == sorted(versions, reverse=True)
    assert releases[0].partition(" ")[0] == project["project"]["version"]


def test_plugins_accept_the_version_of_the_package_and_no_other_major_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    major = int(version.partition(".")[0])
    written = [PACKAGE / "cli/scaffold/templates/pyproject.toml.in"]
    for path in [*written, *(ROOT / "plugins").glob("*/pyproject.toml")]:
        assert f'"atriz-realtime>={major}.0,<{major + 1}"' in path.read_text(), relative(path)
    promises = (DOCS / "plugins" / "promises.md").read_text()
    assert f"`atriz-realtime>={major}.0,<{major + 1}`" in promises

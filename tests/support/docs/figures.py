"""Tables of measured figures: what servers cost, and how large the TypeScript client is."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.docs.tables import table

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "benchmarks.md"
CLIENT = ROOT / "atriz_realtime" / "frontend" / "package.json"

SHOWN = ("fan-out", "ingest", "idle")
"""The scenarios whose figures a reader of the README wants first."""


def figures() -> str:
    """A table of the medians, each with a link to its benchmark, and what they were measured on.

    :raises LookupError: when the page has no such rows.
    """
    page = PAGE.read_text()
    rows = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and (cells[0] == "figure" or re.match(r"\d", cells[-1])):
            rows.append(cells[:-2])
    if len(rows) < 2:
        raise LookupError(f"{PAGE.name} has no table of figures")
    header, *measured = rows
    shown = []
    for title, *values in measured:
        scenario, _, figure = title.partition(": ")
        if scenario in SHOWN:
            link = f"[{scenario}](docs/benchmarks.md#{scenario}): {figure}"
            shown.append((link, *values))
    lines = table(("less is better", *header[1:]), shown)
    return f"{lines}\n\nMeasured on {_machine(page)}."


def _machine(page: str) -> str:
    """The processor, the system and the versions that the page names."""
    facts = dict(re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", page, re.MULTILINE))
    if missing := {"Processor", "System", "Python", "Node, Bun"} - facts.keys():
        raise LookupError(f"{PAGE.name} does not name: {', '.join(sorted(missing))}")
    system, _, _ = facts["System"].partition(",")
    python, _, _ = facts["Python"].partition(",")
    node, _, bun = facts["Node, Bun"].partition(", ")
    return f"{facts['Processor']}, {system}, Python {python}, Node {node}, Bun {bun}"


def sizes() -> str:
    """What each module of the TypeScript client adds to a bundle, as its ``package.json`` says."""
    package = json.loads(CLIENT.read_text())
    rows = []
    for module, size in package["bundleSize"].items():
        name = package["name"] + module.removeprefix(".")
        cells = (f"{size[kind] / 1_000:.1f} KB" for kind in ("minified", "compressed"))
        rows.append((f"`{name}`", *cells))
    return table(("import", "minified", "with gzip"), rows)

"""Tables of measured figures: what servers cost, and how large the TypeScript client is."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "benchmarks.md"
CLIENT = ROOT / "atriz_realtime" / "frontend" / "package.json"


def figures() -> str:
    """A table of the medians of docs/benchmarks.md; each row links to the benchmark that it is of.

    :raises LookupError: when the page has no such rows.
    """
    rows = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and (cells[0] == "figure" or re.match(r"\d", cells[-1])):
            rows.append(cells[:-2])
    if len(rows) < 2:
        raise LookupError(f"{PAGE.name} has no table of figures")
    rows[0][0] = "less is better"
    for row in rows[1:]:
        scenario, _, figure = row[0].partition(": ")
        row[0] = f"[{scenario}](docs/benchmarks.md#{scenario}): {figure}"
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def sizes() -> str:
    """What each module of the TypeScript client adds to a bundle, as its ``package.json`` says."""
    package = json.loads(CLIENT.read_text())
    rows = [["import", "minified", "with gzip"], ["---"] * 3]
    for module, size in package["bundleSize"].items():
        name = package["name"] + module.removeprefix(".")
        cells = (f"{size[kind] / 1_000:.1f} KB" for kind in ("minified", "compressed"))
        rows.append([f"`{name}`", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)

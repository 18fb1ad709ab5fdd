"""The table of costs in README.md: the rows of docs/benchmarks.md that compare servers."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"


def figures() -> str:
    """A table of the medians; each row links to the benchmark that it is of.

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

"""Writes the results as Markdown into docs/benchmarks.md, and into the pages that quote it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.plot import plot
from tests.benchmarks.results import OURS, Results, shown
from tests.benchmarks.scenario import MOST_WAITED, Figure, Scenario
from tests.benchmarks.scenarios import SCENARIOS
from tests.support.docs.reference import DOCS, README, updated
from tests.support.docs.tables import table

PAGE = DOCS / "benchmarks.md"
PLOT = DOCS / "images" / "benchmarks.svg"

CHOSEN = CONTESTANTS[::-1]
"""The order of the columns: ours last, beside the ratios."""


def targets(results: Results) -> Iterator[tuple[Scenario, Figure]]:
    """Each measured figure that has a target."""
    for scenario in SCENARIOS:
        for figure in scenario.figures:
            aimed = figure.bun is not None or figure.limit is not None
            if aimed and scenario.name in results.runs:
                yield scenario, figure


def compared(value: float | None, most: float | None) -> str:
    """A value beside its maximum: ``0.80 ≤ 0.85`` or ``0.90 > 0.85``."""
    if value is None or most is None:
        return shown(value)
    return f"{shown(value)} {'≤' if value <= most else '>'} {shown(most)}"


def beside(results: Results) -> str:
    """A table of every figure beside another checkout's, with the ratio of the medians."""
    rows: list[tuple[str, ...]] = []
    for scenario in SCENARIOS:
        for figure in scenario.figures:
            ours, other = (
                results.median(scenario.name, name, figure.key) for name in (OURS, "beside")
            )
            if ours is not None and other:
                ratio = f"{ours / other:.2f}"
                rows.append((f"{scenario.name}: {figure.title}", shown(ours), shown(other), ratio))
    return table(("figure", "ours", "beside", "ours ÷ beside"), rows)


def summary(results: Results) -> str:
    """A table of the figures that have targets."""
    rows = []
    for scenario, figure in targets(results):
        cells = [f"{scenario.name}: {figure.title}"]
        for each in CHOSEN:
            value = results.median(scenario.name, each.name, figure.key)
            cells.append(compared(value, figure.limit if each.name == OURS else None))
        for name, most in (("bun", figure.bun), ("node", figure.node)):
            ratio = results.ratio(scenario.name, name, figure.key) if most is not None else None
            cells.append(compared(ratio, most))
        rows.append(tuple(cells))
    header = ("figure", *(each.title for each in CHOSEN), "ours ÷ Bun", "ours ÷ Node")
    return table(header, rows)


def details(results: Results) -> Iterator[str]:
    """A table of all figures for each scenario."""
    for scenario in SCENARIOS:
        if scenario.name in results.runs:
            yield f"### {scenario.name}\n\n{scenario.load[0].upper()}{scenario.load[1:]}."
            rows = [
                (
                    figure.title,
                    *(
                        shown(results.median(scenario.name, each.name, figure.key))
                        for each in CHOSEN
                    ),
                )
                for figure in scenario.figures
            ]
            yield table(("", *(each.title for each in CHOSEN)), rows)


def disturbance(results: Results) -> str:
    """A warning when the machine was too busy; otherwise empty."""
    waited = (
        results.median(scenario, contestant, "waited") or 0.0
        for scenario, contestants in results.runs.items()
        for contestant in contestants
    )
    most = max(waited, default=0.0)
    if most <= MOST_WAITED:
        return ""
    return (
        f"The machine was busy: others had the servers' core for up to {most:.0f} % of the time. "
        "Latencies and ratios are of little use."
    )


def how_many(results: Results) -> str:
    """The number of runs; that of each server, if they differ."""
    counts = results.counts()
    short = "short " if results.short else ""
    if len(set(counts.values())) == 1:
        return f"{counts[OURS]} {short}runs"
    return ", ".join(
        f"{counts[each.name]} {short}{'run' if counts[each.name] == 1 else 'runs'} of {each.title}"
        for each in CHOSEN
        if each.name in counts
    )


def write(results: Results) -> None:
    """Update the page, its plot, and the pages that quote it."""
    PLOT.write_text(plot(results))
    machine = table(("", ""), [(f"**{name}**", value) for name, value in results.machine.items()])
    parts = [
        summary(results),
        f"![Ours beside the others, figure by figure; shorter is better.](images/{PLOT.name})",
        f"Medians of {how_many(results)}, on:",
        machine,
        *details(results),
    ]
    if disturbed := disturbance(results):
        parts.insert(0, disturbed)
    write_section("results", "\n\n".join(parts))
    for derived in (README, "operate/sizing.md"):
        (DOCS / derived).write_text(updated(derived))


def write_section(name: str, text: str) -> None:
    """Replace what stands between a section's markers on the page."""
    begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
    head, _, rest = PAGE.read_text().partition(begin)
    _, _, tail = rest.partition(end)
    PAGE.write_text(f"{head}{begin}\n{text}\n\n{end}{tail}")

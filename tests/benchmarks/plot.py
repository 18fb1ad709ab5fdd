"""Draws the results as bars in an SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.results import OURS, Results, shown
from tests.benchmarks.scenario import Figure, Scenario
from tests.benchmarks.scenarios import SCENARIOS

COLUMNS = 2
PANEL_WIDTH, PANEL_GAP = 470, 40
LABEL_WIDTH, VALUE_WIDTH = 116, 62
BAR, BAR_GAP, TITLE = 18, 7, 30
PANEL_HEIGHT = TITLE + len(CONTESTANTS) * (BAR + BAR_GAP) + 22
BAR_WIDTH = PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH

STYLE = """
      .title { font-weight: 600; fill: #1f2d3d; }
      .label { fill: #41546a; text-anchor: end; }
      .value { fill: #1f2d3d; }
      .ours { fill: #4a7fb5; }
      .other { fill: #b9c6d3; }
      .target { stroke: #c0563f; stroke-width: 2; }
      .note { fill: #c0563f; font-size: 12px; }
      .ground { fill: #ffffff; }
      @media (prefers-color-scheme: dark) {
        .title, .value { fill: #e1e7ee; }
        .label { fill: #a9b8c8; }
        .ours { fill: #6ba3dc; }
        .other { fill: #4c5966; }
        .target { stroke: #e8836d; }
        .note { fill: #e8836d; }
        .ground { fill: #131416; }
      }"""


def plot(results: Results) -> str:
    """A panel for each figure whose target is a fraction of Bun's."""
    chosen = [
        (scenario, figure)
        for scenario in SCENARIOS
        for figure in scenario.figures
        if figure.bun is not None and scenario.name in results.runs
    ]
    width = COLUMNS * PANEL_WIDTH + (COLUMNS + 1) * PANEL_GAP
    height = -(-len(chosen) // COLUMNS) * PANEL_HEIGHT + 50
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="title description"',
        "     font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\" "
        'font-size="13">',
        '  <title id="title">Benchmarks</title>',
        '  <desc id="description">Bars of what each server spends; the table beside has the '
        "numbers.</desc>",
        f"  <defs>\n    <style>{STYLE}\n    </style>\n  </defs>",
        f'  <rect class="ground" width="{width}" height="{height}"/>',
    ]
    for number, (scenario, figure) in enumerate(chosen):
        x = PANEL_GAP + number % COLUMNS * (PANEL_WIDTH + PANEL_GAP)
        y = 20 + number // COLUMNS * PANEL_HEIGHT
        lines.append(f'  <g transform="translate({x} {y})">')
        lines += ("    " + line for line in panel(results, scenario, figure))
        lines.append("  </g>")
    note = "shorter is better; the line is the target, a fraction of Bun"
    lines.append(f'  <text class="note" x="{PANEL_GAP}" y="{height - 14}">{note}</text>')
    return "\n".join([*lines, "</svg>\n"])


def panel(results: Results, scenario: Scenario, figure: Figure) -> Iterator[str]:
    """The bars of one figure."""
    values = {
        each.name: results.median(scenario.name, each.name, figure.key) for each in CONTESTANTS
    }
    most = max((value for value in values.values() if value is not None), default=0.0) or 1.0
    target = round((figure.bun or 0.0) * (values["bun"] or 0.0) / most * BAR_WIDTH, 1)
    yield f'<text class="title" x="0" y="16">{escape(f"{scenario.name}: {figure.title}")}</text>'
    y = TITLE
    for each in CONTESTANTS:
        value = values[each.name]
        length = round(max(0.0, (value or 0.0) / most) * BAR_WIDTH, 1)
        middle = y + BAR - 5
        kind = "ours" if each.name == OURS else "other"
        yield f'<text class="label" x="{LABEL_WIDTH - 8}" y="{middle}">{escape(each.title)}</text>'
        yield (
            f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{y}" width="{length}" height="{BAR}" '
            'rx="2"/>'
        )
        beside = max(length, target) if each.name == OURS else length  # not under the line
        x = LABEL_WIDTH + beside + 6
        yield f'<text class="value" x="{x:g}" y="{middle}">{shown(value)}</text>'
        y += BAR + BAR_GAP
    if target:
        x = LABEL_WIDTH + target
        yield f'<path class="target" d="M{x:.1f} {TITLE - 4}V{TITLE + BAR + 4}"/>'

"""Draws images/house.svg: the folders of the package, and how often they import each other.

``python docs/house.py`` draws it again; tests/test_house.py fails while it is out of date.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1] / "atriz_realtime"
PICTURE = Path(__file__).with_name("images") / "house.svg"


class Row(NamedTuple):
    """A folder, or a module at the top of the package."""

    name: str
    """Its dotted name.  Modules belong to the row with the longest name that fits."""
    text: str
    """What it does, in a few words."""
    color: str
    """The color of the imports that lead to it."""
    shared: bool = False
    """Whether it is the part of a folder that the folders inside it import."""


ROWS = (
    Row("cli", "commands", "grey"),
    Row("cli.client", "watch, replay, publish", "grey"),
    Row("cli.serving", "uvicorn, workers, hand-over", "grey"),
    Row("cli", "options, output", "grey", shared=True),
    Row("testing", "for tests of plugins", "grey"),
    Row("asgi", "a server as an application", "grey"),
    Row("extension", "a server in a service", "grey"),
    Row("server", "builds and starts the parts", "grey"),
    Row("http", "the fast HTTP path", "amber"),
    Row("redis_link", "the connection to Redis", "red"),
    Row("core.clients", "sockets, subscriptions", "blue"),
    Row("core.publish", "from a fix to its delivery", "blue"),
    Row("core.access", "who may do what", "blue"),
    Row("core.hub", "rooms, broadcasts, signals", "blue"),
    Row("core.runtime", "runs plugins, counts failures", "blue"),
    Row("engine", "the Engine.IO server", "green"),
    Row("engine.transports", "websockets, polling", "green"),
    Row("engine", "sessions, outboxes, timers", "green", shared=True),
    Row("engine.request", "requests, answers", "green"),
    Row("engine.protocol", "frames, packets", "green"),
    Row("plugin_system", "configuration, registry", "violet"),
    Row("defaults", "plugins, loaded by name", "grey"),
    Row("demo", "a simulated town", "grey"),
    Row("api", "all that a plugin may use", "slate"),
)
"""From top to bottom: a folder imports only folders below it."""

FRAMES = ("cli", "core", "engine")
"""Folders that contain other folders."""

LEFT, RIGHT, TEXTS = 40, 440, 160
"""Where boxes begin and end, and where their descriptions begin, from the box's left edge."""
TOP, PITCH, HEIGHT, GAP = 66, 36, 28, 17
"""The first box, the distance between boxes, a box's height, and the space around a frame."""
FIRST, STEP = 492, 36
"""The first vertical line, and the distance between two."""

STYLE = """
    .ground { fill: #ffffff; }
    .frame { fill: #f4f7fa; stroke: #c5d0db; }
    .box { fill: #ffffff; stroke: #9dacbb; stroke-width: 1.2; }
    .name { fill: #1f2d3d; font: 600 13px ui-monospace, 'DejaVu Sans Mono', Menlo, monospace; }
    .text { fill: #52657a; font-size: 12.5px; }
    .middle { text-anchor: middle; }
    .count { fill: #ffffff; font-size: 10.5px; font-weight: 600; text-anchor: middle; }
    .out { stroke: #c3ccd6; stroke-width: 1.4; }
    .in { fill: none; stroke: var(--c); }
    .dot, .tip { fill: var(--c); }
    .grey { --c: #7a8794; }
    .amber { --c: #b7791f; }
    .red { --c: #c0563f; }
    .blue { --c: #2f6fb0; }
    .green { --c: #3c8a55; }
    .violet { --c: #7d5bb5; }
    .slate { --c: #4a5a6b; }
    .upwards { --c: #e3002b; stroke-dasharray: 4 3; }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #131416; }
      .frame { fill: #1a1d21; stroke: #39424c; }
      .box { fill: #131416; stroke: #566472; }
      .name { fill: #e1e7ee; }
      .text { fill: #a9b8c8; }
      .count { fill: #10151b; }
      .out { stroke: #3f4953; }
      .grey { --c: #9aa6b2; }
      .amber { --c: #dba74a; }
      .red { --c: #e8836d; }
      .blue { --c: #6ba3dc; }
      .green { --c: #68b97f; }
      .violet { --c: #b195e0; }
      .slate { --c: #a9b8c8; }
      .upwards { --c: #ff5c7a; }
    }
"""


# -- what imports what ---------------------------------------------------------------------


def modules() -> dict[str, set[str]]:
    """Each module of the package, by dotted name, with the modules that it imports."""
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name and "node_modules" not in parts:
            files[name] = path
    found = {name: set(_imported(path, files)) - {name} for name, path in files.items()}
    return {name: others for name, others in found.items() if others or name not in FRAMES}


def _imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules that a module imports: at its top, in a function, or for its types."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
        package, _, inner = name.partition(".")
        while inner and inner not in known:
            inner = inner.rpartition(".")[0]
        if package == PACKAGE.name and inner:
            yield inner


def imports() -> Counter[tuple[int, int]]:
    """How many pairs of modules import each other, by the rows of the two.

    :raises LookupError: when a module belongs to no row.
    """
    known = modules()
    place = {module: _row(module) for module in known}
    for number, row in enumerate(ROWS):
        if row.shared:
            inner = [module for module in known if ROWS[place[module]].name.startswith(row.name)]
            reached = [module for module in inner if ROWS[place[module]].name != row.name]
            for module in reached:
                reached += known[module].intersection(inner).difference(reached)
            place |= {each: number for each in reached if ROWS[place[each]].name == row.name}
    return Counter(
        (place[module], place[other])
        for module, others in known.items()
        for other in others
        if place[module] != place[other]
    )


def upwards() -> list[str]:
    """The imports of a folder that stands above: there should be none."""
    return [
        f"{ROWS[source].name} imports {ROWS[target].name}"
        for source, target in sorted(imports())
        if source > target
    ]


def _row(module: str) -> int:
    names = [None if row.shared else row.name for row in ROWS]
    name = module
    while name not in names:
        name = name.rpartition(".")[0]
        if not name:
            raise LookupError(f"{module}: give its folder a row in docs/house.py")
    return names.index(name)


# -- the drawing ---------------------------------------------------------------------------


def drawing() -> str:
    """The picture, as SVG."""
    found, tops = imports(), _tops()
    targets = sorted({target for _, target in found})
    width, height = FIRST + STEP * len(targets), tops[-1] + HEIGHT + 24
    parts = [*_frames(tops), *_outgoing(tops, targets, found)]
    for column, target in enumerate(targets):
        parts += _incoming(FIRST + STEP * column, target, tops, found)
    for column, target in enumerate(targets):
        parts += _counts(FIRST + STEP * column, target, tops, found)
    for top, row in zip(tops, ROWS, strict=True):
        parts += _box(top, row)
    body = "\n".join(f"  {part}" for part in parts)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
     aria-labelledby="title description"
     font-family="system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif">
  <title id="title">The folders of the package, and their imports</title>
  <desc id="description">Each folder stands above the folders that it imports.  A line leads from a
    folder to one that it imports, with the number of imports between their modules.</desc>
  <style>{STYLE}  </style>
  <rect class="ground" width="{width}" height="{height}"/>
  <text class="text middle" x="{(LEFT + RIGHT) // 2}" y="30">folders</text>
  <text class="text middle" x="{(FIRST + width - STEP) // 2}" y="30">\
imports: from the folder on the left, down to the folder that the arrow points at</text>
{body}
</svg>
"""


def _tops() -> list[int]:
    """The upper edge of each row's box."""
    tops = [TOP]
    for above, row in pairwise(ROWS):
        frames = {each.name.partition(".")[0] for each in (above, row)}
        borders = len(frames.intersection(FRAMES)) if len(frames) > 1 else 0
        tops.append(tops[-1] + PITCH + GAP * borders)
    return tops


def _frames(tops: list[int]) -> Iterator[str]:
    for frame in FRAMES:
        inside = [
            top for top, row in zip(tops, ROWS, strict=True) if row.name.partition(".")[0] == frame
        ]
        yield (
            f'<rect class="frame" x="{LEFT - 14}" y="{inside[0] - 10}" '
            f'width="{RIGHT - LEFT + 28}" height="{inside[-1] - inside[0] + HEIGHT + 20}" rx="10"/>'
        )


def _outgoing(
    tops: list[int], targets: list[int], found: Counter[tuple[int, int]]
) -> Iterator[str]:
    """From each box, a line to the last column with one of its imports."""
    for source, top in enumerate(tops):
        columns = [column for column, target in enumerate(targets) if found[source, target]]
        if columns:
            y = top + 9
            yield f'<path class="out" d="M{RIGHT} {y}H{FIRST + STEP * columns[-1]}"/>'


def _incoming(
    x: int, target: int, tops: list[int], found: Counter[tuple[int, int]]
) -> Iterator[str]:
    """A column: from each row that imports the target, down to the target's arrow."""
    end = tops[target] + 20
    total = 0
    sources = [source for source in range(target) if found[source, target]]
    for source, below in zip(sources, [*sources[1:], None], strict=True):
        total += found[source, target]
        to = f"V{tops[below] + 9}" if below else f"V{end - 8}q0 8 -8 8H{RIGHT + 8}"
        yield (
            f'<path class="in {ROWS[target].color}" stroke-width="{_thickness(total)}" '
            f'd="M{x} {tops[source] + 9}{to}"/>'
        )
    for source in range(target + 1, len(ROWS)):
        if found[source, target]:
            yield (
                f'<path class="in upwards" stroke-width="2" '
                f'd="M{x} {tops[source] + 9}V{end + 8}q0 -8 -8 -8H{RIGHT + 8}"/>'
            )
    yield f'<path class="tip {ROWS[target].color}" d="M{RIGHT + 1} {end}l9 -5v10z"/>'


def _thickness(count: int) -> float:
    return round(min(1.2 + count / 20, 5), 1)


def _counts(x: int, target: int, tops: list[int], found: Counter[tuple[int, int]]) -> Iterator[str]:
    for source, top in enumerate(tops):
        if count := found[source, target]:
            color = ROWS[target].color if source < target else "upwards"
            yield f'<circle class="dot {color}" cx="{x}" cy="{top + 9}" r="9"/>'
            yield f'<text class="count" x="{x}" y="{top + 13}">{count}</text>'


def _box(top: int, row: Row) -> Iterator[str]:
    x = LEFT + (14 if "." in row.name or row.shared else 0)
    yield f'<rect class="box" x="{x}" y="{top}" width="{RIGHT - x}" height="{HEIGHT}" rx="5"/>'
    yield f'<text class="name" x="{x + 12}" y="{top + 19}">{escape(row.name)}</text>'
    yield f'<text class="text" x="{x + TEXTS}" y="{top + 19}">{escape(row.text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(drawing())

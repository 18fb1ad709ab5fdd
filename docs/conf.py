"""Sphinx's configuration for the site of these documents; docs/contributing.md has the command.

The documents are written for a Git host: plain Markdown, relative links, no directives.  The
tables of contents that Sphinx needs are derived here from the index.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pygments.lexers import BashLexer, HtmlLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "Atriz Realtime"
author = copyright = "Atriz"  # noqa: A001 (Sphinx' name for it)
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
language = "en"

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["README.md", "docs/**", "plugins/*/README.md"]
exclude_patterns = [
    "docs/changes/+*",
    "**/node_modules",
    ".*",
    "atriz_realtime",
    "build",
    "dist",
    "plugins/*/src",
    "tests",
]
myst_heading_anchors = 6  # as Git hosts have them
suppress_warnings = ["misc.highlighting_failure"]  # `await` at the top, `…` for some value

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "Atriz Realtime"
html_extra_path = ["site"]
html_static_path = ["static"]
html_css_files = ["style.css"]
html_copy_source = html_show_sphinx = html_show_copyright = html_use_index = False
linkcheck_ignore = [r"https?://(localhost|[\w-]+\.(example|internal))\b"]


def toctrees(index: str) -> Iterator[str]:
    """For each section of the index, a table of contents with the pages that it links to."""
    for section in index.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        pages = dict.fromkeys(re.findall(r"\]\(([^)#:]+)\.md\)", text))
        entries = "\n".join(pages)
        yield f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n"


def read(_: Sphinx, name: str, source: list[str]) -> None:
    """Remove comments, which are for the tests, and add the tables of contents."""
    parts = re.split(r"(^ *```.*?^ *```$)", source[0], flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [
        re.sub(r"<!--.*?-->", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.DOTALL)
        for text in parts[::2]
    ]
    source[0] = "".join(parts)
    if name == root_doc:
        source[0] += "".join(toctrees(source[0]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the lexers and the reader."""
    app.add_lexer("env", BashLexer)
    app.add_lexer("svelte", HtmlLexer)
    app.add_lexer("haproxy", BashLexer)
    app.connect("source-read", read)
    return {"parallel_read_safe": True}

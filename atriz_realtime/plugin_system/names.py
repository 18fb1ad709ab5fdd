"""Help for whoever mistypes a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint to end an error with: ``; did you mean 'x'?``, or the known names."""
    names = sorted(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f"; did you mean {match[0]!r}?"
    if not names:
        return "; there are none"
    return "; known: " + ", ".join(names)

"""What errors say of a library that is not installed."""

from __future__ import annotations


def install_hint(extra: str) -> str:
    """How to install an extra of this package, as the end of an error about a missing library."""
    return f"pip install 'atriz-realtime[{extra}]' (from your wheel or index)"

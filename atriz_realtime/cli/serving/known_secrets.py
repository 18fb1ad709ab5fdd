"""Secrets that everybody knows, since the documentation prints them."""

from __future__ import annotations

from typing import Final

PUBLISHED_SECRETS: Final = frozenset(
    {
        "a-secret-of-more-than-thirty-two-bytes",
        "at-least-thirty-two-bytes-of-random-text",
        "another secret of more than thirty-two bytes",
        "your-secret-key",
    }
)
"""Long enough to pass for strong ones, but anybody can sign tokens with them."""

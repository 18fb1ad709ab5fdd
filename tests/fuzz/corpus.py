"""The inputs that together cover all that the fuzzers have covered."""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
"""A folder for each target."""

MAX_INPUT = 6_000
"""Bytes of an input; more than the limit that the targets are given."""

MAX_SIZE = 30_000
"""Bytes of one target's inputs."""

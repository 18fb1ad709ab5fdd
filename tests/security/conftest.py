"""The JavaScript client and further Valkeys, for tests that need it."""

from __future__ import annotations

from tests.e2e.conftest import js, node
from tests.faults.conftest import maker

__all__ = ["js", "maker", "node"]

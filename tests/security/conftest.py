"""The JavaScript client, for whoever connects as browsers do."""

from tests.e2e.conftest import js, node

__all__ = ["js", "node"]

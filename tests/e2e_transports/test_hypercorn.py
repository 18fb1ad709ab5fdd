"""The end-to-end tests over ASGI in hypercorn."""

from __future__ import annotations

import pytest

from tests.support.servers.rerun import end_to_end


@pytest.mark.timeout(500)
def test_the_same_holds() -> None:
    end_to_end("hypercorn")

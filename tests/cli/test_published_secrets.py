"""No secret that the documentation prints guards a public server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from atriz_realtime.cli.serve import PUBLISHED_SECRETS
from tests.cli.processes import environment, finished

ROOT = Path(__file__).parents[2]
PRINTED = re.compile(r"""JWT_SECRET=([\w-]+)$|(?:jwt_)?secret=["']([^"']+)["']""", re.MULTILINE)


def test_every_printed_secret_is_known() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    printed = {
        "".join(found) for page in pages for found in PRINTED.findall(page.read_text("utf-8"))
    }
    assert printed
    assert printed <= PUBLISHED_SECRETS


@pytest.mark.parametrize("allowed", ["0", "1"])
async def test_a_printed_secret_is_refused_beyond_loopback(allowed: str) -> None:
    known = environment(
        JWT_SECRET="a-secret-of-more-than-thirty-two-bytes",
        ATRIZ_REALTIME_ALLOW_WEAK_SECRET=allowed,
    )
    refused = await finished("serve", "--host", "0.0.0.0", "--port", "0", env=known)
    assert (refused.status, refused.out) == (1, "")
    error = refused.err.splitlines()[-1]
    assert error.startswith("error: the JWT secret is printed in the documentation")
    assert "a-secret-of" not in refused.err

"""Browser tests are never skipped."""

from __future__ import annotations

import pytest

from tests.browser import chromium


def test_without_a_browser_a_test_fails_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.fail.Exception, match=r"^no Chromium: apt-get install "):
        chromium.executable()

"""API keys, as HTTP headers, handshakes and query strings carry them, do not reach the log."""

from __future__ import annotations

import pytest

from atriz_realtime.cli.logs import redact, redact_event

KEY = "ak_3f2a9c0d4e5b6071_pPjJbc42gPqTdXZYLq5djYtFVK03zWrW3xKL6RW7iDc"
REFUSED = "refused credentials: authenticator 'apikey': wrong secret for key 3f2a9c0d4e5b6071"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"X-API-Key: {KEY}", "X-API-Key: ***"),
        (f"{{'x-api-key': '{KEY}', 'a': 1}}", "{'x-api-key': '***', 'a': 1}"),
        ("X-API-Key: another's", "X-API-Key: ***'s"),
        (f"ApiKey {KEY}", "ApiKey ***"),
        (f"Authorization: Bearer {KEY}", "Authorization: Bearer ***"),
        (f'40{{"apiKey":"{KEY}"}}', '40{"apiKey":"***"}'),
        (f'42["authenticate","{KEY}"]', '42["authenticate","***"]'),
        (f"GET /?apiKey={KEY}&a=1", "GET /?apiKey=***&a=1"),
        (REFUSED, REFUSED),
        ("plugin apikey failed: HTTP", "plugin apikey failed: HTTP"),
    ],
)
def test_a_key_in_a_text_is_hidden(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(("name", "value"), [("X-API-Key", "x"), ("api_key", "x"), ("key", KEY)])
def test_a_key_that_a_line_carries_is_hidden(name: str, value: str) -> None:
    assert redact_event(None, "info", {name: value}) == {name: "***"}

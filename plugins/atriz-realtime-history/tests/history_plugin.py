"""How the tests turn the plugin on, installed or not."""

from __future__ import annotations

import signal
import subprocess
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs

INSTALLED = "history" in entry_points(group="atriz_realtime").names
PLUGINS = () if INSTALLED else ("atriz_realtime_history.history:history",)


def history_settings(
    url: str, *, others: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Settings of a server with history.

    :param others: tables of other plugins.
    :param more: of the plugin's own table.
    """
    tables = {"history": {"url": url, **more}, **(others or {})}
    return {"extra_plugins": PLUGINS, "plugins": tables}


@attrs.define
class Postgres:
    """A PostgreSQL server."""

    program: Path
    data: Path
    port: int
    user: str | None
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"postgresql://tests@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "fsync": "off"}
        options |= {"unix_socket_directories": self.data.parent, "logging_collector": "off"}
        settings = [f"--{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen(
            [self.program, "-D", str(self.data), *settings],
            user=self.user,
            cwd=self.data.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ready = self.program.with_name("pg_isready")
        command = [str(ready), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(600):
            if subprocess.run(command, check=False).returncode == 0:
                return
            assert self.process.poll() is None, "PostgreSQL has ended"
            time.sleep(0.05)
        raise AssertionError("PostgreSQL does not answer")

    def stop(self) -> None:
        """Stop it; clients are disconnected."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
            self.process = None

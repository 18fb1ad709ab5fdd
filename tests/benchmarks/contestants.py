"""The servers that are compared, and how they are started."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.benchmarks.measure import ROOT, SERVER_CORE, Server, on_core, server

PEERS_DIRECTORY = Path(__file__).parent / "peers"
BUN = PEERS_DIRECTORY / "node_modules" / "@oven" / "bun-linux-x64" / "bin" / "bun"


@attrs.frozen
class Contestant:
    """A server program that listens on ``PORT``."""

    name: str
    title: str
    command: Sequence[str]
    environment: Mapping[str, str] = attrs.field(factory=dict)
    foreign: bool = False
    """Whether it is installed from npm."""
    folder: Path = ROOT
    """Where it is started."""

    def started(
        self, redis_port: int, settings: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Server]:
        """Run the server with a local Redis, and with further environment variables."""
        url = f"redis://127.0.0.1:{redis_port}"
        return server(self.command, url, {**self.environment, **(settings or {})}, self.folder)


@attrs.frozen
class Stage:
    """A contestant and a Redis, which its servers share."""

    contestant: Contestant
    redis_port: int

    @contextmanager
    def server(self, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
        """Run a server on the core of the servers."""
        with ExitStack() as stack:
            with on_core(SERVER_CORE):
                started = stack.enter_context(self.contestant.started(self.redis_port, settings))
            yield started


CONTESTANTS = (
    Contestant(
        "atriz",
        "atriz-realtime",
        (sys.executable, "-m", "atriz_realtime.cli", "serve"),
        {"ATRIZ_REALTIME_THROTTLE_INTERVAL": "0"},
    ),
    Contestant("bun", "Bun", (str(BUN), str(PEERS_DIRECTORY / "bun.mjs")), foreign=True),
    Contestant(
        "node",
        "Node",
        ("node", str(PEERS_DIRECTORY / "node.mjs")),
        {"NODE_ENV": "production"},
        foreign=True,
    ),
    Contestant(
        "python-socketio",
        "python-socketio",
        (sys.executable, "-m", "tests.benchmarks.plain_socketio"),
    ),
)


def beside(checkout: Path) -> Contestant:
    """Another checkout of this project, which has its dependencies in its own ``.venv``."""
    python = str(checkout.resolve() / ".venv" / "bin" / "python")
    return attrs.evolve(
        CONTESTANTS[0],
        name="beside",
        title=checkout.name,
        command=(python, *CONTESTANTS[0].command[1:]),
        folder=checkout.resolve(),
    )

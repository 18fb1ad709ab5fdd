"""The servers that are compared, and how they are started."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import attrs

from tests.benchmarks.measure import ROOT, SERVER_CORE, START_TIMEOUT, Server, on_core, server

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
    workers_option: str = ""
    """The option that makes several processes share the port, if there is one."""

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

    @contextmanager
    def workers(self, count: int) -> Iterator[list[Server]]:
        """Run a server of so many workers; or, where there are none, so many servers.

        Those have a port each, as behind a load balancer.
        """
        option = self.contestant.workers_option
        with ExitStack() as stack:
            if count == 1 or not option:
                yield [stack.enter_context(self.server()) for _ in range(count)]
                return
            command = (*self.contestant.command, f"{option}={count}")
            stage = attrs.evolve(self, contestant=attrs.evolve(self.contestant, command=command))
            started = stack.enter_context(stage.server(WORKERS_SETTINGS))
            wait_for_workers(started, count)
            yield [started]


WORKERS_TOKEN = "the-token-of-the-metrics"
WORKERS_SETTINGS = {"ATRIZ_REALTIME_PLUGINS__METRICS__TOKEN": WORKERS_TOKEN}


def wait_for_workers(server: Server, count: int) -> None:
    """Wait until every worker of a server of ours is in its metrics."""
    deadline = time.monotonic() + count * START_TIMEOUT
    request = Request(
        f"http://127.0.0.1:{server.port}/metrics",
        headers={"Authorization": f"Bearer {WORKERS_TOKEN}"},
    )
    last = f'atriz_realtime_connections{{worker="{count - 1}"}}'
    while time.monotonic() < deadline:
        with urlopen(request, timeout=START_TIMEOUT) as answer:
            if last in answer.read().decode():
                return
        time.sleep(0.1)
    raise RuntimeError(f"not all of {count} workers started")


CONTESTANTS = (
    Contestant(
        "atriz",
        "atriz-realtime",
        (sys.executable, "-m", "atriz_realtime.cli", "serve"),
        {"ATRIZ_REALTIME_THROTTLE_INTERVAL": "0"},
        workers_option="--workers",
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

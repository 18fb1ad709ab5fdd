"""One worker of ``serve --workers``: it serves sockets that its parent has bound."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import attrs
import click
import structlog

from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.asgi import create_app
from atriz_realtime.cli import logs
from atriz_realtime.cli.addresses import local_url
from atriz_realtime.cli.check import require_strength
from atriz_realtime.cli.main import run
from atriz_realtime.cli.options import log_format_option
from atriz_realtime.cli.serving import uvicorn_server
from atriz_realtime.cli.serving.handover import Handover
from atriz_realtime.cli.serving.heartbeat import Heartbeat
from atriz_realtime.cli.serving.reports import WorkerReports
from atriz_realtime.plugin_system import settings_file
from atriz_realtime.plugin_system.config import RealtimeConfig, load_config
from atriz_realtime.plugin_system.discovery import search_working_directory


@click.command(hidden=True)
@click.option("--worker", type=int, required=True)
@click.option("--successor", type=int, required=True)
@click.option("--count", type=int, required=True)
@click.option("--deaths", type=int, required=True)
@click.option("--hangs", type=int, required=True)
@click.option("--directory", type=click.Path(path_type=Path), required=True)
@click.option("--accepting", type=int, required=True)
@click.option("--alive", type=int, required=True)
@click.option("--socket", "descriptors", type=int, multiple=True, required=True)
@click.option("--host")
@click.option("--port", type=int)
@click.option("--bound-host", required=True)
@click.option("--bound-port", type=int, required=True)
@click.option("--drain-delay", type=float, required=True)
@click.option("--worker-timeout", type=float, required=True)
@click.option("--config", "file")
@log_format_option
def worker_process(
    worker: int,
    successor: int,
    count: int,
    deaths: int,
    hangs: int,
    directory: Path,
    accepting: int,
    alive: int,
    descriptors: tuple[int, ...],
    host: str | None,
    port: int | None,
    bound_host: str,
    bound_port: int,
    drain_delay: float,
    worker_timeout: float,
    file: str | None,
    log_format: logs.LogFormat,
) -> None:
    """Serve until SIGTERM.

    ``--accepting`` is a pipe that the parent reads: the worker writes to it when clients can
    connect and it answers with its report, then as a :class:`Heartbeat`, and closes it when
    clients no longer can connect.  ``--alive`` is a pipe that the parent holds open: when it
    closes, the parent has died, and the worker stops.

    The configuration is read as the parent read it, so that one with which the server could not
    start again is refused now.  What the parent has decided replaces what it says.
    """
    logs.configure(form=log_format, worker=worker)
    reports = WorkerReports(directory, worker)
    loaded = load_config(file, host=host, port=port)
    read = loaded.config
    if read.redis_url is None:
        raise ConfigurationError("redis_url is missing: the workers were started with one")
    config = attrs.evolve(
        read,
        host=bound_host,
        port=bound_port,
        drain_delay=drain_delay,
        worker_timeout=worker_timeout,
    )
    app = create_app(config, worker=worker, deaths=deaths, other_reports=reports.others)
    app.state.realtime.reports.of_parent(workers=count, hangs=hangs)
    require_strength(app.state.realtime, read.host)
    heartbeat = Heartbeat(accepting, worker_timeout)
    is_first = 0 in (worker, successor)  # it speaks for all: they have one configuration
    if is_first:
        _log_ignored(read, config)

    async def answer_until_the_parent_dies() -> None:
        died = asyncio.Event()
        asyncio.get_running_loop().add_reader(alive, died.set)
        async with reports.answering(app.state.realtime.reports.own):
            heartbeat.start()
            await died.wait()

    def ready() -> None:
        if is_first:
            url = local_url(bound_host, bound_port)
            uvicorn_server.announce(app.state.realtime, url, settings_file.described(loaded))

    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    uvicorn_server.run(
        app,
        sockets,
        ready=ready,
        companion=answer_until_the_parent_dies,
        handover=Handover(directory, worker, app.state.realtime.incidents.report, successor),
        retired=heartbeat.close,
    )


def _log_ignored(read: RealtimeConfig, config: RealtimeConfig) -> None:
    """Log what has changed in the configuration, and takes effect only when the parent restarts."""
    for name in ("host", "port", "drain_delay", "worker_timeout"):
        new, current = getattr(read, name), getattr(config, name)
        if new != current and (name, new) != ("port", 0):
            structlog.get_logger("atriz_realtime.serve").warning(
                "setting unchanged until the next full restart",
                setting=name,
                configured=new,
                current=current,
            )


if __name__ == "__main__":
    search_working_directory()
    sys.exit(run(sys.argv[1:], worker_process))

"""One worker of ``serve --workers``: it serves sockets that its parent has bound."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import click

from atriz_realtime.asgi import create_app
from atriz_realtime.cli import logs
from atriz_realtime.cli.main import run
from atriz_realtime.cli.options import log_format_option
from atriz_realtime.cli.serving import uvicorn_server
from atriz_realtime.cli.serving.handover import Handover
from atriz_realtime.cli.serving.reports import WorkerReports
from atriz_realtime.plugin_system.config import RealtimeConfig


@click.command(hidden=True)
@click.option("--worker", type=int, required=True)
@click.option("--successor", type=int, required=True)
@click.option("--directory", type=click.Path(path_type=Path), required=True)
@click.option("--accepting", type=int, required=True)
@click.option("--alive", type=int, required=True)
@click.option("--socket", "descriptors", type=int, multiple=True, required=True)
@click.option("--host")
@click.option("--port", type=int)
@click.option("--drain-delay", type=float)
@click.option("--config", "file")
@log_format_option
def worker_process(
    worker: int,
    successor: int,
    directory: Path,
    accepting: int,
    alive: int,
    descriptors: tuple[int, ...],
    host: str | None,
    port: int | None,
    drain_delay: float | None,
    file: str | None,
    log_format: logs.LogFormat,
) -> None:
    """Serve until SIGTERM.

    ``--accepting`` is a pipe that the parent reads: the worker writes to it when clients can
    connect, and closes it when they no longer can.  ``--alive`` is a pipe that the parent holds
    open: when it closes, the parent has died, and the worker stops.
    """
    logs.configure(form=log_format, worker=worker)
    reports = WorkerReports(directory, worker)
    app = create_app(
        RealtimeConfig.load(file, host=host, port=port, drain_delay=drain_delay),
        worker=worker,
        other_reports=reports.others,
    )

    async def answer_until_the_parent_dies() -> None:
        died = asyncio.Event()
        asyncio.get_running_loop().add_reader(alive, died.set)
        async with reports.answering(app.state.realtime.reports.own):
            await died.wait()

    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    uvicorn_server.run(
        app,
        sockets,
        ready=lambda: os.write(accepting, b"+"),
        companion=answer_until_the_parent_dies,
        handover=Handover(directory, worker, app.state.realtime.incidents.report, successor),
        retired=lambda: os.close(accepting),
    )


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], worker_process))

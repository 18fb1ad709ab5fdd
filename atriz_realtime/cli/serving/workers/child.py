"""One worker: ``serve`` on sockets that its parent has bound."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import click
from starlette.applications import Starlette

from atriz_realtime.cli import logs
from atriz_realtime.cli.main import run
from atriz_realtime.cli.options import log_format_option
from atriz_realtime.cli.serving import uvicorn_server
from atriz_realtime.cli.serving.workers.handover import Handover, session_prefix
from atriz_realtime.cli.serving.workers.reports import Exchange
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.server import RealtimeServer


@click.command(hidden=True)
@click.option("--worker", type=int, required=True)
@click.option("--directory", type=click.Path(path_type=Path), required=True)
@click.option("--ready", type=int, required=True)
@click.option("--alive", type=int, required=True)
@click.option("--socket", "descriptors", type=int, multiple=True, required=True)
@click.option("--host")
@click.option("--port", type=int)
@click.option("--config", "file")
@log_format_option
def child(
    worker: int,
    directory: Path,
    ready: int,
    alive: int,
    descriptors: tuple[int, ...],
    host: str | None,
    port: int | None,
    file: str | None,
    log_format: logs.LogFormat,
) -> None:
    """Serve until SIGTERM, and say on ``--ready`` when clients can connect.

    The end of ``--alive`` is the end of the parent, and then of this worker.
    """
    logs.configure(form=log_format, worker=worker)
    config = RealtimeConfig.load(file, host=host, port=port)
    app = Starlette()
    server = RealtimeServer(app, config, session_prefix=session_prefix(worker))
    app.state.realtime = server
    exchange = Exchange(directory, worker, server.reports)

    def say_ready() -> None:
        os.write(ready, b"+")
        os.close(ready)

    async def parent_gone() -> None:
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(alive, gone.set)
        async with exchange.answering():
            await gone.wait()

    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    uvicorn_server.run(
        app,
        sockets,
        ready=say_ready,
        companion=parent_gone,
        handover=Handover(directory, worker),
    )


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], child))

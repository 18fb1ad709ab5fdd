"""``atriz-realtime serve``."""

from __future__ import annotations

import click

from atriz_realtime.asgi import create_app
from atriz_realtime.cli import logs
from atriz_realtime.cli.addresses import beyond_loopback, bind, local_url, port_of
from atriz_realtime.cli.check import require_strength
from atriz_realtime.cli.options import config_option, log_format_option
from atriz_realtime.cli.serving import uvicorn_server
from atriz_realtime.cli.serving.supervisor import Supervisor
from atriz_realtime.core.runtime import open_files
from atriz_realtime.plugin_system import settings_file
from atriz_realtime.plugin_system.config import load_config
from atriz_realtime.server import RealtimeServer


@click.command(short_help="Run a server.")
@click.option("--host", metavar="HOST", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="Port to listen on; 0: any free port.  [default: 3001]",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of processes that share the port.",
)
@config_option
@log_format_option
def serve(
    host: str | None, port: int | None, file: str | None, workers: int, log_format: logs.LogFormat
) -> None:
    """Run a server until SIGINT or SIGTERM.

    With REDIS_URL, servers share their state through Redis; without it, this server runs alone
    and keeps its state in memory.  JWT_SECRET verifies tokens; without it every token is refused.

    Several workers share one Redis: that of REDIS_URL, or else a private Valkey, which is
    started for them.  SIGHUP replaces the workers, which disconnects each client once at most.
    """
    logs.configure(form=log_format)
    loaded = load_config(file, host=host, port=port)
    config = loaded.config
    app = create_app(config)
    server: RealtimeServer = app.state.realtime
    require_strength(server)
    if beyond_loopback(config.host):
        settings_file.warn(loaded, server.registry)
    open_files.raise_limit()
    sockets = bind(config.host, config.port)
    bound_port = port_of(sockets)
    url = local_url(config.host, bound_port)
    if workers == 1:
        source = settings_file.described(loaded)
        uvicorn_server.run(app, sockets, ready=lambda: uvicorn_server.announce(server, url, source))
        return
    arguments = [
        *(f"--bound-host={config.host}", f"--bound-port={bound_port}"),
        *(f"--drain-delay={config.drain_delay}", f"--worker-timeout={config.worker_timeout}"),
        f"--log-format={log_format}",
        *(
            f"--{name}={value}"
            for name, value in (("host", host), ("port", port))
            if value is not None
        ),
    ]
    if file is not None:
        arguments.append(f"--config={file}")
    Supervisor(workers, sockets, url, arguments, config).run()

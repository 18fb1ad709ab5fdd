"""``atriz-realtime serve``."""

from __future__ import annotations

import click
import structlog

from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.asgi import create_app
from atriz_realtime.cli import logs
from atriz_realtime.cli.options import config_option, log_format_option
from atriz_realtime.cli.serving import uvicorn_server
from atriz_realtime.cli.serving.addresses import (
    beyond_loopback,
    listen,
    location,
    port_of,
    reachable,
)
from atriz_realtime.cli.serving.known_secrets import PUBLISHED_SECRETS
from atriz_realtime.cli.serving.workers.supervisor import Supervisor
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.server import RealtimeServer


def require_strength(server: RealtimeServer) -> None:
    """Refuse to listen where strangers are with something that only keeps friends out.

    :raises ConfigurationError: when the JWT secret is one that the documentation prints,
        whatever is allowed, or when an authenticator says that it is too weak for that.
    """
    config = server.config
    if not beyond_loopback(config.host):
        return
    if config.jwt_secret in PUBLISHED_SECRETS:
        raise ConfigurationError(
            "the JWT secret is printed in the documentation, so that anybody can sign tokens; "
            f"choose one of your own before listening beyond loopback ({config.host})"
        )
    if config.allow_weak_secret:
        return
    for authenticator in server.registry.authenticators:
        if authenticator.weakness is not None:
            raise ConfigurationError(
                f"{authenticator.weakness}; mend that before listening beyond loopback "
                f"({config.host}), or set allow_weak_secret"
            )


def announce(server: RealtimeServer, url: str) -> None:
    """Log the one line that says what is running."""
    structlog.get_logger("atriz_realtime.serve").info(
        "serving",
        url=url,
        redis=server.status().state,
        plugins=",".join(info.name for info in server.plugins() if info.state == "active"),
    )


@click.command(short_help="Run a server.")
@click.option("--host", metavar="HOST", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="Port to listen on; 0: any that is free.  [default: 3001]",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that serve the port together.",
)
@config_option
@log_format_option
def serve(
    host: str | None,
    port: int | None,
    file: str | None,
    workers: int,
    log_format: logs.LogFormat,
) -> None:
    """Run a server until SIGINT or SIGTERM.

    Redis is used when REDIS_URL is set; without it the server is alone and keeps everything in
    memory.  Tokens are checked with JWT_SECRET; without it every token is refused.

    Several workers share one Redis: yours, or without REDIS_URL an embedded Valkey that is
    started for them.  SIGHUP restarts them one after another.
    """
    logs.configure(form=log_format)
    app = create_app(RealtimeConfig.load(file, host=host, port=port))
    server: RealtimeServer = app.state.realtime
    config = server.config
    require_strength(server)
    sockets = listen(config.host, config.port)
    url = f"http://{location(reachable(config.host), port_of(sockets))}"
    if workers > 1:
        arguments = [
            f"--host={config.host}",
            f"--port={port_of(sockets)}",
            f"--log-format={log_format}",
        ]
        if file is not None:
            arguments.append(f"--config={file}")
        Supervisor(workers, sockets, url, arguments, config.redis_url).run()
        return
    uvicorn_server.run(app, sockets, ready=lambda: announce(server, url))

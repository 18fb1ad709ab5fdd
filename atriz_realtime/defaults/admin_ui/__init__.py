"""Socket.IO's admin UI, behind a password; off by default."""

from __future__ import annotations

import functools
import hmac
import os
import socket
from contextlib import AsyncExitStack
from typing import Any

import attrs

from atriz_realtime.api import ConfigurationError, PluginConfig, ServerHandle, hookimpl

NAMESPACE = "/admin"

STATS_INTERVAL = 2
"""Seconds between two statistics that the admin UI gets."""

MIN_PASSWORD = 16
"""Minimum characters of the admin UI's password; guesses are not limited."""


@attrs.frozen(kw_only=True)
class AdminUiSettings:
    """The table ``[realtime.plugins.admin_ui]``."""

    enabled: bool = False
    """Serve Socket.IO's admin UI, in the namespace `/admin`."""
    username: str = "admin"
    """The user name to sign in with."""
    password: str = attrs.field(default="", repr=False)
    """The password to sign in with; required, 16 characters or more."""
    mode: str = attrs.field(
        default="production", validator=attrs.validators.in_(["production", "development"])
    )
    """`"production"`: show counts. `"development"`: also show sockets, rooms and events, which
    costs time for each connection and each emit."""
    read_only: bool = True
    """With `"development"`: show only; `false`: the UI can also emit, disconnect sockets, and move
    them between rooms."""

    def __attrs_post_init__(self) -> None:
        if self.enabled and len(self.password) < MIN_PASSWORD:
            raise ConfigurationError(
                f"password: the admin UI needs one of {MIN_PASSWORD} characters or more",
                field="password",
            )


def signs_in(settings: AdminUiSettings, auth: Any) -> bool:
    """Whether a handshake's ``auth`` has the user name and the password; in constant time."""
    given = auth if isinstance(auth, dict) else {}
    right = [
        hmac.compare_digest(str(given.get(name, "")).encode(errors="replace"), value.encode())
        for name, value in (("username", settings.username), ("password", settings.password))
    ]
    return all(right)


@hookimpl
def register_settings() -> type[AdminUiSettings]:
    """Return the settings class."""
    return AdminUiSettings


@hookimpl
def server_started(config: PluginConfig, server: ServerHandle) -> AsyncExitStack | None:
    """Start the admin UI, when it is enabled; return what stops it."""
    settings = config.load(AdminUiSettings)
    if not settings.enabled:
        return None
    # imports python-socketio, which a server without the UI need not wait for here
    from atriz_realtime.defaults.admin_ui.ui import AdminUi  # noqa: PLC0415

    running = AdminUi(
        server.socket_io,
        auth=functools.partial(signs_in, settings),
        namespace=NAMESPACE,
        read_only=settings.read_only,
        server_id=f"{socket.gethostname()}-{os.getpid()}",
        mode=settings.mode,
        server_stats_interval=STATS_INTERVAL,
    )
    closing = AsyncExitStack()
    closing.push_async_callback(running.shutdown)
    return closing

"""Socket.IO's admin UI: off unless enabled, behind a password."""

from __future__ import annotations

import hmac
import os
import socket
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import attrs

from atriz_realtime.api import ConfigurationError, PluginConfig, ServerHandle, hookimpl

if TYPE_CHECKING:
    from atriz_realtime.defaults.admin_ui.ui import AdminUi

NAMESPACE = "/admin"

STATS_INTERVAL = 2
"""Seconds between two reports to the admin UI."""

MIN_PASSWORD = 16
"""Characters of the admin UI's password at least: nobody is kept from guessing."""


@attrs.frozen(kw_only=True)
class AdminUiSettings:
    """The table ``[realtime.plugins.admin_ui]``."""

    enabled: bool = False
    """Serve Socket.IO's admin UI, in the namespace `/admin`."""
    username: str = "admin"
    """Who signs in."""
    password: str = attrs.field(default="", repr=False)
    """With which password; required, 16 characters or more."""
    mode: str = attrs.field(
        default="production", validator=attrs.validators.in_(["production", "development"])
    )
    """`"production"`: shows counts. `"development"`: sockets, rooms and events besides, at a price
    for each connection and each emit."""
    read_only: bool = True
    """With `"development"`: whether it only looks; `false`: it can emit, disconnect, and move
    sockets among rooms."""

    def __attrs_post_init__(self) -> None:
        if self.enabled and len(self.password) < MIN_PASSWORD:
            raise ConfigurationError(
                f"password: the admin UI needs one of {MIN_PASSWORD} characters or more",
                field="password",
            )


def signs_in(settings: AdminUiSettings) -> Callable[[Any], bool]:
    """Whether the ``auth`` of a handshake is right."""

    def check(auth: Any) -> bool:
        given = auth if isinstance(auth, dict) else {}
        expected = {"username": settings.username, "password": settings.password}
        right = [
            hmac.compare_digest(str(given.get(name, "")).encode(errors="replace"), value.encode())
            for name, value in expected.items()
        ]
        return all(right)

    return check


_RUNNING: MutableMapping[ServerHandle, AdminUi] = WeakKeyDictionary()
"""The admin UI of each server in this process that has one."""


@hookimpl
def register_settings() -> type[AdminUiSettings]:
    """The table ``[realtime.plugins.admin_ui]``."""
    return AdminUiSettings


@hookimpl
def server_started(config: PluginConfig, server: ServerHandle) -> None:
    """Attach the admin UI, if it is enabled."""
    settings = config.load(AdminUiSettings)
    if not settings.enabled:
        return
    # not on everybody's way, and it brings python-socketio with it
    from atriz_realtime.defaults.admin_ui.ui import AdminUi  # noqa: PLC0415

    _RUNNING[server] = AdminUi(
        server.socket_io,
        auth=signs_in(settings),
        namespace=NAMESPACE,
        read_only=settings.read_only,
        server_id=f"{socket.gethostname()}-{os.getpid()}",
        mode=settings.mode,
        server_stats_interval=STATS_INTERVAL,
    )


@hookimpl
async def server_stopping(server: ServerHandle) -> None:
    """Stop telling."""
    running = _RUNNING.pop(server, None)
    if running is not None:
        await running.shutdown()

"""python-socketio's instrumentation, adapted to this server.

Its patches of python-engineio's sockets, which this server does not use, are undone.  Of a
handshake it shows only what holds no secrets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from engineio.async_socket import AsyncSocket
from socketio.async_admin import InstrumentedAsyncServer
from socketio.exceptions import ConnectionRefusedError as Refused

SHOWN_HEADERS = frozenset({"host", "origin", "user-agent", "x-forwarded-for"})
"""Headers of a handshake that are shown; others may contain tokens and cookies."""

SHOWN_QUERY = frozenset({"EIO", "transport"})
"""Query parameters of a handshake that are shown."""

ACTIONS = ("EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT")
"""What the UI can do when it is not read-only."""

_PATCHED = ("handle_post_request", "_websocket_handler", "_send_ping")


class AdminUi(InstrumentedAsyncServer):
    """The instrumentation of one server."""

    def instrument(self) -> None:
        """Instrument this server, and no other in the process."""
        originals = {name: getattr(AsyncSocket, name) for name in _PATCHED}
        super().instrument()
        for name, method in originals.items():
            setattr(AsyncSocket, name, method)
        self.sio.handlers.setdefault("/", {})  # the UI counts sockets of known namespaces
        self.stop_stats_event = self.sio.eio.create_event()
        self._checking: set[Any] = set()
        self.stats_task = self.sio.start_background_task(self._emit_server_stats)

    async def shutdown(self) -> None:
        """Stop the reports."""
        for task in (self.stats_task, *self._checking):
            task.cancel()

    async def admin_connect(self, sid: str, environ: Any, client_auth: Any) -> None:  # noqa: ARG002
        """Accept a connection that has the password, and send it the current state."""
        if not self.auth(client_auth):
            raise Refused("authentication failed")
        self.sio.start_background_task(self._send_state, sid)

    async def _send_state(self, sid: str) -> None:
        features = ["AGGREGATED_EVENTS"]
        if self.mode == "development":
            features.append("ALL_EVENTS")
            if not self.read_only:
                features += ACTIONS
        await self._send(sid, "config", {"supportedFeatures": features})
        if self.mode == "development":
            manager = self.sio.manager
            sockets = [
                self.serialize_socket(each, namespace, eio_sid)
                for namespace in list(manager.get_namespaces())
                for each, eio_sid in manager.get_participants(namespace, None)
            ]
            await self._send(sid, "all_sockets", sockets)

    async def _send(self, sid: str, event: str, data: Any) -> None:
        await self.sio.emit(event, data, to=sid, namespace=self.admin_namespace)

    async def _trigger_event(self, event: str, namespace: str, *args: Any) -> Any:
        """Report an event, and forget a connection that is refused."""
        timestamps = self.sio.manager._timestamps  # noqa: SLF001  # the instrumentation's own
        if event == "disconnect":
            timestamps.setdefault(args[0], 0)
        try:
            return await super()._trigger_event(event, namespace, *args)
        except BaseException:
            if event == "connect":
                timestamps.pop(args[0], None)
            raise

    async def _check_for_upgrade(self, eio_sid: str, sid: str, namespace: str) -> None:
        """Watch a socket for an upgrade for half a minute, or until the server stops."""
        task = asyncio.current_task()
        self._checking.add(task)
        try:
            await super()._check_for_upgrade(eio_sid, sid, namespace)
        finally:
            self._checking.discard(task)

    def serialize_socket(
        self, sid: str, namespace: str, eio_sid: str | None = None
    ) -> Mapping[str, Any]:
        """A socket as the UI shows it, without possible secrets."""
        shown: dict[str, Any] = super().serialize_socket(sid, namespace, eio_sid)
        handshake = shown["handshake"]
        headers = {name.replace("_", "-"): text for name, text in handshake["headers"].items()}
        handshake["headers"] = {name: headers[name] for name in SHOWN_HEADERS & headers.keys()}
        query = handshake["query"]
        handshake["query"] = {name: query[name] for name in SHOWN_QUERY & query.keys()}
        return shown

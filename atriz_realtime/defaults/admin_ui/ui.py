"""python-socketio's instrumentation, without what has no place in this server.

What it does to python-engineio's sockets, of which there are none here, is undone; what
it would show of handshakes is only what holds no secrets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from engineio.async_socket import AsyncSocket
from socketio.async_admin import InstrumentedAsyncServer
from socketio.exceptions import ConnectionRefusedError as Refused

SHOWN_HEADERS = frozenset({"host", "origin", "user-agent", "x-forwarded-for"})
"""Headers of a handshake that are shown; others may hold tokens and cookies."""

SHOWN_QUERY = frozenset({"EIO", "transport"})
"""Parameters of its URL that are shown."""

_PATCHED = ("handle_post_request", "_websocket_handler", "_send_ping")


class AdminUi(InstrumentedAsyncServer):
    """python-socketio's instrumentation, on this server."""

    def instrument(self) -> None:
        """Attach, to this server and nothing else in the process."""
        kept = {name: getattr(AsyncSocket, name) for name in _PATCHED}
        super().instrument()
        for name, method in kept.items():
            setattr(AsyncSocket, name, method)
        self.sio.handlers.setdefault("/", {})  # a namespace whose sockets are counted
        self.stop_stats_event = self.sio.eio.create_event()
        self._checking: set[Any] = set()
        self.stats_task = self.sio.start_background_task(self._emit_server_stats)

    async def shutdown(self) -> None:
        """Stop telling."""
        for task in (self.stats_task, *self._checking):
            task.cancel()

    async def admin_connect(self, sid: str, environ: Any, client_auth: Any) -> None:  # noqa: ARG002
        """Let somebody in who has the password, and tell them what is there."""
        if not self.auth(client_auth):
            raise Refused("authentication failed")
        self.sio.start_background_task(self._greet, sid)

    async def _greet(self, sid: str) -> None:
        features = ["AGGREGATED_EVENTS"]
        if self.mode == "development":
            features.append("ALL_EVENTS")
            if not self.read_only:
                features += [
                    "EMIT",
                    "JOIN",
                    "LEAVE",
                    "DISCONNECT",
                    "MJOIN",
                    "MLEAVE",
                    "MDISCONNECT",
                ]
        await self._tell(sid, "config", {"supportedFeatures": features})
        if self.mode == "development":
            manager = self.sio.manager
            sockets = [
                self.serialize_socket(each, namespace, eio_sid)
                for namespace in list(manager.get_namespaces())
                for each, eio_sid in manager.get_participants(namespace, None)
            ]
            await self._tell(sid, "all_sockets", sockets)

    async def _tell(self, sid: str, event: str, data: Any) -> None:
        await self.sio.emit(event, data, to=sid, namespace=self.admin_namespace)

    async def _trigger_event(self, event: str, namespace: str, *args: Any) -> Any:
        """Tell of an event; of connections that are refused nothing is kept."""
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
        """Look for half a minute whether a socket changes from polling, unless the server stops."""
        task = asyncio.current_task()
        self._checking.add(task)
        try:
            await super()._check_for_upgrade(eio_sid, sid, namespace)
        finally:
            self._checking.discard(task)

    def serialize_socket(
        self, sid: str, namespace: str, eio_sid: str | None = None
    ) -> Mapping[str, Any]:
        """A socket as the UI shows it, without what may be a secret."""
        shown: dict[str, Any] = super().serialize_socket(sid, namespace, eio_sid)
        handshake = shown["handshake"]
        headers = {name.replace("_", "-"): text for name, text in handshake["headers"].items()}
        handshake["headers"] = {name: headers[name] for name in SHOWN_HEADERS & headers.keys()}
        query = handshake["query"]
        handshake["query"] = {name: query[name] for name in SHOWN_QUERY & query.keys()}
        return shown

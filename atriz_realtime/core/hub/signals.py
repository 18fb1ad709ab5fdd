"""Signals: small messages between the plugins of all servers, over the fan-out.

They are delivered at most once: a server that has lost its subscription misses them.  It is told
when it has it back, so that it can read again what it may have missed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from atriz_realtime.api.contracts import Fanout, SignalHandler
from atriz_realtime.api.errors import InvalidRequest, PayloadTooLarge, Unavailable
from atriz_realtime.api.wire import RedisChannels, decode_json, encode_json
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.plugin_system.signatures import check_plain, full_name

MAX_SIGNAL = 16_384
"""Bytes of one signal, its name included."""


class Signals:
    """See :class:`~atriz_realtime.api.Signals`."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents
        self._name = secrets.token_hex(8)
        self._handlers: dict[str, list[SignalHandler]] = {}
        self._gap_handlers: list[Callable[[], None]] = []
        self._fanout: Fanout | None = None

    async def start(self, fanout: Fanout) -> None:
        """Begin to receive the signals of other servers, and to send."""
        self._fanout = fanout
        await fanout.subscribe(RedisChannels.SIGNALS, self._receive)

    async def aclose(self) -> None:
        """Stop."""
        if self._fanout is not None:
            self._fanout.unsubscribe(RedisChannels.SIGNALS)
            self._fanout = None

    def listen(self, name: str, handler: SignalHandler) -> None:
        """Call a handler with the data of each signal of this name.

        :raises PluginError: when it cannot be called like that.
        """
        check_plain(f"the handler of the signal {name!r}", handler, "data")
        self._handlers.setdefault(name, []).append(handler)

    def on_gap(self, handler: Callable[[], None]) -> None:
        """Call a handler after each interruption in which signals may have been missed.

        :raises PluginError: when it cannot be called like that.
        """
        check_plain("the handler of gaps", handler)
        self._gap_handlers.append(handler)

    def gap_ended(self) -> None:
        """Tell the handlers that signals may have been missed, and are received again."""
        for handler in self._gap_handlers:
            try:
                handler()
            except Exception as error:  # a plugin's
                self._failed("a gap", handler, error)

    async def send(self, name: str, data: Any) -> None:
        """Send a signal: to the handlers here at once, then to the other servers."""
        message = encode_json({"from": self._name, "name": name, "data": data})
        if len(message) > MAX_SIGNAL:
            raise PayloadTooLarge
        self._call(name, decode_json(message)["data"])
        if self._fanout is None:
            raise Unavailable("the server is not running")
        try:
            await self._fanout.publish(RedisChannels.SIGNALS, message)
        except RedisError as error:
            raise self._incidents.refused_by_redis("fan-out unavailable", error) from error

    def _receive(self, _: str, message: bytes) -> None:
        try:
            signal = decode_json(message)
            sender, name, data = signal["from"], signal["name"], signal["data"]
        except (InvalidRequest, KeyError, TypeError):
            self._incidents.report("foreign signal ignored", "not a signal of this package")
            return
        if sender != self._name and isinstance(name, str):
            self._call(name, data)

    def _call(self, name: str, data: Any) -> None:
        for handler in self._handlers.get(name, ()):
            try:
                handler(data)
            except Exception as error:  # a plugin's, or data that another version sent
                self._failed(name, handler, error)

    def _failed(self, about: str, handler: Callable[..., None], error: Exception) -> None:
        what = f"{about}: {full_name(handler)}"
        line = f"{what}: {type(error).__name__}"
        self._incidents.report("signal handler failed", line, cause=what, error=error)

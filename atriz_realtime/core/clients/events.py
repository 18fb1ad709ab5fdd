"""The handlers of the events that clients send to the default namespace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Handler = Callable[..., Awaitable[Any]]
"""Takes the sid and the event's arguments; returns the acknowledgement."""


class EventHandlers:
    """Handlers by event name; ``track:*`` handles what begins with ``track:`` and has no other.

    They run in order inside the connection that sent the event, without a task each.
    Handlers that a host puts on ``socket_io`` itself run as python-socketio runs them.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._binary: set[str] = set()

    def add(self, event: str, handler: Handler, *, binary: bool = False) -> None:
        """Handle an event.

        :param binary: whether its arguments may hold bytes.
        """
        self._handlers[event] = handler
        if binary:
            self._binary.add(event)

    def find(self, event: str, data: list[Any]) -> tuple[Handler | None, list[Any]]:
        """The handler of an event, and its arguments; a wildcard's first one is the name.

        :param data: the name, followed by what the client sent.
        """
        wildcard = _wildcard(event)
        handler = None if event == wildcard else self._handlers.get(event)
        if handler is not None:
            return handler, data[1:]
        return self._handlers.get(wildcard), data

    def refuses_bytes(self, event: str) -> bool:
        """Whether an event is handled here, and its arguments may not hold bytes."""
        is_handled = event in self._handlers or _wildcard(event) in self._handlers
        return is_handled and event not in self._binary


def _wildcard(event: str) -> str:
    return f"{event.partition(':')[0]}:*"

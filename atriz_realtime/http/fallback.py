"""uvicorn's own protocol, with deadlines for the requests that it reads."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atriz_realtime.http.connection import Shared
from atriz_realtime.http.request_deadlines import is_fast_enough


class FallbackProtocol(HttpToolsProtocol):
    """Serves what :class:`.HttpProtocol` does not.

    Time in which the application leaves a body unread does not count against the client.

    :param arguments: those that uvicorn passes.
    """

    def __init__(self, shared: Shared, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._shared = shared
        self._in_body = False
        self._received = 0  # bytes of the body
        self._counted = 0  # those that had come when its deadline began

    def data_received(self, data: bytes) -> None:
        """Read a part of a request; the first bytes begin the deadline of its head."""
        if not self._in_body:
            self._shared.requests.begin(self)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Begin the deadline of the body."""
        self._shared.requests.end(self)
        self._in_body = True
        self._received = self._counted = 0
        self._shared.requests.begin(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the deadline."""
        self._in_body = False
        self._shared.requests.end(self)
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the deadline."""
        self._shared.requests.end(self)
        super().connection_lost(exc)

    def request_overdue(self) -> None:
        """Refuse a request that does not come in time; see :class:`.Incoming`."""
        cycle: Any = self.cycle
        is_answering = cycle is not None and not cycle.response_complete
        if self._in_body:
            is_held_up = self.flow.read_paused or (is_answering and cycle.waiting_for_100_continue)
            if is_held_up or is_fast_enough(self._received - self._counted):
                self._counted = self._received
                self._shared.requests.begin(self)
                return
            can_answer = is_answering and not cycle.response_started
        elif is_answering:  # an earlier request
            self.shutdown()
            return
        else:
            can_answer = True
        answer = self._shared.endpoints.too_slow()
        if can_answer:
            defaults = self.server_state.default_headers
            self.transport.write(self._shared.response(answer, defaults, last=True))
        self.transport.close()

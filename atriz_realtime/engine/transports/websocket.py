"""A session on a websocket, and its upgrade from polling, whatever carries the frames."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import InvalidPacket, Packet
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Session, Transport
from atriz_realtime.engine.sessions import Sessions
from atriz_realtime.engine.transports.polling import Polling

PROBE = f"{packets.PING}probe"

UPGRADE_TIMEOUT = 10.0
"""Seconds from the handshake of a websocket to the end of the upgrade that it is for."""

CLOSE_GRACE = 1.0
"""Seconds that a client has to read what is sent and to close its side."""


class WebSocket(Transport):
    """The transport of a session on a websocket, or of one that upgrades from polling."""

    __slots__ = ("_probing", "session")

    name = "websocket"

    session: Session
    sessions: Sessions

    def respond(self, first: Packet | None = None) -> None:
        """Accept the handshake.

        :param first: the first packet of a new session.
        """

    def open(self, request: Request) -> bool | Awaitable[bool]:
        """Create a session, and ask the application to accept it.

        :returns: as :meth:`.Sessions.open`.
        """
        self._probing = False
        self.session = self.sessions.create(request, self)
        return self.sessions.open(self.session)

    def opened(self) -> None:
        """Accept the handshake of a session that is open."""
        self.session.release()  # what was sent to it leaves in a later turn
        self.respond(self.sessions.open_packet(self.session))

    def upgrade(self, session: Session) -> None:
        """Accept the handshake, and wait for the probe of a session that polls."""
        self._probing = True
        self.session = session
        self.respond()
        if session.upgrading is not None or session.upgraded:
            self.close()
        else:
            self._begin_timeout()

    def received(self, data: str | bytes) -> None:
        """Handle a message of the websocket."""
        if self._probing:
            self._probe(data)
            return
        try:
            if isinstance(data, str):
                self.sessions.receive(self.session, *packets.parse(data))
            else:
                self.sessions.receive(self.session, packets.MESSAGE, data)
        except InvalidPacket as error:
            self.sessions.protocol_broken(self.session, error)

    def disconnected(self) -> None:
        """End the session, as the websocket is closed; one that still polls goes on."""
        if not self._probing:
            self.sessions.disconnected(self.session)
        elif self.session.upgrading is self:
            self.session.upgrading = None

    def _probe(self, data: str | bytes) -> None:
        """Handle a message before the upgrade is complete."""
        session, polling = self.session, self.session.transport
        if not session.is_open or not isinstance(polling, Polling):
            self.close()
        elif session.upgrading is None and data == PROBE:
            session.upgrading = self
            self.write([packets.PROBE_ANSWER])
            if session.outbox is None:  # a poll is open, and the client waits for its answer
                session.put(packets.NOOP_PACKET)
        elif session.upgrading is self and data == packets.UPGRADE:
            self._probing = False
            polling.leave()
            session.move_to(self)
        else:
            self.close()

    def _begin_timeout(self) -> None:
        asyncio.get_running_loop().call_later(UPGRADE_TIMEOUT, self._upgrade_timed_out)

    def _upgrade_timed_out(self) -> None:
        if self._probing and self.is_behind:  # the upgrade may be complete in what waits
            self._begin_timeout()
        elif self._probing:
            self.close()

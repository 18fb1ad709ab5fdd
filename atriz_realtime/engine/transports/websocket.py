"""What a session does on a websocket, whichever way the bytes come and go."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import InvalidPacket, Packet
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Session

if TYPE_CHECKING:
    from atriz_realtime.engine.server import EngineServer

PROBE = f"{packets.PING}probe"

UPGRADE_TIMEOUT = 10.0
"""Seconds that a websocket which is to take over from polling has for it."""

CLOSE_GRACE = 1.0
"""Seconds that a client has to take what is sent and to close its side."""


class Websocket(ABC):
    """A websocket: of a new session, or one that is to take over from polling."""

    name = "websocket"

    __slots__ = ("_probing", "engine", "session")

    engine: EngineServer
    session: Session

    # -- what the two lanes do each in its way ---------------------------------------------

    @abstractmethod
    def write(self, content: list[Packet]) -> None:
        """Send packets."""

    @abstractmethod
    def welcome(self, packet: Packet) -> None:
        """Send a session's first packet."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Read no more from the client."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Read again."""

    @abstractmethod
    def close(self) -> None:
        """Close in order."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once."""

    # -- what they share -------------------------------------------------------------------

    def begin(self, request: Request, session: Session | None) -> None:
        """Serve a new session, or wait for the probe of one that polls."""
        engine = self.engine
        if session is not None:
            self.session = session
            self._probing = True
            if session.upgrading is not None or session.upgraded:  # another was first
                self.close()
            else:
                asyncio.get_running_loop().call_later(UPGRADE_TIMEOUT, self._never_taken_over)
            return
        self._probing = False
        self.session = session = Session(engine, engine.generate_id(), request, self)
        admitted = engine.let_in(session)
        if isinstance(admitted, bool):
            self._welcome(admitted)
        else:
            engine.start_background_task(self._welcome_later, admitted)

    async def _welcome_later(self, admitting: Awaitable[bool]) -> None:
        self._welcome(await admitting)

    def _welcome(self, admitted: bool) -> None:
        if admitted:
            self.welcome(self.engine.open_packet(self.session))
        else:
            self.close()

    def received(self, data: str | bytes) -> None:
        """Take a message."""
        if self._probing:
            self._probe(data)
            return
        try:
            if isinstance(data, str):
                self.session.receive(*packets.parse(data))
            else:
                self.session.receive(packets.MESSAGE, data)
        except InvalidPacket as error:
            self.engine.broken(self.session, error)

    def gone(self) -> None:
        """Take note that the connection is no more; a session that polls goes on."""
        if not self._probing:
            self.engine.lost(self.session)
        elif self.session.upgrading is self:
            self.session.upgrading = None

    def _probe(self, data: str | bytes) -> None:
        session = self.session
        polls = session.is_open and not session.upgraded
        if polls and session.upgrading is None and data == PROBE:
            session.upgrading = self
            self.write([packets.PROBE_ANSWER])
            if session.outbox is None:  # a poll is open, which the client waits for
                session.put(packets.NOOP_PACKET)
        elif polls and session.upgrading is self and data == packets.UPGRADE:
            self._probing = False
            self.engine.take_over(session, self)
        else:
            self.close()

    def _never_taken_over(self) -> None:
        if self._probing:
            self.close()

"""How far the clients of this server are behind, found when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping

from atriz_realtime.engine.session import Session, State


class ClientLag:
    """Measures what waits for the clients; nothing is kept for it.

    :param sessions: the Engine.IO sessions by id, as they are at any time.
    """

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self._sessions = sessions

    def statistics(self) -> dict[str, float]:
        """Clients ``lagging``, seconds of the greatest ``lag``, location frames ``waiting``."""
        lagging, greatest, waiting = 0, 0.0, 0
        for session in self._sessions.values():
            outbox = session.outbox
            if outbox is None or session.state is State.CLOSED:
                continue
            waiting += outbox.frames
            if outbox.lagging:
                lagging += 1
                greatest = max(greatest, outbox.lag)
        return {"lagging": lagging, "lag": greatest, "waiting": waiting}

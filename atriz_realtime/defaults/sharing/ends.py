"""Why shares ended: what the creator of a link said, for whoever opens it afterwards."""

from __future__ import annotations

import time
from collections import OrderedDict

import attrs

from atriz_realtime.api import (
    InvalidRequest,
    RedisLink,
    Report,
    decode_json,
    encode_json,
    limit_reached,
)

KEY = "{realtime:revocations}:reason:"
"""Before the share's id: a key beside those of the revocations, so that the user of a server in
Redis needs no further right."""

REASONS = ("delivered", "arrived", "cancelled", "failed")
"""The reasons that a page has words for."""

KEPT = 604_800
"""Seconds after a link's expiry until which its page still says why the share was ended."""

MAX_ENDS = 10_000
"""Reasons that a server without Redis keeps; beyond, the oldest is forgotten."""


@attrs.frozen
class End:
    """Why and when a share was ended."""

    reason: str
    """One of :data:`REASONS`."""
    at: int
    """Seconds since the epoch."""

    @classmethod
    def now(cls, reason: str) -> End:
        """End a share for a reason.

        :raises InvalidRequest: when there are no words for it.
        """
        if reason not in REASONS:
            known = ", ".join(REASONS)
            raise InvalidRequest(f"reason must be one of: {known}", field="reason")
        return cls(reason, int(time.time()))

    def encode(self) -> bytes:
        """The value in Redis."""
        return encode_json([self.reason, self.at])

    @classmethod
    def read(cls, stored: bytes | None) -> End | None:
        """Read a value in Redis; ``None`` when there is none, or it is not an end's."""
        try:
            match decode_json(stored or b"null"):
                case [str(reason), int(at)] if reason in REASONS:
                    return cls(reason, at)
        except InvalidRequest:
            pass
        return None


def key_and_life(prefix: str, share_id: str, expires: int) -> tuple[str, int]:
    """Where an end is stored in Redis, and for how many seconds."""
    return f"{prefix}{KEY}{share_id}", max(1, int(expires + KEPT - time.time()))


class Ends:
    """The ends of shares: in Redis, or in this process when there is none.

    :param report: counts that an end was forgotten.
    """

    def __init__(self, link: RedisLink | None, prefix: str, report: Report) -> None:
        self._link = link
        self._prefix = prefix
        self._report = report
        self._own: OrderedDict[str, tuple[End, int]] = OrderedDict()

    async def put(self, share_id: str, end: End, expires: int) -> None:
        """Remember why a share ended.

        :param expires: when its link expires, in seconds since the epoch.
        :raises Unavailable: when Redis does not answer.
        """
        if self._link is not None:
            key, life = key_and_life(self._prefix, share_id, expires)
            await self._link.execute("SET", key, end.encode(), "EX", life)
            return
        self._own[share_id] = end, expires + KEPT
        self._own.move_to_end(share_id)
        if len(self._own) > MAX_ENDS:
            _, (_, until) = self._own.popitem(last=False)
            if until > time.time():
                message = f"more than {MAX_ENDS} ended shares: a page no longer says why it ended"
                limit_reached(self._report, f"{__name__}.MAX_ENDS", message)

    async def get(self, share_id: str) -> End | None:
        """Why a share ended; ``None`` when nobody said so, or it has been forgotten.

        :raises Unavailable: when Redis does not answer.
        """
        if self._link is not None:
            return End.read(await self._link.execute("GET", f"{self._prefix}{KEY}{share_id}"))
        end, until = self._own.get(share_id, (None, 0))
        return end if until > time.time() else None

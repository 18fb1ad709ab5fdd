"""What recorders are given, and the contract of the journals where it waits for them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from hashlib import blake2b
from typing import Protocol

import attrs

from atriz_realtime.api.model import EntityRef, Location
from atriz_realtime.api.wire import RedisChannels, decode_location

FIX_ID_BYTES = 16
"""The length of :attr:`RecordedFix.id`."""


@attrs.frozen
class RecordedFix:
    """An accepted fix, as recorders are given it."""

    id: bytes = attrs.field(repr=False)
    """16 bytes that are the same whenever this entity reports this location: see :meth:`id_of`.
    A fix that is given twice is known by it, and so is one that a device sends again."""
    entity: EntityRef
    """What reported it."""
    location: bytes
    """The location's JSON, as watchers are sent it: see :meth:`decoded`."""
    timestamp: int
    """When the device took the fix, in milliseconds since the epoch."""
    received: int
    """When the server accepted it, in milliseconds since the epoch."""
    publisher: str | None = None
    """The id of the user who sent it; ``None`` for a fix of the service's own."""
    throttled: bool = False
    """Whether the throttle kept it from being sent to watchers at once.  One that is held and
    sent when its window ends is flagged as well: this is written before that is known."""

    def decoded(self) -> Location:
        """The location.

        :raises RealtimeError: when another program has written something else to the journal.
        """
        return decode_location(self.location)

    @staticmethod
    def id_of(entity: EntityRef, location: bytes) -> bytes:
        """The id of a fix: BLAKE2b of the entity's channel, a zero byte and the location's JSON."""
        name = RedisChannels.entity(entity).encode(errors="surrogatepass")
        return blake2b(b"%b\0%b" % (name, location), digest_size=FIX_ID_BYTES).digest()


@attrs.frozen
class JournalEntry:
    """A fix that waits in a journal, and the name by which a recorder confirms it."""

    id: bytes
    """A name of the journal's own.  It differs from the fix's id: a fix that was appended twice
    has two entries."""
    fix: RecordedFix
    """What is to be written."""


class Journal(Protocol):
    """Keeps accepted fixes until every recorder has written them.

    It is opened with the names of the server's recorders, and keeps for each what it has not
    confirmed.  Servers that share a journal share the work: an entry is read by one of them at a
    time.  Methods that only queue work may be plain functions that return an awaitable: the core
    calls :meth:`append` beside the cache and the fan-out and awaits it afterwards, so that the
    queued commands share a round trip.

    It is bounded.  A journal that gives up what a recorder has not read counts that, and reports
    it.  It is also :class:`Measuring` and :class:`Reporting`, if there is anything to say.
    """

    def append(self, fix: RecordedFix) -> Awaitable[None]:
        """Keep a fix for every recorder.

        :raises Unavailable: when the backend cannot be reached.  The fix may have been appended.
        """

    def read(self, recorder: str, limit: int) -> Awaitable[Sequence[JournalEntry]]:
        """Return up to ``limit`` entries for a recorder, without waiting for more.

        They are entries that were not read for it before, the oldest first, and those that
        another server has read and, killed since, never confirmed.  Their order among each other
        is not promised.

        :raises Unavailable: when the backend cannot be reached.
        """

    def confirm(self, recorder: str, ids: Sequence[bytes]) -> Awaitable[None]:
        """Forget entries that a recorder has written; harmless if they are forgotten already.

        :raises Unavailable: when the backend cannot be reached.
        """

    def forget(self, entity: EntityRef) -> Awaitable[int]:
        """Remove an entity's entries for all recorders, and return how many there were.

        What a recorder has been given already is not taken from it.

        :raises Unavailable: when the backend cannot be reached.
        """

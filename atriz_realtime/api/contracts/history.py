"""The contract of what stores every fix, and finds those of an entity again."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

import attrs

from atriz_realtime.api.contracts.recording import RecordedFix
from atriz_realtime.api.model import EntityRef


@attrs.frozen(kw_only=True)
class HistoryQuery:
    """Which fixes of an entity to read."""

    entity: EntityRef
    """What reported them."""
    start: int
    """The first moment, by the device's clock, in milliseconds since the epoch."""
    end: int
    """The moment before which the last one was taken, in milliseconds since the epoch."""
    received_from: int | None = None
    """The moment from which the server must have received them, in milliseconds since the epoch;
    ``None``: whenever."""
    cursor: str | None = None
    """Where an earlier page ended: :attr:`HistoryPage.next_cursor`; ``None``: from ``start``."""
    limit: int = 1_000
    """Fixes of a page, at most."""
    simplify: float | None = None
    """Metres.  Of the fixes of the page, only those are returned that keep their line: no other is
    farther than this from it.  The first and the last are among them."""


@attrs.frozen
class HistoryPage:
    """A part of an entity's fixes."""

    fixes: Sequence[RecordedFix]
    """In the order of their timestamps, then of their ids."""
    next_cursor: str | None
    """The cursor of the next page; ``None`` on the last."""


@attrs.frozen(kw_only=True)
class HistoryScope:
    """Which fixes to forget: those that meet every condition that is given."""

    entity: EntityRef | None = None
    """What reported them."""
    user: str | None = None
    """Who published them, or on whose behalf they were reported."""
    entity_type: str | None = None
    """The entity type."""
    before: int | None = None
    """The moment before which they were taken, in milliseconds since the epoch.  Given with an
    entity type alone, it is for retention: fixes of the same UTC day may stay."""

    def __attrs_post_init__(self) -> None:
        if self.entity is None and self.user is None and self.entity_type is None:
            raise ValueError("a scope needs an entity, a user or an entity type")


@attrs.frozen(kw_only=True)
class HistoryStatus:
    """What a history has."""

    bytes: int
    """How large it is on disk."""
    oldest: str | None
    """The UTC day of the oldest fix, such as ``2026-01-31``; ``None`` without fixes."""
    newest: str | None
    """The UTC day of the newest."""
    entity_types: Sequence[str]
    """The entity types that have fixes."""


class HistoryBackend(Protocol):
    """Stores every fix once, and finds those of an entity again.

    Coordinates may be rounded to 1e-7 degrees, which is a centimetre; all else of a fix is returned
    as it was given.  Its numbers, if it is :class:`Measuring`, are an operator's.
    """

    def append(self, fixes: Sequence[RecordedFix]) -> Awaitable[None]:
        """Store fixes; one with the id of a stored fix of the same entity changes nothing.

        They are on the disk when it returns.  If it fails, some may be stored: give all again.

        :raises Unavailable: when the store cannot be reached.
        """

    def read(self, query: HistoryQuery) -> Awaitable[HistoryPage]:
        """Return a page of an entity's fixes, those that the throttle kept from watchers included.

        :raises InvalidRequest: for a cursor that no page had.
        :raises Unavailable: when the store cannot be reached.
        """

    def forget(self, scope: HistoryScope) -> Awaitable[int]:
        """Remove fixes for good, and return how many there were.

        If it fails halfway, call it again: it goes on where it was.

        :raises Unavailable: when the store cannot be reached.
        """

    def status(self) -> Awaitable[HistoryStatus]:
        """Return what is stored.

        :raises Unavailable: when the store cannot be reached.
        """

    async def aclose(self) -> None:
        """Release all resources; safe to call twice."""

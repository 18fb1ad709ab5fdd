"""The contract of journals, where fixes wait for recorders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from atriz_realtime.api import (
    EntityRef,
    Journal,
    JournalEntry,
    Measuring,
    RecordedFix,
    Unavailable,
)
from atriz_realtime.testing.samples import payload
from atriz_realtime.testing.serving import TIMEOUT

RECORDERS = ("one", "two")
"""The recorders that the journal under test is opened for."""

LIMIT = 20
"""Fixes that ``small_journal`` holds at least before it gives up the oldest; it may hold some
hundreds more."""

Outage = Callable[[], AbstractAsyncContextManager[None]]


def recorded_fix(
    entity_id: str = "v1",
    seconds: float = 0.0,
    *,
    kind: str = "vehicle",
    publisher: str | None = "u1",
    throttled: bool = False,
) -> RecordedFix:
    """A fix as recorders are given it, taken so many seconds after the time of a FakeClock."""
    fix = payload(entity_id, seconds, kind=kind)
    taken = round(1_000 * seconds)
    fix_id = RecordedFix.id_of(fix.entity, fix.location)
    return RecordedFix(fix_id, fix.entity, fix.location, taken, taken + 5, publisher, throttled)


def fixes_of(entries: Sequence[JournalEntry]) -> list[RecordedFix]:
    """The fixes of some entries."""
    return [entry.fix for entry in entries]


def ids_of(entries: Sequence[JournalEntry]) -> list[bytes]:
    """The ids by which some entries are confirmed."""
    return [entry.id for entry in entries]


class JournalContract:
    """The contract of a journal.

    Override ``journal``, one that is empty and opened for the recorders ``one`` and ``two``, and
    ``small_journal``, the same with room for twenty fixes; both close what they open.

    Example::

        class TestMyJournal(JournalContract):
            @pytest.fixture
            def journal(self):
                return MyJournal(RECORDERS)

            @pytest.fixture
            def small_journal(self):
                return MyJournal(RECORDERS, limit=20)
    """

    @pytest.fixture
    def journal(self) -> Journal:
        """An empty journal."""
        raise NotImplementedError("override the fixture `journal`")

    @pytest.fixture
    def small_journal(self) -> Journal:
        """An empty journal with room for twenty fixes."""
        raise NotImplementedError("override the fixture `small_journal`")

    async def test_every_recorder_reads_what_is_appended(self, journal: Journal) -> None:
        fixes = [
            recorded_fix("v1", 1),
            recorded_fix("飛行機 🚚", 2, publisher=None, throttled=True),
            recorded_fix("D-1", 3, kind="delivery", publisher=""),
        ]
        for fix in fixes:
            await journal.append(fix)
        for recorder in RECORDERS:
            assert fixes_of(await journal.read(recorder, 10)) == fixes

    async def test_an_empty_journal_is_read_at_once(self, journal: Journal) -> None:
        assert list(await journal.read("one", 10)) == []

    async def test_a_limit_is_kept_and_the_oldest_come_first(self, journal: Journal) -> None:
        fixes = [recorded_fix("v1", number) for number in range(5)]
        for fix in fixes:
            await journal.append(fix)
        first, second = await journal.read("one", 3), await journal.read("one", 3)
        assert fixes_of(first) + fixes_of(second) == fixes
        assert len(first) == 3

    async def test_what_is_read_is_not_read_again_at_once(self, journal: Journal) -> None:
        await journal.append(recorded_fix())
        assert len(await journal.read("one", 10)) == 1
        assert len(await journal.read("one", 10)) == 0

    async def test_what_one_recorder_confirms_waits_for_the_other(self, journal: Journal) -> None:
        fix = recorded_fix()
        await journal.append(fix)
        await journal.confirm("one", ids_of(await journal.read("one", 10)))
        await journal.append(recorded_fix("v2"))
        assert fixes_of(await journal.read("two", 10)) == [fix, recorded_fix("v2")]

    async def test_confirming_twice_or_the_unknown_is_harmless(self, journal: Journal) -> None:
        await journal.append(recorded_fix())
        ids = ids_of(await journal.read("one", 10))
        await journal.confirm("one", ids)
        await journal.confirm("one", ids)
        await journal.confirm("one", [])
        assert list(await journal.read("one", 10)) == []

    async def test_thousands_are_confirmed_in_one_call(self, journal: Journal) -> None:
        await asyncio.gather(*(journal.append(recorded_fix("v1", each)) for each in range(3_000)))
        entries = await journal.read("one", 10_000)
        assert len(entries) == 3_000
        await journal.confirm("one", ids_of(entries))
        assert list(await journal.read("one", 10)) == []

    async def test_a_fix_that_is_appended_twice_keeps_its_id(self, journal: Journal) -> None:
        await journal.append(recorded_fix())
        await journal.append(recorded_fix())
        first, second = await journal.read("one", 10)
        assert first.fix.id == second.fix.id == recorded_fix().id
        assert first.id != second.id

    async def test_what_was_confirmed_by_all_is_kept_no_longer(
        self, small_journal: Journal
    ) -> None:
        """The room is for what waits: ten times as many fixes go through without a loss."""
        for start in range(0, 1_000, 10):
            for number in range(start, start + 10):
                await small_journal.append(recorded_fix("v1", number))
            for recorder in RECORDERS:
                entries = await small_journal.read(recorder, 100)
                assert [each.timestamp // 1_000 for each in fixes_of(entries)] == list(
                    range(start, start + 10)
                )
                await small_journal.confirm(recorder, ids_of(entries))
        assert _lost(small_journal) == 0

    async def test_beyond_its_bound_the_oldest_are_lost_and_counted(
        self, small_journal: Journal
    ) -> None:
        total = 1_000
        for number in range(total):
            await small_journal.append(recorded_fix("v1", number))
        read: list[RecordedFix] = []
        while entries := await small_journal.read("one", 100):
            read += fixes_of(entries)
        assert LIMIT <= len(read) < total
        assert read[-1] == recorded_fix("v1", total - 1)
        assert [each.timestamp // 1_000 for each in read] == list(range(total - len(read), total))
        await small_journal.read("two", 1)
        assert _lost(small_journal) == 2 * (total - len(read))

    async def test_forgetting_an_entity_removes_what_waits_of_it(self, journal: Journal) -> None:
        for name in ("v1", "v2", "v1", "v3"):
            await journal.append(recorded_fix(name))
        assert await journal.forget(EntityRef("vehicle", "v1")) == 2
        assert await journal.forget(EntityRef("vehicle", "v1")) == 0
        for recorder in RECORDERS:
            left = [each.entity.id for each in fixes_of(await journal.read(recorder, 10))]
            assert left == ["v2", "v3"]
        assert _lost(journal) == 0

    async def test_an_entity_that_is_forgotten_does_not_hold_up_the_others(
        self, journal: Journal
    ) -> None:
        await journal.append(recorded_fix("v1"))
        entries = await journal.read("one", 10)
        await journal.forget(EntityRef("vehicle", "v1"))
        await journal.confirm("one", ids_of(entries))
        await journal.append(recorded_fix("v2"))
        for recorder in RECORDERS:
            assert fixes_of(await journal.read(recorder, 10)) == [recorded_fix("v2")]


class SharedJournalContract(JournalContract):
    """The contract of a journal that several servers share, in addition to the general one.

    Besides those of :class:`JournalContract`, override ``other_journal``, the journal of another
    server on the same store; ``outage``, which cuts ``journal`` off from it; and ``short_claims``,
    which shortens the time until what a killed server has read is given to another one.
    """

    @pytest.fixture
    def other_journal(self, journal: Journal) -> Journal:
        """The journal of another server on the same store."""
        raise NotImplementedError("override the fixture `other_journal`")

    @pytest.fixture
    def outage(self) -> Outage:
        """Cuts the journal off from its store while the context lasts."""
        raise NotImplementedError("override the fixture `outage`")

    @pytest.fixture
    def short_claims(self) -> None:
        """Shortens the time until entries that were read and not confirmed are read again."""
        raise NotImplementedError("override the fixture `short_claims`")

    async def test_servers_share_the_work(self, journal: Journal, other_journal: Journal) -> None:
        fixes = [recorded_fix("v1", number) for number in range(10)]
        for fix in fixes:
            await journal.append(fix)
        first, second = await journal.read("one", 5), await other_journal.read("one", 10)
        assert fixes_of(first) + fixes_of(second) == fixes
        assert len(first) == 5
        await other_journal.confirm("one", ids_of(second))
        await journal.confirm("one", ids_of(first))
        assert fixes_of(await other_journal.read("two", 10)) == fixes

    @pytest.mark.usefixtures("short_claims")
    async def test_what_a_killed_server_has_read_is_read_by_another(
        self, journal: Journal, other_journal: Journal
    ) -> None:
        fixes = [recorded_fix("v1", number) for number in range(3)]
        for fix in fixes:
            await journal.append(fix)
        confirmed, *left = await journal.read("one", 10)
        await journal.confirm("one", [confirmed.id])
        found: list[JournalEntry] = []
        async with asyncio.timeout(TIMEOUT):
            while len(found) < 2:
                found += await other_journal.read("one", 10)
                await asyncio.sleep(0.01)
        assert fixes_of(found) == fixes[1:]
        await other_journal.confirm("one", ids_of(found))
        await journal.confirm("one", ids_of(left))  # it was stopped for a while, not killed

    async def test_an_outage_is_survived(self, journal: Journal, outage: Outage) -> None:
        await journal.append(recorded_fix("v1"))
        async with outage(), asyncio.timeout(TIMEOUT):
            for refused in (
                journal.append(recorded_fix("v2")),
                journal.read("one", 10),
                journal.confirm("one", [b"1-1"]),
                journal.forget(EntityRef("vehicle", "v1")),
            ):
                with pytest.raises(Unavailable):
                    await refused
        found: list[JournalEntry] = []

        async def is_read() -> bool:
            try:
                found.extend(await journal.read("one", 10))
            except Unavailable:
                return False
            return bool(found)

        async with asyncio.timeout(TIMEOUT):
            while not await is_read():
                await asyncio.sleep(0.01)
        assert found[0].fix == recorded_fix("v1")


def _lost(journal: Journal) -> float:
    assert isinstance(journal, Measuring), "a journal that gives up fixes counts them"
    return journal.statistics()["lost"]

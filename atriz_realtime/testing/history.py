"""The contract of history backends, which store every fix."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from atriz_realtime.api import (
    EntityRef,
    HistoryBackend,
    HistoryQuery,
    HistoryScope,
    InvalidRequest,
    RecordedFix,
    encode,
)
from atriz_realtime.testing.clock import START
from atriz_realtime.testing.samples import event

ORIGIN = round(1_000 * START)
"""The time of a :class:`FakeClock`, in milliseconds."""

DAY = 86_400.0

METRES_PER_DEGREE = 111_195.0
"""Of a meridian, on a sphere of 6,371,009 metres."""


def past_fix(
    entity_id: str = "v1",
    seconds: float = 0.0,
    *,
    kind: str = "vehicle",
    publisher: str | None = "u1",
    throttled: bool = False,
    **fields: Any,
) -> RecordedFix:
    """A fix that was taken so many seconds after the time of a FakeClock; ``fields`` as JSON."""
    fix = encode(event(entity_id, seconds, kind=kind, **fields))
    taken = ORIGIN + round(1_000 * seconds)
    fix_id = RecordedFix.id_of(fix.entity, fix.location)
    return RecordedFix(fix_id, fix.entity, fix.location, taken, taken + 5, publisher, throttled)


def all_of(
    entity_id: str = "v1", *, kind: str = "vehicle", limit: int = 1_000, **changes: Any
) -> HistoryQuery:
    """The query for everything that an entity has reported."""
    far = 10 * round(1_000 * 365 * DAY)
    entity = EntityRef(kind, entity_id)
    query = HistoryQuery(entity=entity, start=ORIGIN - far, end=ORIGIN + far, limit=limit)
    return attrs.evolve(query, **changes)


class HistoryContract:
    """The contract of a history backend.

    Override ``history``, an empty one, and close what it opens.

    Example::

        class TestMyHistory(HistoryContract):
            @pytest.fixture
            async def history(self, tmp_path):
                history = await MyHistory.open(tmp_path)
                yield history
                await history.aclose()
    """

    @pytest.fixture
    def history(self) -> HistoryBackend:
        """An empty history."""
        raise NotImplementedError("override the fixture `history`")

    async def test_fixes_are_returned_as_they_were_given(self, history: HistoryBackend) -> None:
        fixes = [
            past_fix("v1", 1),
            past_fix("v1", 2.345, publisher=None, throttled=True, latitude=-90, longitude=180),
            past_fix("v1", 3, publisher="", latitude=-0.0000001, longitude=0.0000005),
            past_fix("v1", 4, device_id="d", user_id="ü 🚚"),
            past_fix(
                *("v1", 5),
                speed=65.25,
                heading=0,
                accuracy=10,
                altitude=-12.5,
                metadata={"timestamp": "x", "a": {"b": [1, None, 'q"\\']}, "latitude": 1},
            ),
        ]
        await history.append(fixes)
        page = await history.read(all_of())
        assert list(page.fixes) == fixes
        assert page.next_cursor is None

    async def test_an_entity_without_fixes_has_an_empty_page(self, history: HistoryBackend) -> None:
        page = await history.read(all_of())
        assert (list(page.fixes), page.next_cursor) == ([], None)

    async def test_coordinates_are_exact_to_a_centimetre(self, history: HistoryBackend) -> None:
        fix = past_fix(latitude=52.66381234567891, longitude=-8.62671234567891)
        await history.append([fix])
        (found,) = (await history.read(all_of())).fixes
        decoded, given = found.decoded(), fix.decoded()
        assert math.isclose(decoded.latitude, given.latitude, abs_tol=1e-7)
        assert math.isclose(decoded.longitude, given.longitude, abs_tol=1e-7)
        assert found.id == fix.id

    async def test_a_fix_that_is_given_twice_is_stored_once(self, history: HistoryBackend) -> None:
        fix, other = past_fix("v1", 1), past_fix("v1", 2)
        await history.append([fix, other, fix])
        await history.append([attrs.evolve(fix, received=fix.received + 86_400_000)])
        await asyncio.gather(*(history.append([fix, other]) for _ in range(5)))
        assert list((await history.read(all_of())).fixes) == [fix, other]

    async def test_two_fixes_of_one_moment_are_both_stored(self, history: HistoryBackend) -> None:
        fixes = [past_fix("v1", 1, speed=speed) for speed in (1, 2, 3)]
        await history.append(fixes)
        found = list((await history.read(all_of())).fixes)
        assert found == sorted(fixes, key=lambda fix: fix.id)

    async def test_fixes_are_in_the_order_of_time(self, history: HistoryBackend) -> None:
        times = [3 * DAY, 5, 2, DAY, 9, 2 * DAY]
        for seconds in times:
            await history.append([past_fix("v1", seconds)])
        found = (await history.read(all_of())).fixes
        assert found == [past_fix("v1", seconds) for seconds in sorted(times)]

    async def test_entities_are_apart(self, history: HistoryBackend) -> None:
        fixes = [past_fix("v1"), past_fix("v2"), past_fix("V1"), past_fix("v1", kind="delivery")]
        await history.append(fixes)
        assert list((await history.read(all_of("v2"))).fixes) == [fixes[1]]
        assert list((await history.read(all_of("V1"))).fixes) == [fixes[2]]
        assert list((await history.read(all_of("v1", kind="delivery"))).fixes) == [fixes[3]]

    async def test_the_start_is_included_and_the_end_is_not(self, history: HistoryBackend) -> None:
        fixes = [past_fix("v1", seconds) for seconds in (0, 1, 2, 3)]
        await history.append(fixes)
        between = all_of(start=ORIGIN + 1_000, end=ORIGIN + 3_000)
        assert list((await history.read(between)).fixes) == fixes[1:3]

    async def test_what_was_received_before_a_moment_is_left_out(
        self, history: HistoryBackend
    ) -> None:
        old = past_fix("v1", 2)
        late = attrs.evolve(past_fix("v1", 1), received=ORIGIN + 60_000)
        await history.append([old, late])
        page = await history.read(all_of(received_from=ORIGIN + 60_000))
        assert list(page.fixes) == [late]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    async def test_pages_join_without_gaps_and_overlaps(
        self, history: HistoryBackend, limit: int
    ) -> None:
        times = [0, 0, 0, 1, DAY - 43_200, DAY, DAY, 40 * DAY]
        fixes = [past_fix("v1", at, speed=number) for number, at in enumerate(times)]
        await history.append(fixes)
        found: list[RecordedFix] = []
        cursor: str | None = None
        for count in itertools.count(1):
            page = await history.read(all_of(limit=limit, cursor=cursor))
            assert len(page.fixes) <= limit
            found += page.fixes
            cursor = page.next_cursor
            if cursor is None:
                break
            assert page.fixes, "a page with a next one is not empty"
            assert count <= len(fixes)
        assert found == sorted(fixes, key=lambda fix: (fix.timestamp, fix.id))

    @pytest.mark.parametrize("cursor", ["", "x", "1", "1:zz", "-:00", "1:" + "00" * 16 + "0", "é"])
    async def test_an_unknown_cursor_is_refused(self, history: HistoryBackend, cursor: str) -> None:
        await history.append([past_fix()])
        with pytest.raises(InvalidRequest, match="cursor"):
            await history.read(all_of(cursor=cursor))

    async def test_a_simplified_line_has_its_ends_and_corners(
        self, history: HistoryBackend
    ) -> None:
        """Twenty fixes north, twenty east, with less than a metre of noise."""
        fixes = _corner()
        await history.append(fixes)
        found = (await history.read(all_of(simplify=10))).fixes
        assert list(found) == [fixes[0], fixes[19], fixes[-1]]
        assert list((await history.read(all_of(simplify=0.001))).fixes) == fixes

    async def test_simplified_pages_join_too(self, history: HistoryBackend) -> None:
        fixes = _corner()
        await history.append(fixes)
        first = await history.read(all_of(simplify=10, limit=30))
        assert list(first.fixes) == [fixes[0], fixes[19], fixes[29]]
        rest = await history.read(all_of(simplify=10, limit=30, cursor=first.next_cursor))
        assert list(rest.fixes) == [fixes[30], fixes[-1]]
        assert rest.next_cursor is None

    async def test_an_entity_is_forgotten(self, history: HistoryBackend) -> None:
        gone = [past_fix("v1", seconds) for seconds in (0, 1, DAY)]
        kept = [past_fix("v2"), past_fix("v1", kind="delivery")]
        await history.append(gone + kept)
        scope = HistoryScope(entity=EntityRef("vehicle", "v1"))
        assert await history.forget(scope) == 3
        assert await history.forget(scope) == 0
        assert list((await history.read(all_of())).fixes) == []
        assert list((await history.read(all_of("v2"))).fixes) == kept[:1]
        assert list((await history.read(all_of("v1", kind="delivery"))).fixes) == kept[1:]

    async def test_a_user_is_forgotten(self, history: HistoryBackend) -> None:
        gone = [
            past_fix("v1", 1, publisher="gone"),
            past_fix("v1", 2, user_id="gone"),
            past_fix("d1", 3, kind="delivery", publisher="gone", user_id="gone"),
        ]
        kept = [past_fix("v1", 4), past_fix("v1", 5, publisher=None, device_id="gone")]
        await history.append(gone + kept)
        assert await history.forget(HistoryScope(user="gone")) == 3
        assert await history.forget(HistoryScope(user="nobody")) == 0
        assert list((await history.read(all_of())).fixes) == kept

    async def test_conditions_of_a_scope_are_combined(self, history: HistoryBackend) -> None:
        fixes = [past_fix("v1", 1, publisher="a"), past_fix("v1", 2, publisher="b")]
        fixes += [past_fix("v2", 1, publisher="a"), past_fix("v1", 3, publisher="a")]
        await history.append(fixes)
        entity = EntityRef("vehicle", "v1")
        scope = HistoryScope(entity=entity, user="a", before=ORIGIN + 3_000)
        assert await history.forget(scope) == 1
        assert list((await history.read(all_of())).fixes) == [fixes[1], fixes[3]]
        assert list((await history.read(all_of("v2"))).fixes) == [fixes[2]]

    async def test_retention_removes_the_days_of_one_type(self, history: HistoryBackend) -> None:
        fixes = [past_fix("v1", day * DAY) for day in (-3, -2, -1, 0)]
        other = past_fix("v1", -3 * DAY, kind="delivery")
        await history.append([*fixes, other])
        before = ORIGIN - round(1_000 * DAY)
        assert await history.forget(HistoryScope(entity_type="vehicle", before=before)) == 2
        assert list((await history.read(all_of())).fixes) == fixes[2:]
        assert list((await history.read(all_of("v1", kind="delivery"))).fixes) == [other]
        await history.append(fixes[:1])
        assert len((await history.read(all_of())).fixes) == 3

    async def test_the_status_names_the_days(self, history: HistoryBackend) -> None:
        empty = await history.status()
        assert (empty.oldest, empty.newest) == (None, None)
        await history.append([past_fix("v1", 0), past_fix("d1", DAY, kind="delivery")])
        status = await history.status()
        assert status.oldest is not None
        assert status.newest is not None
        assert status.oldest < status.newest
        assert sorted(status.entity_types) == ["delivery", "vehicle"]
        assert status.bytes > 0

    async def test_thousands_are_stored_and_read_in_one_call(self, history: HistoryBackend) -> None:
        fixes = [past_fix(f"v{number % 50}", number) for number in range(5_000)]
        await history.append(fixes)
        assert list((await history.read(all_of("v7"))).fixes) == fixes[7::50]

    async def test_it_may_be_closed_twice(self, history: HistoryBackend) -> None:
        await history.append([past_fix()])
        await history.aclose()
        await history.aclose()


def _corner() -> Sequence[RecordedFix]:
    """Nineteen steps of 50 metres north from 52° N, then twenty east."""
    metre = 1 / METRES_PER_DEGREE
    noise = (0.0, 0.4, -0.3, 0.2)
    points = [(50.0 * step, noise[step % 4] * (0 < step < 19)) for step in range(20)]
    points += [(950 + noise[step % 4] * (step < 20), 50.0 * step) for step in range(1, 21)]
    shrink = math.cos(math.radians(52))
    return [
        past_fix(
            *("v1", number),
            latitude=round(52 + north * metre, 7),
            longitude=round(east * metre / shrink, 7),
        )
        for number, (north, east) in enumerate(points)
    ]

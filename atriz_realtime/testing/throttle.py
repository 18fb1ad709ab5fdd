"""The contract of throttle policies."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

import attrs
import pytest

from atriz_realtime.api import Clock, EntityRef, ThrottlePolicy, Verdict
from atriz_realtime.testing.clock import START, FakeClock
from atriz_realtime.testing.samples import location

MakePolicy = Callable[[Clock], ThrottlePolicy]
"""``Callable[[Clock], ThrottlePolicy]``: makes a new policy that uses a clock."""

LONG_RUN = 2_000
"""Fixes in a long schedule."""

LEAP = 3_600
"""Seconds by which the clocks of the process leap with each fix, where no policy may notice."""


class LeapingClock(FakeClock):
    """A clock beside which those of the process go much faster.

    The event loop does not notice: its timers, and those of a policy's client, go on as before.
    """

    def __init__(self, now: float, patches: pytest.MonkeyPatch) -> None:
        super().__init__(now)
        self._leapt = 0
        loop = asyncio.get_running_loop()
        with contextlib.suppress(AttributeError):  # uvloop has a clock of its own
            patches.setattr(loop, "time", time.monotonic)
        for name in ("time", "monotonic", "perf_counter"):
            self._patch(patches, name, 1)
            self._patch(patches, f"{name}_ns", 1_000_000_000)

    def _patch(self, patches: pytest.MonkeyPatch, name: str, ticks: int) -> None:
        real = getattr(time, name)
        patches.setattr(time, name, lambda: real() + self._leapt * ticks)

    def advance(self, seconds: float) -> None:
        """Move both clocks forward, and those of the process much further."""
        super().advance(seconds)
        self._leapt += LEAP


@attrs.frozen
class Fix:
    """One reported position in a schedule."""

    at: float
    """Seconds since the schedule began."""
    entity_id: str
    number: int


@attrs.frozen
class Outcome:
    """The result of replaying a schedule."""

    verdicts: list[Verdict]
    """In the order of the fixes."""
    sent: dict[str, list[tuple[float, int]]]
    """For each entity, the fixes sent to watchers: when, and their numbers."""


def schedule(seed: int, *, entities: int, pace: float, length: int = LONG_RUN) -> list[Fix]:
    """A reproducible schedule of fixes.

    All times are binary fractions, so that rounding does not matter at the edge of a window.

    :param entities: the number of entities, a power of two.
    :param pace: approximate seconds between two fixes of an entity, a power of two.
    """
    chance = random.Random(seed)
    at = 0.0
    fixes = []
    for number in range(length):
        fixes.append(Fix(at, f"v{chance.randrange(entities)}", number))
        # bursts at one instant, a steady stream, and occasionally a long pause
        at += chance.choice([0.0, pace / entities, 2 * pace / entities, 8 * pace / entities])
    return fixes


async def replay(policy: ThrottlePolicy, clock: FakeClock, fixes: Sequence[Fix]) -> Outcome:
    """Ask a policy about each fix of a schedule, and send fixes as the core would.

    A held fix replaces the one held before it, and is sent when its delay is over; a fix that
    passes discards the held one.
    """
    verdicts: list[Verdict] = []
    sent: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    held: dict[str, tuple[float, int]] = {}
    now = 0.0

    def release(until: float) -> None:
        for entity_id, due in list(held.items()):
            if due[0] <= until:
                sent[entity_id].append(held.pop(entity_id))

    for fix in fixes:
        clock.advance(fix.at - now)
        now = fix.at
        release(now)
        verdict = await policy.admit(EntityRef("vehicle", fix.entity_id), location(fix.at))
        verdicts.append(verdict)
        if verdict.outcome == "hold":
            held[fix.entity_id] = (now + verdict.delay, fix.number)
        elif verdict.outcome == "pass":
            held.pop(fix.entity_id, None)
            sent[fix.entity_id].append((now, fix.number))
    release(math.inf)
    return Outcome(verdicts, dict(sent))


@pytest.mark.asyncio
class ThrottleContract:
    """The contract of :class:`~atriz_realtime.api.ThrottlePolicy`, as tests.

    Name a subclass ``Test…`` and override the fixture ``make_policy``.  ``pace`` is about how many
    seconds pass between two fixes of an entity: 0.25, or another power of two.

    Example::

        class TestMyPolicy(ThrottleContract):
            @pytest.fixture
            def make_policy(self):
                return MyPolicy
    """

    pace = 0.25
    """Approximate seconds between two fixes of an entity in the schedules, a power of two."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The clock of the policy."""
        return FakeClock()

    @pytest.fixture
    def make_policy(self) -> MakePolicy:
        """A function that makes the policy to test."""
        raise NotImplementedError("override the fixture `make_policy`")

    @pytest.fixture
    def policy(self, make_policy: MakePolicy, clock: FakeClock) -> ThrottlePolicy:
        """A new policy."""
        return make_policy(clock)

    @pytest.mark.parametrize("seed", range(3))
    async def test_verdicts_are_well_formed(
        self, policy: ThrottlePolicy, clock: FakeClock, seed: int
    ) -> None:
        outcome = await replay(policy, clock, schedule(seed, entities=4, pace=self.pace))
        for verdict in outcome.verdicts:
            assert isinstance(verdict, Verdict)
            assert verdict.outcome in ("pass", "drop", "hold")
            assert math.isfinite(verdict.delay)
            assert verdict.delay >= 0
            assert verdict.delay == 0 or verdict.outcome == "hold"

    @pytest.mark.parametrize("seed", range(3))
    async def test_the_clock_and_the_fixes_alone_decide(
        self, make_policy: MakePolicy, seed: int
    ) -> None:
        fixes = schedule(seed, entities=4, pace=self.pace)
        clock = FakeClock(0.0)
        first = await replay(make_policy(clock), clock, fixes)
        with pytest.MonkeyPatch.context() as patches:
            clock = LeapingClock(0.0, patches)
            clock.advance(START)  # the monotonic clock starts elsewhere as well
            second = await replay(make_policy(clock), clock, fixes)
        same = first == second
        assert same, (
            "the same fixes at another time have another outcome;"
            " does the policy read a clock other than the one that it is given?"
        )

    async def test_fixes_of_one_entity_go_out_in_order(
        self, policy: ThrottlePolicy, clock: FakeClock
    ) -> None:
        outcome = await replay(policy, clock, schedule(7, entities=4, pace=self.pace))
        for sent in outcome.sent.values():
            assert sent == sorted(sent)
            assert len({number for _, number in sent}) == len(sent)


class IntervalThrottleContract(ThrottleContract):
    """The contract of a policy that sends at most one fix of an entity per interval.

    Besides ``make_policy``, set ``interval``: the seconds between two updates, 1.0 by default.
    """

    interval = 1.0
    """The interval of the policy in seconds."""

    @pytest.mark.parametrize("seed", range(5))
    async def test_updates_of_an_entity_are_an_interval_apart(
        self, policy: ThrottlePolicy, clock: FakeClock, seed: int
    ) -> None:
        outcome = await replay(policy, clock, schedule(seed, entities=4, pace=self.pace))
        for sent in outcome.sent.values():
            assert len(sent) > 1
            for (earlier, _), (later, _) in pairwise(sent):
                apart = later - earlier
                assert apart >= self.interval - 1e-6, (
                    f"two updates were {apart:g} s apart: a fix that is held goes out when its "
                    "delay is over, without another call of admit, and begins an interval, too"
                )

    @pytest.mark.parametrize("seed", range(5))
    async def test_the_first_fix_of_each_entity_passes(
        self, policy: ThrottlePolicy, clock: FakeClock, seed: int
    ) -> None:
        fixes = schedule(seed, entities=16, pace=self.pace)
        outcome = await replay(policy, clock, fixes)
        seen: set[str] = set()
        for fix, verdict in zip(fixes, outcome.verdicts, strict=True):
            assert fix.entity_id in seen or verdict.outcome == "pass"
            seen.add(fix.entity_id)

    @pytest.mark.parametrize("seed", range(5))
    async def test_entities_do_not_affect_each_other(
        self, make_policy: MakePolicy, seed: int
    ) -> None:
        fixes = schedule(seed, entities=4, pace=self.pace)
        clock = FakeClock()
        together = await replay(make_policy(clock), clock, fixes)
        for entity_id, sent in together.sent.items():
            clock = FakeClock()
            own = [fix for fix in fixes if fix.entity_id == entity_id]
            alone = await replay(make_policy(clock), clock, own)
            assert [number for _, number in alone.sent[entity_id]] == [number for _, number in sent]

    async def test_a_fix_after_a_silent_interval_passes_at_once(
        self, policy: ThrottlePolicy, clock: FakeClock
    ) -> None:
        # the second fix of a pair starts an interval, and another if it was held
        fixes = []
        for number in range(0, 40, 2):
            at = number * 1.5 * self.interval
            fixes += [Fix(at, "v1", number), Fix(at + self.interval / 4, "v1", number + 1)]
        outcome = await replay(policy, clock, fixes)
        assert [verdict.outcome for verdict in outcome.verdicts[::2]] == ["pass"] * 20

    async def test_a_fix_exactly_at_the_end_of_the_interval_is_not_dropped(
        self, policy: ThrottlePolicy, clock: FakeClock
    ) -> None:
        fixes = [Fix(number * self.interval, "v1", number) for number in range(10)]
        outcome = await replay(policy, clock, fixes)
        assert [verdict.outcome for verdict in outcome.verdicts] == ["pass"] * 10

    async def test_a_stream_is_not_starved(self, policy: ThrottlePolicy, clock: FakeClock) -> None:
        fixes = [Fix(number * self.interval / 16, "v1", number) for number in range(16 * 20)]
        outcome = await replay(policy, clock, fixes)
        assert 20 <= len(outcome.sent["v1"]) <= 21

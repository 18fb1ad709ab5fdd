"""The bounded store of values that expire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atriz_realtime_ratelimit.memory import Memory

WRITES = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 5), st.integers(1, 10)), max_size=60
)
"""An id, the time since the last write, and the lifetime."""


@given(writes=WRITES)
def test_values_are_stored_until_they_expire(writes: list[tuple[str, int, int]]) -> None:
    memory: Memory[int] = Memory()
    expected: dict[str, tuple[int, int]] = {}
    now = 0
    for value, (entity_id, later, lifetime) in enumerate(writes):
        now += later
        memory.put(entity_id, value, until=now + lifetime, now=now)
        expected[entity_id] = (value, now + lifetime)
        for known, (held, until) in expected.items():
            assert memory.get(known, now) == (held if until > now else None)


@given(writes=WRITES, most=st.integers(1, 8))
def test_the_size_is_bounded(writes: list[tuple[str, int, int]], most: int) -> None:
    memory: Memory[int] = Memory(most)
    now = 0
    for value, (entity_id, later, lifetime) in enumerate(writes):
        now += later
        memory.put(entity_id, value, until=now + lifetime, now=now)
        assert len(memory) <= most
        assert memory.get(entity_id, now) == value


def test_later_writes_remove_expired_values() -> None:
    memory: Memory[None] = Memory()
    for number in range(1_000):
        memory.put(f"v{number}", None, until=number, now=0)
    assert len(memory) == 999  # v0 had expired when it was written
    assert not memory.put("last", None, until=2_000, now=500)
    assert len(memory) == 500


def test_the_oldest_value_makes_room() -> None:
    memory: Memory[int] = Memory(3)
    for now, entity_id in enumerate("abacd"):
        assert memory.put(entity_id, now, until=10, now=now) is (entity_id == "d")
    assert [memory.get(entity_id, 5) for entity_id in "abcd"] == [2, None, 3, 4]

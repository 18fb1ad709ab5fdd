"""Commands of a cluster follow one redirection.

``tests/faults/test_cluster.py`` moves slots of a real cluster; here each answer is chosen.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import attrs
import pytest
from redis.exceptions import AskError, MovedError

from atriz_realtime.api import Unavailable
from atriz_realtime.redis_link import make_link

KEY = "location:current:vehicle:v1"
HERE, THERE = "127.0.0.1:7000", "127.0.0.1:7001"


@attrs.define
class Node:
    """A node that answers with the same each time."""

    name: str
    answer: Any = b"OK"
    asked: list[tuple[Any, ...]] = attrs.field(factory=list)

    def execute(self, *command: Any) -> Awaitable[Any]:
        self.asked.append(command)
        return self._answered()

    def evaluate(self, script: str, keys: Any, arguments: Any) -> Awaitable[Any]:
        return self.execute("EVALSHA", keys, arguments)

    async def _answered(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Cluster:
    """A link to two nodes, of which the first has the key."""

    def __init__(self, answer: Any = b"OK") -> None:
        link: Any = make_link("redis+cluster://127.0.0.1:7000", lambda *_, **__: None)
        self.link = link
        self.here, self.there = Node(HERE, answer), Node(THERE)
        self.link._pipes = {node.name: node for node in (self.here, self.there)}
        self.keys: list[str] = []
        self.link._node_of = self._node_of

    def _node_of(self, key: str) -> Node:
        self.keys.append(key)
        return self.here


async def test_a_command_goes_to_the_node_of_its_key() -> None:
    cluster = Cluster()
    assert await cluster.link.execute("GET", KEY) == b"OK"
    for name in ("EVAL", "EVALSHA"):
        assert await cluster.link.execute(name, "return 1", 1, KEY, "x") == b"OK"
    assert cluster.keys == [KEY] * 3
    assert not cluster.there.asked
    assert not cluster.link._stale.is_set()


async def test_a_key_that_has_moved_is_followed_and_the_topology_read_again() -> None:
    cluster = Cluster(MovedError(f"1 {THERE}"))
    assert await cluster.link.execute("GET", KEY) == b"OK"
    assert await cluster.link.evaluate("return 1", (KEY,), ("x", 2)) == b"OK"
    assert cluster.there.asked == [("GET", KEY), ("EVAL", "return 1", 1, KEY, "x", 2)]
    assert cluster.link._stale.is_set()


async def test_a_key_that_is_moving_is_asked_for() -> None:
    cluster = Cluster(AskError(f"1 {THERE}"))
    assert await cluster.link.evaluate("return 1", (KEY,), ()) == b"OK"
    assert cluster.there.asked == [("ASKING",), ("EVAL", "return 1", 1, KEY)]
    assert not cluster.link._stale.is_set()


async def test_a_redirection_to_an_unknown_node() -> None:
    cluster = Cluster(MovedError("1 127.0.0.1:7002"))
    with pytest.raises(Unavailable, match="not known yet"):
        await cluster.link.execute("GET", KEY)


async def test_a_key_without_a_node() -> None:
    cluster = Cluster()
    cluster.link._pipes.clear()
    with pytest.raises(Unavailable, match="no node"):
        await cluster.link.execute("GET", KEY)
    with pytest.raises(Unavailable, match="no node"):
        await cluster.link.evaluate("return 1", (KEY,), ())
    assert cluster.link._stale.is_set()

"""Coroutines of which the first step is taken at once."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Outside:
    """Whether the code that runs now was begun without a task."""

    now = False


class EagerCoroutine(Generic[T]):
    """What is left of an awaitable after its first step.

    :param steps: the generator behind it.
    :param waits_for: what its first step waits for.
    """

    def __init__(self, steps: Generator[Any, Any, T], waits_for: Any) -> None:
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        waits_for = self._waits_for
        while True:
            sent: Any = None
            thrown: BaseException | None = None
            try:
                sent = yield waits_for
            except BaseException as error:  # handed on to the work
                thrown = error
            try:
                waits_for = self._step(sent, thrown)
            except StopIteration as end:
                result: T = end.value
                return result

    def _step(self, sent: Any, thrown: BaseException | None) -> Any:
        """Take one more step; returns what it waits for."""
        return self._steps.send(sent) if thrown is None else self._steps.throw(thrown)


def begin(coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Run a coroutine up to where it first waits, without a task; returns what is left.

    It must not count on :func:`asyncio.current_task` before it waits: code of our own may
    be begun like this, a plugin's may not.
    """
    steps = coroutine.__await__()
    Outside.now = True
    try:
        waits_for = steps.send(None)
    except StopIteration:
        return None
    finally:
        Outside.now = False
    return EagerCoroutine(steps, waits_for)

"""Coroutines of which the first step is taken at once."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from typing import Any


class Outside:
    """Whether the code that runs now was begun without a task."""

    now = False


class _Begun:
    """What is left of a coroutine after its first step."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while True:
            sent: Any = None
            thrown: BaseException | None = None
            try:
                sent = yield waits_for
            except BaseException as error:  # handed on to the coroutine
                thrown = error
            try:
                if thrown is None:
                    waits_for = self._coroutine.send(sent)
                else:
                    waits_for = self._coroutine.throw(thrown)
            except StopIteration:
                return


def begin(coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Run a coroutine up to where it first waits, without a task; returns what is left.

    It must not count on :func:`asyncio.current_task` before it waits: code of our own may
    be begun like this, a plugin's may not.
    """
    Outside.now = True
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return None
    finally:
        Outside.now = False
    return _Begun(coroutine, waits_for)

"""Starting once and closing once, whoever asks and however often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.core.runtime.incidents import Incidents

CLOSE_STEP_TIMEOUT = 3.0
"""Seconds that a step of closing may take, unless it has time limits of its own."""

RUNS_ELSEWHERE = (
    "the RealtimeServer belongs to the event loop in which it has started, and that one is still "
    "open: from a thread, such as that of a plain def endpoint, call it with "
    "anyio.from_thread.run; otherwise make a new application for each event loop, for example in a "
    "function; tests that share an application need the loop_scope of the fixture that serves it"
)
"""What is said to a caller from another event loop, which would wait for ever."""

ENDED = (
    "the RealtimeServer has started in an event loop that has ended, and its connections to Redis "
    "with it: start, call and close it in one event loop; from code without one, keep a loop in a "
    "thread and call asyncio.run_coroutine_threadsafe"
)
"""What is said to a caller whose fixes would reach no other server."""

Step = tuple[str, Callable[[], Awaitable[None]], float | None]
"""What is closed, for the log; how; seconds that it may take."""


class Lifecycle:
    """The start and the end of a server.

    :param open: opens everything, to be closed with the stack that it is given.
    :param first_steps: returns the steps of draining.
    :param finish: the next step of closing, while everything is open still; it has limits of its
        own.
    :param redis_url: where it connects to, if anywhere: connections end with their event loop.
    """

    def __init__(
        self,
        open: Callable[[AsyncExitStack], Awaitable[None]],  # noqa: A002
        first_steps: Callable[[], Iterable[Step]],
        finish: Callable[[], Awaitable[None]],
        clock: Clock,
        incidents: Incidents,
        redis_url: str | None = None,
    ) -> None:
        self._connects = redis_url is not None
        self._open = open
        self._first_steps = first_steps
        self._finish = finish
        self._clock = clock
        self._incidents = incidents
        self._opened = AsyncExitStack()
        self._starting: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_leaving = False
        self.started_at: float | None = None
        """When it had started, in seconds of the monotonic clock."""

    @property
    def is_closed(self) -> bool:
        """Whether the last steps have begun: while it drains, what is open stays so."""
        return self._closing is not None

    @property
    def is_closing(self) -> bool:
        """Whether it is being closed, or is closed."""
        return self._draining is not None or self._closing is not None

    @property
    def is_leaving(self) -> bool:
        """Whether it is about to be closed, is being closed, or is closed."""
        return self._is_leaving or self.is_closing

    def leave(self) -> None:
        """Take note that it is about to be closed; nothing else changes."""
        self._is_leaving = True

    async def start(self) -> None:
        """Open everything; the first call does it, the others wait for it.

        What is open already is closed again when something cannot be opened.

        :raises RuntimeError: when it has started in another event loop.
        """
        self._check_loop()
        if self.started_at is not None:
            self._check_connections()
            return
        if self._starting is None or self._starting.cancelled():  # its event loop ended
            self._starting = asyncio.get_running_loop().create_task(self._start())
        await asyncio.shield(self._starting)

    async def start_for(self, what: str) -> None:
        """Start at someone's request; what has been closed does not start again.

        :param what: what is started, for the error.
        :raises ConfigurationError: when it has been closed.
        :raises RuntimeError: when it has started in another event loop that is open still.
        """
        if self.is_closing:
            raise ConfigurationError(
                f"{what} has been closed and does not start again: make a new application for "
                "each start, for example in a function that uvicorn calls (--factory)"
            )
        await self.start()

    def ready(self) -> Awaitable[None] | None:
        """What a request waits for: the start, unless it is done.

        :raises RuntimeError: when it has started in another event loop.
        """
        self._check_loop()
        if self.started_at is None:
            return self.start()
        self._check_connections()
        return None

    async def _start(self) -> None:
        async with AsyncExitStack() as opened:
            await self._open(opened)
            self._opened = opened.pop_all()
        self.started_at = self._clock.monotonic()

    async def drain(self) -> None:
        """Take the first steps of closing; what is open stays so for the requests under way.

        :raises RuntimeError: when it has started in another event loop that is open still.
        """
        if self._starting is None:
            return
        self._check_loop()
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain(self._starting))
        await asyncio.shield(self._draining)

    async def close(self) -> None:
        """Take every step of closing; safe to call twice, or before the start.

        A step that fails, or exceeds its time limit, is reported and does not keep the
        others from being taken.

        :raises RuntimeError: when it has started in another event loop that is open still.
        """
        if self._starting is None:
            return
        self._check_loop()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    def _check_loop(self) -> None:
        if self._starting is None:
            return
        loop = self._starting.get_loop()
        if loop is not asyncio.get_running_loop() and not loop.is_closed():
            raise RuntimeError(RUNS_ELSEWHERE)

    def _check_connections(self) -> None:
        if self._connects and self._starting is not None and self._starting.get_loop().is_closed():
            raise RuntimeError(ENDED)

    async def _drain(self, starting: asyncio.Task[None]) -> None:
        if not starting.done():  # its event loop may be closed, and could not say so
            await asyncio.wait([starting])
        await self._take(self._first_steps())

    async def _close(self) -> None:
        await self.drain()
        backends = ("backends", self._opened.aclose, CLOSE_STEP_TIMEOUT)
        await self._take([("fixes and observers", self._finish, None), backends])

    async def _take(self, steps: Iterable[Step]) -> None:
        for what, step, limit in steps:
            timeout = asyncio.timeout(limit)
            try:
                async with timeout:
                    await step()
            except Exception as error:
                if timeout.expired():  # a step may raise a TimeoutError of its own
                    message = f"{what}: not done within {limit:g} s"
                    self._incidents.report("close incomplete", message)
                else:
                    message = f"{what}: {type(error).__name__}: {error}"
                    self._incidents.report("close incomplete", message, error=error)

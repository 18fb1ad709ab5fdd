"""One pipelined connection to one Redis server.

What is queued in one turn of the loop leaves in one write, and the answers are read back
in order.  While the server does not answer, commands fail at once rather than wait, and
the pipe reconnects by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from atriz_realtime.api.contracts import BackendStatus
from atriz_realtime.api.errors import Unavailable
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.redis_link.stream import Stream, pack

logger = logging.getLogger("atriz_realtime")

ANSWER_TIMEOUT = 0.9
"""Seconds that an answer may take."""

CONNECT_TIMEOUT = 4.0
"""Seconds that a connection attempt may take: it is several answers, one after another."""

MAX_PENDING = 20_000
"""Commands that may wait for an answer; beyond, further ones fail at once."""

BACKOFF_FIRST = 0.05
BACKOFF_MOST = 1.0
"""Seconds between two attempts to connect: doubled each time, with full jitter."""

NOT_NOW = (OutOfMemoryError, ClusterDownError, TryAgainError)
"""Errors that are about the server's state, not about the command."""

NOT_NOW_EITHER = ("MISCONF ", "NOREPLICAS ", "BUSY ")
"""How further ones begin, for which redis-py has no class: it cannot save to disk, has too
few replicas, or runs a script that does not end."""

Connect = Callable[[], Awaitable[AbstractConnection]]


@attrs.define(eq=False)
class _Command:
    """A queued command and whoever waits for its answer."""

    packed: bytes
    answer: asyncio.Future[Any]
    deadline: float
    whole: tuple[str | bytes | float, ...] | None = None
    """What to send when Redis does not know the script that it names by its hash."""


class RedisPipe:
    """Executes commands on one server.

    :param name: the server as errors name it; never with a password.
    :param connect: opens a connection to the server, whichever it is at that moment.
    :param connected: called whenever the connection is there, again or for the first time.
    :param lost: called whenever it is lost.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        connected: Callable[[], None],
        incidents: Incidents,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._connect = connect
        self._connected = connected
        self._told_lost = lost
        self._incidents = incidents
        self._loop = asyncio.get_running_loop()
        self._outgoing: list[_Command] = []
        self._waiting: deque[_Command] = deque()
        self._digests: dict[str, str] = {}
        self._known_scripts: set[str] = set()
        self._stream: Stream | None = None
        self._detail = "not connected yet"
        self._first_attempt: asyncio.Future[None] = self._loop.create_future()
        self._watchdog: asyncio.TimerHandle | None = None
        self._client: tuple[str, ...] = ()
        self.reconnects = 0
        self._running = self._loop.create_task(self._run(), name=f"redis {name}")

    @property
    def pending(self) -> int:
        """Commands that wait for an answer."""
        return len(self._outgoing) + len(self._waiting)

    @property
    def address(self) -> str:
        """The address of the server it is connected to; empty while it is not."""
        connection: Any = self._stream and self._stream.connection
        return f"{connection.host}:{connection.port}" if hasattr(connection, "host") else ""

    def status(self) -> BackendStatus:
        """Whether the server answers."""
        if self._stream is not None:
            return BackendStatus("connected")
        return BackendStatus("disconnected", self._detail)

    def statistics(self) -> dict[str, float]:
        """Commands ``pending``, and ``reconnects`` since the start."""
        return {"pending": self.pending, "reconnects": self.reconnects}

    async def attempted(self) -> None:
        """Wait for the first attempt to connect to end, whatever comes of it."""
        await asyncio.shield(self._first_attempt)

    def execute(self, *command: str | bytes | float) -> asyncio.Future[Any]:
        """Queue a command."""
        return self._queue(command, None)

    def _queue(
        self,
        command: tuple[str | bytes | float, ...],
        whole: tuple[str | bytes | float, ...] | None,
    ) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self._stream is None:
            answer.set_exception(Unavailable(f"Redis at {self._name}: {self._detail}"))
        elif len(self._outgoing) + len(self._waiting) >= MAX_PENDING:
            answer.set_exception(Unavailable(f"more than {MAX_PENDING} commands wait for Redis"))
        else:
            if not self._outgoing:
                self._loop.call_soon(self._send)
            deadline = self._loop.time() + ANSWER_TIMEOUT
            self._outgoing.append(_Command(pack(command), answer, deadline, whole))
            if self._watchdog is None:
                self._watchdog = self._loop.call_later(ANSWER_TIMEOUT, self._watch)
        return answer

    def evaluate(
        self, script: str, keys: tuple[str, ...], arguments: tuple[str | bytes | float, ...]
    ) -> Awaitable[Any]:
        """Queue a Lua script: in full once a connection, by its hash from then on."""
        digest = self._digests.get(script)
        if digest is None:
            digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
            self._digests[script] = digest
        rest = (len(keys), *keys, *arguments)
        if digest in self._known_scripts:
            return self._queue(("EVALSHA", digest, *rest), ("EVAL", script, *rest))
        self._known_scripts.add(digest)
        return self.execute("EVAL", script, *rest)

    async def aclose(self) -> None:
        """Close the connection; what still waits fails."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        if self._watchdog is not None:
            self._watchdog.cancel()

    # -- one connection after another ------------------------------------------------------

    async def _run(self) -> None:
        delay = BACKOFF_FIRST
        while True:
            connection: AbstractConnection | None = None
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    connection = await self._connect()
                    await self._replace_previous(connection)
                delay = BACKOFF_FIRST
                stream = Stream(connection, self._answered)
                self._opened(stream)
                await stream.ended()
            except Exception as error:  # whatever it is, the pipe must come back
                self._lost(describe(error))
            finally:
                self._stream = None
                self._fail_all()
                if connection is not None:
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(random.uniform(0, delay))  # noqa: S311  # jitter, not a secret
            delay = min(delay * 2, BACKOFF_MOST)

    async def _replace_previous(self, connection: AbstractConnection) -> None:
        """End the previous connection on the server's side too.

        A server that was stopped may hold commands of it that it has not read yet.
        What this pipe gave up on must not be published after what it sends next.
        """
        kill = ("CLIENT", "KILL", *self._client)
        commands = [kill, ("CLIENT", "INFO")] if self._client else [("CLIENT", "INFO")]
        await connection.send_packed_command(connection.pack_commands(commands))
        if self._client:
            with contextlib.suppress(ResponseError):  # it is gone, or we may not
                await connection.read_response()
        self._client = ()
        with contextlib.suppress(ResponseError):
            self._client = itself(await connection.read_response())

    def _send(self) -> None:
        """Send what was queued in this turn of the loop."""
        batch, self._outgoing = self._outgoing, []
        if self._stream is not None and batch:
            self._waiting.extend(batch)
            self._stream.write(b"".join([command.packed for command in batch]))

    def _answered(self, response: Any) -> None:
        if isinstance(response, ReadOnlyError):
            raise response  # the server has become a replica: look for the primary
        command = self._waiting.popleft()
        answer = command.answer
        if answer.done():
            return
        if isinstance(response, NoScriptError) and command.whole is not None:
            again = _Command(pack(command.whole), answer, command.deadline)
            self._send_again(again)  # somebody flushed the script cache
            return
        if not isinstance(response, Exception):
            answer.set_result(response)
        elif isinstance(response, NOT_NOW) or str(response).startswith(NOT_NOW_EITHER):
            answer.set_exception(Unavailable(f"Redis at {self._name}: {response}"))
        else:
            answer.set_exception(response)

    def _send_again(self, command: _Command) -> None:
        self._waiting.append(command)
        if self._stream is not None:
            self._stream.write(command.packed)

    def _opened(self, stream: Stream) -> None:
        if self._first_attempt.done():
            logger.info("Redis at %s is connected", self._name)
            self.reconnects += 1
        else:
            self._first_attempt.set_result(None)
        self._known_scripts.clear()
        self._stream = stream
        self._connected()

    def _lost(self, reason: str) -> None:
        was_connected = self._stream is not None
        self._detail = reason
        if was_connected or not self._first_attempt.done():
            self._incidents.report(
                "redis disconnected",
                f"{self._name}: {reason}; watchers of this server are served, retrying",
            )
        if not self._first_attempt.done():
            self._first_attempt.set_result(None)
        if was_connected:
            self._told_lost()

    def _fail_all(self) -> None:
        failed = [*self._waiting, *self._outgoing]
        self._waiting.clear()
        self._outgoing = []
        for command in failed:
            if not command.answer.done():
                command.answer.set_exception(Unavailable(f"Redis at {self._name}: {self._detail}"))

    def _watch(self) -> None:
        """Drop the connection when the oldest command has waited for too long."""
        self._watchdog = None
        pending = self._waiting or self._outgoing
        if not pending:
            return
        remaining = pending[0].deadline - self._loop.time()
        if remaining > 0:
            self._watchdog = self._loop.call_later(remaining, self._watch)
        elif self._stream is not None:
            stream = self._stream
            self._lost(describe(TimeoutError()))
            self._stream = None
            self._fail_all()
            stream.end(TimeoutError())


def itself(info: str | bytes) -> tuple[str, ...]:
    """The filter of ``CLIENT KILL`` that fits a connection, from its ``CLIENT INFO``.

    By its number alone it would fit another's, once another server is behind the address.
    """
    text = info if isinstance(info, str) else info.decode()
    fields = dict(field.partition("=")[::2] for field in text.split())
    return ("ID", fields["id"], "ADDR", fields["addr"])


def describe(error: BaseException) -> str:
    """What is wrong with a connection, in a few words."""
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_TIMEOUT:g} s"
    return str(error).partition("\n")[0] or type(error).__name__

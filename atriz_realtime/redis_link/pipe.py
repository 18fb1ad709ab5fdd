"""One pipelined connection to one Redis server.

Commands queued in one turn of the loop leave in one write; answers come back in order.
While the server cannot be reached, commands fail at once instead of waiting, and the pipe
reconnects by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import re
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import attrs
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from atriz_realtime.api.contracts import BackendStatus
from atriz_realtime.api.errors import Unavailable
from atriz_realtime.redis_link.stream import Stream, pack

logger = logging.getLogger("atriz_realtime")

ANSWER_TIMEOUT = 0.9
"""Seconds that Redis has to answer a command."""

CONNECT_TIMEOUT = 4.0
"""Seconds that an attempt to connect may take: it needs several answers in a row."""

MAX_PENDING = 20_000
"""Commands that may wait for an answer; further ones fail at once."""

BACKOFF_FIRST = 0.05
BACKOFF_MOST = 1.0
"""Seconds between two attempts to connect: doubled each time, with full jitter."""

SERVER_STATE_ERRORS = (BusyLoadingError, OutOfMemoryError, ClusterDownError, TryAgainError)
"""Errors caused by the server's state rather than by the command; ``MASTERDOWN`` is one of
:class:`~redis.exceptions.ClusterDownError`'s."""

SERVER_STATE_PREFIXES = ("MISCONF ", "NOREPLICAS ", "BUSY ")
"""Prefixes of more such errors, for which redis-py has no class: the server cannot save to
disk, has too few replicas, or runs a script that does not end."""

Connect = Callable[[], Awaitable[AbstractConnection]]


class Report(Protocol):
    """Takes the kind and the message of an incident, and its cause."""

    def __call__(self, kind: str, message: str, *, cause: str) -> None:
        """Report that Redis cannot be reached."""


@attrs.define(eq=False)
class _Command:
    """A queued command and the future of its answer."""

    packed: bytes
    answer: asyncio.Future[Any]
    deadline: float
    fallback: tuple[str | bytes | float, ...] | None = None
    """Sent instead when Redis does not have the script that the command names by its hash."""
    teaches: str = ""
    """The hash of the script whose text the command carries."""


class RedisPipe:
    """Executes commands on one server; connects in a task of its own until closed.

    :param name: returns how the log names the server; holds no password.
    :param connect: opens a connection to the current server.
    :param on_connect: called whenever a connection is made, for the first time or again.
    :param on_disconnect: called whenever the connection is lost.
    :param report: called when the connection is lost, and again when the reason changes.
    :param takes_over: whether this server may end an incident of another one, so that its first
        connection is logged, too.
    """

    def __init__(
        self,
        name: Callable[[], str],
        connect: Connect,
        *,
        on_connect: Callable[[], None],
        on_disconnect: Callable[[], None] = lambda: None,
        report: Report,
        takes_over: bool = False,
    ) -> None:
        self._name = name
        self._connect = connect
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._report = report
        self._takes_over = takes_over
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
        self._running = self._loop.create_task(self._run(), name=f"redis {name()}")

    @property
    def pending(self) -> int:
        """How many commands wait for an answer."""
        return len(self._outgoing) + len(self._waiting)

    @property
    def address(self) -> str:
        """The ``host:port`` it is connected to; empty while disconnected."""
        connection: Any = self._stream and self._stream.connection
        return f"{connection.host}:{connection.port}" if hasattr(connection, "host") else ""

    def status(self) -> BackendStatus:
        """Report whether the pipe is connected, and if not, why."""
        if self._stream is not None:
            return BackendStatus("connected")
        return BackendStatus("disconnected", self._detail)

    def statistics(self) -> dict[str, float]:
        """Count the ``pending`` commands, and the ``reconnects`` since the start."""
        return {"pending": self.pending, "reconnects": self.reconnects}

    async def attempted(self) -> None:
        """Wait until the first attempt to connect has succeeded or failed."""
        await asyncio.shield(self._first_attempt)

    def execute(self, *command: str | bytes | float) -> asyncio.Future[Any]:
        """Queue a command."""
        return self._queue(command)

    def _queue(
        self,
        command: tuple[str | bytes | float, ...],
        fallback: tuple[str | bytes | float, ...] | None = None,
        teaches: str = "",
    ) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self._stream is None:
            answer.set_exception(Unavailable(f"Redis: {self._detail}"))
        elif len(self._outgoing) + len(self._waiting) >= MAX_PENDING:
            answer.set_exception(Unavailable(f"more than {MAX_PENDING} commands wait for Redis"))
        else:
            if not self._outgoing:
                self._loop.call_soon(self._send)
            deadline = self._loop.time() + ANSWER_TIMEOUT
            self._outgoing.append(_Command(pack(command), answer, deadline, fallback, teaches))
            if self._watchdog is None:
                self._watchdog = self._loop.call_later(ANSWER_TIMEOUT, self._watch)
        return answer

    def evaluate(
        self, script: str, keys: tuple[str, ...], arguments: tuple[str | bytes | float, ...]
    ) -> Awaitable[Any]:
        """Queue a Lua script: its text until Redis has run it on this connection, then its hash.

        A script whose text was refused is not known to Redis: sent by its hash, it would have to
        be sent again, behind later commands.
        """
        digest = self._digests.get(script)
        if digest is None:
            digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
            self._digests[script] = digest
        rest = (len(keys), *keys, *arguments)
        if digest in self._known_scripts:
            return self._queue(("EVALSHA", digest, *rest), ("EVAL", script, *rest))
        return self._queue(("EVAL", script, *rest), teaches=digest)

    async def aclose(self) -> None:
        """Close the connection; pending commands fail."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        if self._watchdog is not None:
            self._watchdog.cancel()

    async def _run(self) -> None:
        delay = BACKOFF_FIRST
        while True:
            connection: AbstractConnection | None = None
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    connection = await self._connect()
                    await self._prepare(connection)
                delay = BACKOFF_FIRST
                stream = Stream(connection, self._answered)
                self._opened(stream)
                await stream.ended()
            except Exception as error:  # the pipe reconnects after any failure
                self._lost(describe(error))
            finally:
                self._stream = None
                self._fail_all()
                if connection is not None:
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(random.uniform(0, delay))  # noqa: S311  # jitter, not a secret
            delay = min(delay * 2, BACKOFF_MOST)

    async def _prepare(self, connection: AbstractConnection) -> None:
        """Close the previous connection on the server's side too, and accept no replica.

        A server that was stopped for a while may not have read all of its commands yet.
        Commands that have already failed here must not run after those that follow.

        A replica, such as a primary that was demoted, refuses writes but publishes: what it
        published would be repeated until it is a primary again.

        :raises ReadOnlyError: when the server is a replica.
        """
        kill = ("CLIENT", "KILL", *self._client)
        commands: list[tuple[str, ...]] = [("CLIENT", "INFO"), ("ROLE",)]
        if self._client:
            commands.insert(0, kill)
        await connection.send_packed_command(connection.pack_commands(commands))
        if self._client:
            with contextlib.suppress(ResponseError):  # it is gone, or the user lacks the permission
                await connection.read_response()
        self._client = ()
        with contextlib.suppress(ResponseError):
            self._client = kill_filter(await connection.read_response())
        role: Any = ()
        with contextlib.suppress(ResponseError):
            role = await connection.read_response()
        if role and role[0] in ("slave", b"slave"):
            raise ReadOnlyError("the server is a replica")

    def _send(self) -> None:
        """Write the commands that were queued in this turn of the loop."""
        batch, self._outgoing = self._outgoing, []
        if self._stream is not None and batch:
            self._waiting.extend(batch)
            self._stream.write(b"".join([command.packed for command in batch]))

    def _answered(self, response: Any) -> None:
        if isinstance(response, ReadOnlyError):
            raise response  # the server has become a replica: reconnect to the primary
        command = self._waiting.popleft()
        answer = command.answer
        if answer.done():
            return
        if not isinstance(response, Exception):
            if command.teaches:
                self._known_scripts.add(command.teaches)
            answer.set_result(response)
        elif command.fallback and self._stream and isinstance(response, NoScriptError):
            again = _Command(pack(command.fallback), answer, command.deadline)
            self._waiting.append(again)
            self._stream.write(again.packed)
        else:
            is_state = isinstance(response, SERVER_STATE_ERRORS)
            if is_state or str(response).startswith(SERVER_STATE_PREFIXES):
                refusal, response = response, Unavailable(f"Redis: {response}")
                response.__cause__ = refusal
            if self.address:
                response.add_note(f"from {self.address}")  # for the log; callers get the message
            answer.set_exception(response)

    def _opened(self, stream: Stream) -> None:
        is_first = not self._first_attempt.done()
        if self._takes_over or not is_first:
            logger.info("Redis at %s is connected", self._name())
        if not is_first:
            self.reconnects += 1
        else:
            self._first_attempt.set_result(None)
        self._known_scripts.clear()
        self._stream = stream
        self._on_connect()

    def _lost(self, reason: str) -> None:
        was_connected = self._stream is not None
        has_changed = reason != self._detail
        self._detail = reason
        if was_connected or has_changed:
            message = f"{self._name()}: {reason}; watchers of this process are served, retrying"
            self._report("redis disconnected", message, cause=reason)
        if not self._first_attempt.done():
            self._first_attempt.set_result(None)
        if was_connected:
            self._on_disconnect()

    def _fail_all(self) -> None:
        failed = [*self._waiting, *self._outgoing]
        self._waiting.clear()
        self._outgoing = []
        for command in failed:
            if not command.answer.done():
                command.answer.set_exception(Unavailable(f"Redis: {self._detail}"))

    def _watch(self) -> None:
        """Drop the connection when the oldest command is past its deadline."""
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


def kill_filter(info: str | bytes) -> tuple[str, ...]:
    """Return the arguments of ``CLIENT KILL`` that match only the connection of a ``CLIENT INFO``.

    The id alone is not enough: another server behind the same address may have given it to
    another connection.
    """
    text = info if isinstance(info, str) else info.decode()
    fields = dict(field.partition("=")[::2] for field in text.split())
    return ("ID", fields["id"], "ADDR", fields["addr"])


def describe(error: BaseException) -> str:
    """Say in one line why a connection failed, without an address: anonymous callers read it."""
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_TIMEOUT:g} s"
    text = str(error).partition("\n")[0]
    if isinstance(error, AuthenticationError | ResponseError):  # Redis's own words
        return text.removesuffix(".")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.replace("_", " ").lower()
        if isinstance(cause, socket.gaierror):
            return str(cause.strerror)
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)  # the error's own text may hold an address
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__ if not text or re.search(r"\d", text) else text  # a port, if any

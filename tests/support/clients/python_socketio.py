"""The interface of Socket.IO clients in tests, whichever their library; and python-socketio's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import attrs
import socketio
import socketio.exceptions

from tests.support.servers.serving import TIMEOUT, Live, token, until

Serve = Callable[..., AbstractAsyncContextManager[Live]]
"""Starts a server on the backend of the test, with further settings."""

SERVER_DISCONNECT = "io server disconnect"
"""The reason that the JavaScript client gives when the server disconnects it."""


@attrs.frozen
class Refusal:
    """A ``connect_error``."""

    message: str
    data: Any


@attrs.define(eq=False)
class Client(ABC):
    """A Socket.IO client that records what happens to it."""

    received: list[tuple[str, list[Any]]] = attrs.field(factory=list, init=False)
    """Every event, with its arguments, in order."""
    connected: bool = attrs.field(default=False, init=False)
    refused: Refusal | None = attrs.field(default=None, init=False)
    """The last ``connect_error``."""
    disconnected: str | None = attrs.field(default=None, init=False)
    """Why it is no longer connected, in the JavaScript client's words."""

    @abstractmethod
    async def emit(self, event: str, *arguments: Any) -> None:
        """Send an event without asking for an acknowledgement."""

    @abstractmethod
    async def call(self, event: str, *arguments: Any) -> Any:
        """Send an event and wait for its acknowledgement."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Disconnect from the client's side."""

    def of(self, event: str) -> list[Any]:
        """The argument of each such event; a tuple when it had several or none."""
        return [
            arguments[0] if len(arguments) == 1 else tuple(arguments)
            for name, arguments in self.received
            if name == event
        ]

    @property
    def updates(self) -> list[Any]:
        """The location updates received."""
        return self.of("location:update")

    async def next(self, event: str, count: int = 1) -> Any:
        """Wait until an event was received ``count`` times; returns the argument of the last."""
        await until(lambda: len(self.of(event)) >= count)
        return self.of(event)[count - 1]

    async def until_disconnected(self) -> str:
        """Wait until the connection ends; returns the reason."""
        await until(lambda: self.disconnected is not None)
        assert self.disconnected is not None
        return self.disconnected


class Connect(Protocol):
    """Opens clients of one library."""

    def __call__(
        self,
        live: Live,
        *,
        user: str | None = "u1",
        auth: Mapping[str, Any] | None = None,
        namespace: str = "/",
        refused: bool = False,
    ) -> AbstractAsyncContextManager[Client]:
        """Connect a client to a server, which has to refuse it when ``refused`` is set.

        :param user: the user of the token in the handshake; ``None``: no token.
        :param auth: the handshake's ``auth``, instead of a token.
        """


def handshake(user: str | None, auth: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The ``auth`` object of :class:`Connect`'s arguments."""
    if auth is not None:
        return auth
    return {"token": token(user)} if user is not None else {}


@attrs.define(eq=False)
class PythonClient(Client):
    """python-socketio's client."""

    namespace: str = "/"
    _client: socketio.AsyncClient = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._client = socketio.AsyncClient(reconnection=False)
        self._client.on("*", self._receive, namespace=self.namespace)
        self._client.on("connect_error", self._connect_error, namespace=self.namespace)
        self._client.on("disconnect", self._disconnect, namespace=self.namespace)

    async def connect(self, url: str, auth: Mapping[str, Any]) -> None:
        """Connect; record the refusal when the server refuses."""
        try:
            await self._client.connect(
                url, auth=auth, namespaces=[self.namespace], wait_timeout=TIMEOUT
            )
        except socketio.exceptions.ConnectionError:
            await until(lambda: self.refused is not None)
        else:
            self.connected = True

    async def emit(self, event: str, *arguments: Any) -> None:
        await self._client.emit(event, arguments, namespace=self.namespace)

    async def call(self, event: str, *arguments: Any) -> Any:
        return await self._client.call(event, arguments, namespace=self.namespace, timeout=TIMEOUT)

    async def disconnect(self) -> None:
        await self._client.disconnect()

    async def _receive(self, event: str, *arguments: Any) -> Any:
        self.received.append((event, list(arguments)))
        return arguments

    async def _connect_error(self, error: Any = None) -> None:
        fields = error if isinstance(error, dict) else {"message": error}
        self.refused = Refusal(fields.get("message", ""), fields.get("data"))

    async def _disconnect(self, reason: str) -> None:
        self.connected = False
        named = {
            socketio.AsyncClient.reason.SERVER_DISCONNECT: SERVER_DISCONNECT,
            socketio.AsyncClient.reason.CLIENT_DISCONNECT: "io client disconnect",
        }
        self.disconnected = named.get(reason, reason)


@asynccontextmanager
async def python_connect(
    live: Live,
    *,
    user: str | None = "u1",
    auth: Mapping[str, Any] | None = None,
    namespace: str = "/",
    refused: bool = False,
) -> AsyncIterator[Client]:
    """Open a client of python-socketio."""
    client = PythonClient(namespace)
    await client.connect(live.url, handshake(user, auth))
    assert client.connected is not refused, client.refused
    try:
        yield client
    finally:
        await client.disconnect()

"""The records that registration hooks return: a name, and the callables that the core calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from atriz_realtime.api import validators as valid
from atriz_realtime.api.contracts import (
    Cache,
    Fanout,
    Journal,
    RecordedFix,
    Resources,
    SocketClient,
    ThrottlePolicy,
)
from atriz_realtime.api.http import HttpAnswer, HttpCall
from atriz_realtime.api.model import Credentials, EntityRef, Identity, LocationEvent

DEFAULT_ID_PATTERN = r"[^:\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,128}"
"""Up to 128 characters, without the colon that separates a type from an id in
rooms, channels and keys, without control characters and lone surrogates."""


@attrs.frozen(eq=False)
class Authenticator:
    """Turns credentials into an identity."""

    name: str = attrs.field(validator=valid.name)
    """Unique among authenticators."""
    authenticate: Callable[[Credentials], Awaitable[Identity | None]]
    """Returns an :class:`Identity`, or ``None`` to abstain (the credentials are not its own);
    raises :class:`AuthenticationRejected` to refuse (they are its own, and invalid)."""
    order: int = attrs.field(default=0, kw_only=True, validator=valid.number)
    """Lower is asked first."""
    still_holds: Callable[[Identity], Awaitable[bool]] | None = attrs.field(
        default=None, kw_only=True
    )
    """Whether an identity that this authenticator returned is still valid.  Asked every
    ``recheck_interval`` seconds for every connected socket; if not, the socket is closed.  If
    this raises or takes too long, the socket stays and is asked about again.  ``None``: an
    identity stays valid."""
    at_once: Callable[[Credentials], Identity | None] | None = attrs.field(
        default=None, kw_only=True, validator=valid.plain
    )
    """The same as ``authenticate`` as a plain function, for an authenticator that never has
    to wait.  The server calls it instead, which saves the cost of a coroutine."""
    weakness: str | None = attrs.field(
        default=None, kw_only=True, validator=valid.instance(str, "a string")
    )
    """Why it is not safe beyond this machine, in one line.  If set, ``serve`` refuses to
    listen beyond loopback unless ``allow_weak_secret`` is on."""
    statistics: Callable[[], Mapping[str, float]] | None = attrs.field(
        default=None, kw_only=True, validator=valid.plain
    )
    """The numbers that an operator wants to see, such as the size of a cache of tokens: see
    :class:`Measuring`."""


@attrs.frozen(eq=False)
class Authorizer:
    """Decides who may watch or publish which entity; one refusal is enough.

    To refuse, a function returns ``False``, or raises a :class:`RealtimeError`, whose code and
    message reach a caller who asks for one entity.
    """

    name: str = attrs.field(validator=valid.name)
    """Unique among authorizers."""
    may_track: Callable[[Identity, EntityRef], Awaitable[bool]] | None = None
    """Whether this identity may watch this entity; ``None``: no opinion."""
    may_publish: Callable[[Identity, EntityRef], Awaitable[bool]] | None = None
    """Whether this identity may publish this entity; ``None``: no opinion."""


@attrs.frozen(eq=False)
class EntityType:
    """A kind of thing that can be tracked.

    Registering one enables ``track:<name>``, ``untrack:<name>``, its rooms,
    channels, keys and HTTP paths.
    """

    name: str = attrs.field(validator=valid.type_name)
    """Lower-case letters, digits, ``_`` and ``-``; at most 32 characters."""
    validate: Callable[[LocationEvent], None] | None = attrs.field(
        default=None, kw_only=True, validator=valid.plain
    )
    """Further checks, in a plain function that returns nothing; to refuse, it raises
    :class:`InvalidLocation` with the field."""
    throttle: str | None = attrs.field(
        default=None, kw_only=True, validator=valid.instance(str, "the name of a policy")
    )
    """A throttling policy's name; ``None``: the configured default."""
    throttle_options: Mapping[str, Any] = attrs.field(
        factory=dict, kw_only=True, validator=valid.instance(Mapping, "a mapping")
    )
    """The policy's options, for example ``{"interval": 200}``."""
    cache_ttl: float | None = attrs.field(default=None, kw_only=True, validator=valid.LIFETIME)
    """Seconds until a current location expires; ``None``: the configured default."""
    last_known_ttl: float | None = attrs.field(
        default=None, kw_only=True, validator=valid.RETENTION
    )
    """Seconds until the last known location of an entity expires; 0: none is kept; ``None``: the
    configured default."""
    id_pattern: str = attrs.field(
        default=DEFAULT_ID_PATTERN,
        kw_only=True,
        validator=valid.instance(str, "a regular expression"),
    )
    """A regular expression that must match the whole id.  An id that ends in ``*`` is
    always refused."""


@attrs.frozen(eq=False)
class Throttle:
    """A throttling policy that the configuration can choose by name."""

    name: str = attrs.field(validator=valid.name)
    """Unique among policies."""
    create: Callable[[Any, Resources], ThrottlePolicy] = attrs.field(validator=valid.plain)
    """Creates the policy of one entity type from its options: an instance of
    ``options``, or the plain mapping if ``options`` is ``None``."""
    options: type[Any] | None = attrs.field(default=None, kw_only=True)
    """An attrs class that the options table is checked against."""


@attrs.frozen(eq=False)
class CacheBackend:
    """A cache for current locations that the configuration can choose by name."""

    name: str = attrs.field(validator=valid.name)
    """Unique among caches."""
    open: Callable[[Resources], Awaitable[Cache]]
    """Opens it; raises :class:`ConfigurationError` when it cannot work."""


@attrs.frozen(eq=False)
class FanoutBackend:
    """A fan-out to the other servers that the configuration can choose by name."""

    name: str = attrs.field(validator=valid.name)
    """Unique among fan-outs."""
    open: Callable[[Resources], Awaitable[Fanout]]
    """Opens it; raises :class:`ConfigurationError` when it cannot work."""


@attrs.frozen(eq=False)
class FanoutLayer:
    """A layer between the core and the fan-out, which sees every message."""

    name: str = attrs.field(validator=valid.name)
    """Unique among layers."""
    open: Callable[[Fanout], Awaitable[Fanout]]
    """Opens it on top of a fan-out; raises :class:`ConfigurationError` when it cannot work."""
    order: int = attrs.field(default=0, kw_only=True, validator=valid.number)
    """Lower is closer to the fan-out."""


@attrs.frozen(eq=False)
class JournalBackend:
    """A journal for what recorders have yet to write, which the configuration can choose by name.

    It is opened only on a server that has a recorder.
    """

    name: str = attrs.field(validator=valid.name)
    """Unique among journals."""
    open: Callable[[Resources, Sequence[str]], Awaitable[Journal]]
    """Opens it for the recorders of these names; raises :class:`ConfigurationError` when it cannot
    work."""


@attrs.frozen(eq=False)
class Filter:
    """Changes, passes or drops a fix before it is published."""

    name: str = attrs.field(validator=valid.name)
    """Unique among filters."""
    apply: Callable[[LocationEvent], Awaitable[LocationEvent | None]]
    """The event to publish, or ``None`` to drop it."""
    order: int = attrs.field(default=0, kw_only=True, validator=valid.number)
    """Lower is applied first."""


@attrs.frozen(eq=False)
class View:
    """What the identities that it applies to are shown instead of the published fix."""

    name: str = attrs.field(validator=valid.name)
    """Unique among views."""
    applies: Callable[[Identity, EntityRef], Awaitable[bool]]
    """Whether this identity sees this entity only through the view.  Asked when it starts to
    watch, when its socket authenticates again, and when it reads over HTTP."""
    apply: Callable[[LocationEvent], LocationEvent | None] = attrs.field(validator=valid.plain)
    """The event to show, or ``None`` to show nothing.  A plain function that does not wait,
    because watchers get fixes in order.  Called once for each fix, not for each watcher."""
    order: int = attrs.field(default=0, kw_only=True, validator=valid.number)
    """If several apply, lower is applied first."""


@attrs.frozen(eq=False)
class Observer:
    """Receives every event published on this server, without slowing down the sender."""

    name: str = attrs.field(validator=valid.name)
    """Unique among observers."""
    observe: Callable[[LocationEvent], Awaitable[None]]
    """Called for one event after another, in order, from when every ``server_started`` is done."""
    queue_size: int = attrs.field(
        default=1024,
        kw_only=True,
        validator=[valid.instance(int, "a whole number"), attrs.validators.ge(1)],
    )
    """Events that may wait; beyond that, the oldest are dropped and counted."""
    timeout: float = attrs.field(default=30.0, kw_only=True, validator=valid.seconds)
    """Seconds one call may take; one that takes longer is cancelled and counted."""
    aclose: Callable[[], Awaitable[None]] | None = attrs.field(default=None, kw_only=True)
    """Awaited once when the server stops, after the last call of ``observe``: for what is not
    written yet.  The backends, and what ``server_started`` returned, are still open.  It may take
    a second; a failure is counted, and the stop continues.  When ``server_started`` fails, it is
    awaited as well."""
    statistics: Callable[[], Mapping[str, float]] | None = attrs.field(
        default=None, kw_only=True, validator=valid.plain
    )
    """The numbers that an operator wants to see, such as how many alarms it has sent: see
    :class:`Measuring`."""


@attrs.frozen(eq=False)
class Recorder:
    """Writes every accepted fix, those that the throttle keeps from watchers included.

    Each fix is given to it at least once, in batches whose order is not promised.
    """

    name: str = attrs.field(validator=valid.name)
    """Unique among recorders.  Servers that share a journal share the work of the recorders of one
    name, and what waits for it survives a restart under this name."""
    record: Callable[[Sequence[RecordedFix]], Awaitable[None]]
    """Writes a batch, which is not empty; the fixes are written once it returns.  If it raises, or
    takes longer than ``timeout``, the whole batch is given again later.  A fix whose id has been
    written before must change nothing.  Called for one batch after another, from when every
    ``server_started`` is done."""
    entity_types: Collection[str] | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(valid.names)
    )
    """The entity types that it writes; ``None``: all."""
    batch_size: int = attrs.field(
        default=1_000,
        kw_only=True,
        validator=[
            valid.instance(int, "a whole number"),
            attrs.validators.ge(1),
            attrs.validators.le(10_000),
        ],
    )
    """Fixes of a batch at most; so many are given at once."""
    batch_interval: float = attrs.field(default=1.0, kw_only=True, validator=valid.seconds)
    """Seconds that a fix waits for others at most."""
    timeout: float = attrs.field(default=30.0, kw_only=True, validator=valid.seconds)
    """Seconds that one call may take; one that takes longer is cancelled, and has failed."""
    statistics: Callable[[], Mapping[str, float]] | None = attrs.field(
        default=None, kw_only=True, validator=valid.plain
    )
    """The numbers that an operator wants to see, beside those of its batches: see
    :class:`Measuring`."""
    aclose: Callable[[], Awaitable[None]] | None = attrs.field(default=None, kw_only=True)
    """Awaited once when the server stops, after the last call of ``record``.  The backends, and
    what ``server_started`` returned, are still open.  It may take a second; a failure is counted,
    and the stop continues.  When ``server_started`` fails, it is awaited as well."""


@attrs.frozen(eq=False)
class SocketEvent:
    """A further client → server event."""

    name: str = attrs.field(validator=valid.name)
    """The event's name."""
    handle: Callable[..., Awaitable[Any]]
    """Called with a :class:`SocketClient` and the event's arguments; its return value
    is the acknowledgement.  A :class:`RealtimeError` that it raises becomes
    the event ``error`` and a negative acknowledgement."""
    authenticated: bool = attrs.field(default=True, kw_only=True)
    """Whether only authenticated sockets may send it."""
    binary: bool = attrs.field(default=False, kw_only=True)
    """Whether its arguments may contain bytes; otherwise such an event is refused, not decoded."""
    timeout: float | None = attrs.field(default=None, kw_only=True, validator=valid.seconds)
    """Seconds that handling one may take; ``None``: the setting ``plugin_timeout``."""


@attrs.frozen(eq=False)
class Endpoint:
    """An HTTP call of one path that is made very often and is quick to answer.

    Its path has no parameters, and Starlette's middleware does not run for it.
    """

    path: str = attrs.field(validator=valid.path)
    """The whole path."""
    handle: Callable[[HttpCall], Awaitable[HttpAnswer]]
    """Answers a call; if it raises a :class:`RealtimeError`, the answer is its JSON refusal."""
    method: str = attrs.field(default="POST", kw_only=True, validator=valid.method)
    """The HTTP method, in capitals."""


@attrs.frozen(eq=False)
class Check:
    """Finds out for ``atriz-realtime check`` whether what a plugin depends on is there and works.

    No server runs it.
    """

    name: str = attrs.field(validator=valid.name)
    """Unique among checks."""
    run: Callable[[], Awaitable[Iterable[str] | None]]
    """Returns what keeps the plugin from its work: each problem in one sentence, without secrets.
    If there is none, the result is empty or ``None``.  An exception is a problem as well."""
    needs: Literal["redis", "network"] | None = attrs.field(
        default="network",
        kw_only=True,
        validator=attrs.validators.in_(("redis", "network", None)),
    )
    """``"redis"``: it runs while ``Resources.redis`` is connected.  ``"network"``: it runs unless
    ``--offline`` is given.  ``None``: it needs neither, and always runs."""
    timeout: float = attrs.field(default=3.0, kw_only=True, validator=valid.seconds)
    """Seconds that it may take; then it is cancelled, which is a problem."""


__all__ = [
    "DEFAULT_ID_PATTERN",
    "Authenticator",
    "Authorizer",
    "CacheBackend",
    "Check",
    "Endpoint",
    "EntityType",
    "FanoutBackend",
    "FanoutLayer",
    "Filter",
    "JournalBackend",
    "Observer",
    "Recorder",
    "SocketClient",
    "SocketEvent",
    "Throttle",
    "View",
]

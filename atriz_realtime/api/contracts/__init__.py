"""The contracts between the core and plugins.

Each is a :class:`typing.Protocol` of at most five methods.  A backend may also
be :class:`Closeable`, :class:`Reporting` and :class:`Measuring`, a cache :class:`Holding` and
:class:`LastKnown`, and a
fan-out :class:`Interruptible` and :class:`Conditional`; the core checks that with ``isinstance``.
"""

from __future__ import annotations

from atriz_realtime.api.contracts.backends import (
    BackendStatus,
    Cache,
    Closeable,
    Conditional,
    Deliver,
    Fanout,
    FanoutEvents,
    Holding,
    Interruptible,
    LastKnown,
    Measuring,
    Page,
    Reporting,
)
from atriz_realtime.api.contracts.history import (
    HistoryBackend,
    HistoryPage,
    HistoryQuery,
    HistoryScope,
    HistoryStatus,
)
from atriz_realtime.api.contracts.recording import Journal, JournalEntry, RecordedFix
from atriz_realtime.api.contracts.resources import (
    Clock,
    PluginConfig,
    RedisLink,
    RedisStream,
    Report,
    Resources,
    limit_reached,
)
from atriz_realtime.api.contracts.server import (
    Access,
    CreateTask,
    Membership,
    Permissions,
    PublishResult,
    ServerHandle,
    SignalHandler,
    Signals,
    SocketClient,
    Sockets,
    Tracking,
)
from atriz_realtime.api.contracts.throttling import DROP, PASS, ThrottlePolicy, Verdict

__all__ = [
    "DROP",
    "PASS",
    "Access",
    "BackendStatus",
    "Cache",
    "Clock",
    "Closeable",
    "Conditional",
    "CreateTask",
    "Deliver",
    "Fanout",
    "FanoutEvents",
    "HistoryBackend",
    "HistoryPage",
    "HistoryQuery",
    "HistoryScope",
    "HistoryStatus",
    "Holding",
    "Interruptible",
    "Journal",
    "JournalEntry",
    "LastKnown",
    "Measuring",
    "Membership",
    "Page",
    "Permissions",
    "PluginConfig",
    "PublishResult",
    "RecordedFix",
    "RedisLink",
    "RedisStream",
    "Report",
    "Reporting",
    "Resources",
    "ServerHandle",
    "SignalHandler",
    "Signals",
    "SocketClient",
    "Sockets",
    "ThrottlePolicy",
    "Tracking",
    "Verdict",
    "limit_reached",
]

"""Tools for testing plugins: contract suites, a fake clock, and a real server with a client.

A contract suite is a class to subclass; its docstring names the fixtures to override::

    from atriz_realtime.testing import CacheContract

    class TestMyCache(CacheContract):
        @pytest.fixture
        def cache(self, clock):
            return MyCache(clock)

One line in the top-level ``conftest.py`` registers the fixtures ``fake_clock``,
``realtime_settings``, ``realtime_server``, ``realtime_client`` and ``realtime_redis``, and lets
pytest rewrite the assertions of the suites::

    pytest_plugins = ["atriz_realtime.testing"]

The extra ``testing`` installs what it needs, such as pytest and pytest-asyncio.  It is not a
pytest entry point, so that pytest loads it only where it is named.
"""

from atriz_realtime.api.extras import install_hint

try:
    from atriz_realtime.testing.authentication import AuthenticatorContract
    from atriz_realtime.testing.cache import CacheContract, PassTime
    from atriz_realtime.testing.clock import FakeClock, fake_clock
    from atriz_realtime.testing.fanout import FanoutContract, Inbox
    from atriz_realtime.testing.history import HistoryContract, past_fix
    from atriz_realtime.testing.journal import (
        JournalContract,
        SharedJournalContract,
        recorded_fix,
    )
    from atriz_realtime.testing.last_known import LastKnownContract
    from atriz_realtime.testing.samples import event, location, moment, payload
    from atriz_realtime.testing.serving import (
        SECRET,
        TIMEOUT,
        Live,
        Watcher,
        config,
        free_port,
        plugin_config,
        realtime_client,
        realtime_redis,
        realtime_server,
        realtime_settings,
        serving,
        token,
        until,
        watching,
        without_other_plugins,
    )
    from atriz_realtime.testing.shared import Outage, SharedCacheContract, SharedFanoutContract
    from atriz_realtime.testing.throttle import (
        IntervalThrottleContract,
        MakePolicy,
        ThrottleContract,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"atriz_realtime.testing needs {error.name}: {install_hint('testing')}", name=error.name
    ) from error

__all__ = [
    "SECRET",
    "TIMEOUT",
    "AuthenticatorContract",
    "CacheContract",
    "FakeClock",
    "FanoutContract",
    "HistoryContract",
    "Inbox",
    "IntervalThrottleContract",
    "JournalContract",
    "LastKnownContract",
    "Live",
    "MakePolicy",
    "Outage",
    "PassTime",
    "SharedCacheContract",
    "SharedFanoutContract",
    "SharedJournalContract",
    "ThrottleContract",
    "Watcher",
    "config",
    "event",
    "fake_clock",
    "free_port",
    "location",
    "moment",
    "past_fix",
    "payload",
    "plugin_config",
    "realtime_client",
    "realtime_redis",
    "realtime_server",
    "realtime_settings",
    "recorded_fix",
    "serving",
    "token",
    "until",
    "watching",
    "without_other_plugins",
]

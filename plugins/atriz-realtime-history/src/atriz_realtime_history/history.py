"""The hooks of the plugin ``history``."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

import click
from starlette.routing import Route

from atriz_realtime.api import (
    Check,
    Closeable,
    HistoryBackend,
    HistoryScope,
    Measuring,
    PluginConfig,
    RealtimeError,
    RecordedFix,
    Recorder,
    Resources,
    ServerHandle,
    hookimpl,
)
from atriz_realtime_history.commands import commands
from atriz_realtime_history.http import HistoryApi
from atriz_realtime_history.rows import DAY, MS
from atriz_realtime_history.settings import HistorySettings

logger = logging.getLogger("atriz_realtime.history")

NAME = "history"

PATH = "/api/tracking/{type}/{id:path}/history"

EARLIEST = 946_684_800_000
"""2000-01-01, in milliseconds: no device has older fixes.  One whose clock is wrong has; each day
would make a file, or a table."""

MAX_AHEAD = DAY
"""Milliseconds that a fix may be ahead of the time when it was received."""

RETENTION_INTERVAL = 3_600.0
"""Seconds after which fixes that are older than they may be are removed again."""


class Recording:
    """Gives the store what it is to keep."""

    def __init__(
        self, store: HistoryBackend, settings: HistorySettings, resources: Resources
    ) -> None:
        self.store = store
        self._settings = settings
        self._now = resources.clock.now
        self._report = resources.report
        self._expired = self._misdated = self._removed = 0

    async def record(self, fixes: Sequence[RecordedFix]) -> None:
        """Store fixes, but those that are older than they may be, or of no time that can be."""
        now = self._now()
        oldest = {}
        for kind in {fix.entity.type for fix in fixes}:
            seconds = self._settings.seconds(kind)
            oldest[kind] = EARLIEST if seconds is None else round(MS * (now - seconds))
        kept, misdated = [], 0
        for fix in fixes:
            if not EARLIEST <= fix.timestamp <= fix.received + MAX_AHEAD:
                misdated += 1
            elif fix.timestamp >= oldest[fix.entity.type]:
                kept.append(fix)
        if kept:
            await self.store.append(kept)
        self._misdated += misdated
        self._expired += len(fixes) - len(kept) - misdated
        if misdated:
            self._report("fix of no possible time", f"{misdated} fixes: a device's clock is wrong")

    async def retain(self) -> None:
        """Remove what is older than it may be, every hour until cancelled."""
        while True:
            try:
                for kind in (await self.store.status()).entity_types:
                    seconds = self._settings.seconds(kind)
                    if seconds is not None:
                        before = round(MS * (self._now() - seconds))
                        scope = HistoryScope(entity_type=kind, before=before)
                        self._removed += await self.store.forget(scope)
            except RealtimeError as error:
                self._report("history not removed", error.message)
            # servers that share a store do not all begin at once
            jitter = random.uniform(0.9, 1.1)  # noqa: S311  # not a secret
            await asyncio.sleep(jitter * RETENTION_INTERVAL)

    def statistics(self) -> Mapping[str, float]:
        """The store's numbers, and fixes that were ``expired``, ``misdated`` and ``removed``."""
        own = {"expired": self._expired, "misdated": self._misdated, "removed": self._removed}
        if isinstance(self.store, Measuring):
            return {**self.store.statistics(), **own}
        return own


class History:
    """The plugin of one server."""

    def __init__(self) -> None:
        self._recording: Recording | None = None
        self._is_open = False

    def _open(self, config: PluginConfig, resources: Resources) -> Recording | None:
        if not self._is_open:
            settings = config.load(HistorySettings)
            store = settings.open()
            if store is not None:
                self._recording = Recording(store, settings, resources)
            self._is_open = True
        return self._recording

    @hookimpl
    def register_settings(self) -> type[HistorySettings]:
        """Return the settings class."""
        return HistorySettings

    @hookimpl
    def register_recorders(self, config: PluginConfig, resources: Resources) -> Recorder | None:
        """Register the recorder."""
        recording = self._open(config, resources)
        if recording is None:
            logger.warning("[realtime.plugins.history] has no url: no history is recorded")
            return None
        return Recorder(NAME, recording.record, statistics=recording.statistics)

    @hookimpl(tryfirst=True)  # http_api reads the current location of any id, also of one with /
    def register_routes(
        self, config: PluginConfig, server: ServerHandle, resources: Resources
    ) -> list[Route]:
        """Register the calls that read and erase the fixes of an entity."""
        recording = self._open(config, resources)
        if recording is None:
            return []
        api = HistoryApi(recording.store, config, server, resources)
        return [
            Route(PATH, api.read, methods=["GET"]),
            Route(PATH, api.erase, methods=["DELETE"]),
        ]

    @hookimpl
    def register_commands(self, config: PluginConfig) -> list[click.Command]:
        """Register ``atriz-realtime history`` and ``atriz-realtime forget``."""
        return commands(config.load(HistorySettings))

    @hookimpl
    def register_checks(self, config: PluginConfig) -> Check | None:
        """Register the check of whether fixes can be stored."""
        settings = config.load(HistorySettings)
        if settings.url is None:
            return None
        return Check(NAME, _checking(settings), needs=settings.needs)

    @hookimpl
    def server_started(
        self, config: PluginConfig, server: ServerHandle, resources: Resources
    ) -> Closeable | None:
        """Start to remove what is too old; the store is closed when the server stops."""
        recording = self._open(config, resources)
        if recording is None:
            return None
        server.create_task(recording.retain(), name="retention")
        return recording.store


history = History  # the plugin has the name of what its entry point names


def _checking(settings: HistorySettings) -> Callable[[], Awaitable[list[str]]]:
    async def find_problems() -> list[str]:
        return await settings.problems()

    return find_problems

"""The table ``[realtime.plugins.history]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs

from atriz_realtime.api import (
    ConfigurationError,
    HistoryBackend,
    Identity,
    InvalidRequest,
    RealtimeError,
    parse_duration,
)
from atriz_realtime_history.sqlite import SqliteHistory

SQLITE = "sqlite:"

POSTGRESQL = ("postgresql", "postgres")


def _duration(text: str | None) -> None:
    try:
        seconds = 1 if text is None else parse_duration(text)
    except InvalidRequest as error:
        raise ConfigurationError(f"keep: {error.message}", field="keep") from error
    if not seconds:
        raise ConfigurationError("keep must be more than nothing", field="keep")


def _keep(_: object, __: Any, value: str | None) -> None:
    _duration(value)


def _url(_: object, __: Any, value: str | None) -> None:
    if value is None or (value.startswith(SQLITE) and value != SQLITE):
        return
    try:
        scheme = urlsplit(value).scheme
    except ValueError:
        scheme = ""
    if scheme not in POSTGRESQL:  # the message has no password
        raise ConfigurationError(
            "url must be sqlite:<folder> or postgresql://<user>@<host>/<database>", field="url"
        )


@attrs.frozen(kw_only=True)
class TypeSettings:
    """The table of an entity type."""

    keep: str | None = attrs.field(default=None, validator=_keep)
    """How long its fixes are kept, such as ``90d``; not given: for ever."""


@attrs.frozen(kw_only=True)
class EraserSettings:
    """Who may erase over HTTP."""

    claim: str
    """A claim of the user's token, such as ``role``."""
    values: tuple[str, ...]
    """One of which it has, or has in a list."""

    def admits(self, identity: Identity) -> bool:
        """Whether an identity may erase."""
        found = identity.claims.get(self.claim)
        items = found if isinstance(found, list | tuple) else [found]
        return identity.only is None and any(item in self.values for item in items)


@attrs.frozen(kw_only=True)
class HistorySettings:
    """The table ``[realtime.plugins.history]``."""

    url: str | None = attrs.field(default=None, validator=_url, repr=False)
    """Where fixes are stored: ``sqlite:<folder>``, or ``postgresql://<user>@<host>/<database>``.
    Not given: nothing is recorded."""
    keep: str | None = attrs.field(default=None, validator=_keep)
    """How long fixes are kept, such as ``90d``; not given: for ever."""
    entities: dict[str, TypeSettings] = attrs.field(factory=dict)
    """Tables of entity types, each with a ``keep`` of its own."""
    erasers: EraserSettings | None = None
    """Who may erase over HTTP; not given: nobody."""

    def seconds(self, entity_type: str) -> int | None:
        """How long fixes of a type are kept; ``None``: for ever."""
        own = self.entities.get(entity_type)
        keep = self.keep if own is None else own.keep
        return None if keep is None else parse_duration(keep)

    @property
    def needs(self) -> Literal["network"] | None:
        """What the check of the store needs."""
        return None if self.url is None or self.url.startswith(SQLITE) else "network"

    async def problems(self) -> list[str]:
        """What keeps the store from its work."""
        store = self.open()
        if store is None:
            return []
        try:
            if isinstance(store, SqliteHistory):
                return store.problems()
            await store.status()
        except RealtimeError as error:
            return [error.message]
        finally:
            await store.aclose()
        return []

    def open(self) -> HistoryBackend | None:
        """The store, which is connected when it is first used; ``None`` without a ``url``."""
        if self.url is None:
            return None
        if self.url.startswith(SQLITE):
            return SqliteHistory(Path(self.url.removeprefix(SQLITE)))
        try:
            from atriz_realtime_history.postgresql import PostgresqlHistory  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"a postgresql url needs {error.name}:"
                " pip install 'atriz-realtime-history[postgresql]'",
                field="url",
            ) from error
        return PostgresqlHistory(self.url)

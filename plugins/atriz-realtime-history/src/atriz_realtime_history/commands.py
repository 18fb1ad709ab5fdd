"""``atriz-realtime history`` and ``atriz-realtime forget``: the store, without a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import click

from atriz_realtime.api import (
    EntityRef,
    HistoryBackend,
    HistoryQuery,
    HistoryScope,
    InvalidLocation,
    RealtimeError,
    parse_timestamp,
)
from atriz_realtime_history.formats import FORMATS, Shown
from atriz_realtime_history.rows import DAY, MS
from atriz_realtime_history.settings import HistorySettings

T = TypeVar("T")

CHUNK = 10_000
"""Fixes that are read at once."""

WHOLE = 100_000
"""Fixes that are simplified at once."""


def read_time(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Parse a time, in milliseconds since the epoch."""
    if value is None:
        return None
    try:
        return round(MS * parse_timestamp(value).timestamp())
    except InvalidLocation:
        raise click.BadParameter(
            f"{value!r} is not ISO 8601 with a time zone, such as 2026-01-31T12:00:00Z"
        ) from None


def commands(settings: HistorySettings) -> list[click.Command]:
    """The commands, for the store that the settings name."""

    def on_store(work: Callable[[HistoryBackend], Awaitable[T]]) -> T:
        store = settings.open()
        if store is None:
            raise click.ClickException("no url is configured in [realtime.plugins.history]")

        async def session() -> T:
            try:
                return await work(store)
            finally:
                await store.aclose()

        try:
            return asyncio.run(session())
        except RealtimeError as error:
            raise click.ClickException(error.message) from error

    @click.command("history", short_help="Print where an entity was.")
    @click.argument("entity_type", metavar="TYPE")
    @click.argument("entity_id", metavar="ID")
    @click.option("--from", "start", callback=read_time, help="ISO 8601.  [default: a day ago]")
    @click.option("--to", "end", callback=read_time, help="ISO 8601.  [default: now]")
    @click.option(
        "--format",
        "suffix",
        type=click.Choice([form.suffix for form in FORMATS]),
        default="json",
        help="[default: json]",
    )
    @click.option("--simplify", type=click.FloatRange(min=0, min_open=True), help="Metres.")
    def history(
        entity_type: str,
        entity_id: str,
        start: int | None,
        end: int | None,
        suffix: str,
        simplify: float | None,
    ) -> None:
        """Print all fixes of an entity that are stored, whatever views hide from users."""
        end = round(MS * time.time()) if end is None else end
        query = HistoryQuery(
            entity=EntityRef(entity_type, entity_id),
            start=end - DAY if start is None else start,
            end=end,
            limit=CHUNK if simplify is None else WHOLE,
            simplify=simplify,
        )
        if query.start > end:
            raise click.UsageError("--from must not be after --to")
        (form,) = (form for form in FORMATS if form.suffix == suffix)

        async def write(store: HistoryBackend) -> None:
            asked, is_first = query, True
            while True:
                page = await store.read(asked)
                shown = [Shown(fix.location, fix.throttled) for fix in page.fixes]
                part = b"".join(form.part(query.entity, shown, is_first=is_first))
                click.echo(part.decode(), nl=False)
                if page.next_cursor is None:
                    break
                asked, is_first = attrs.evolve(query, cursor=page.next_cursor), False
            click.echo(form.end(None).decode())

        on_store(write)

    @click.command("forget", short_help="Erase an entity, or a user, from the history.")
    @click.argument("entity_type", metavar="[TYPE", required=False)
    @click.argument("entity_id", metavar="ID]", required=False)
    @click.option("--user", metavar="ID", help="Erase what this user has published or reported.")
    def forget(entity_type: str | None, entity_id: str | None, user: str | None) -> None:
        """Erase all fixes of an entity, or of a user, from the store.

        The current location, and fixes that wait to be stored, are not in the store: DELETE over
        HTTP erases those of an entity as well.  If it fails halfway, run it again.
        """
        if (entity_type is None or entity_id is None) == (user is None):
            raise click.UsageError("give the TYPE and the ID of an entity, or --user")
        entity = EntityRef(entity_type, entity_id) if entity_type and entity_id else None
        removed = on_store(lambda store: store.forget(HistoryScope(entity=entity, user=user)))
        click.echo(f"erased {removed} fixes")

    return [history, forget]

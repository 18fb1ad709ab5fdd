"""History in PostgreSQL: ``postgresql://<user>@<host>/<database>``.

Everything is in the schema ``atriz_history``.  Every entity type has a table, with a partition for
each day by the clocks of the devices: what is older than it may be is removed with its partition.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

import asyncpg
import attrs
import numpy as np

from atriz_realtime.api import (
    HistoryPage,
    HistoryQuery,
    HistoryScope,
    HistoryStatus,
    RecordedFix,
    Unavailable,
)
from atriz_realtime_history.rows import (
    DAY,
    Line,
    Row,
    Source,
    day_of,
    day_text,
    page_of,
    place_of,
    readable,
    text,
)

T = TypeVar("T")

SCHEMA = "atriz_history"

VERSION = 1
"""Of the tables."""

CONNECTIONS = 4
"""Of a server process."""

CONNECT_TIMEOUT = 5.0
"""Seconds."""

COMMAND_TIMEOUT = 60.0
"""Seconds."""

LOCK_TIMEOUT = 5_000
"""Milliseconds that a change of tables waits for those who use them."""

LOCK = 0x6174_7269_7A68  # "atrizh"
"""The advisory lock of who changes tables."""

ATTEMPTS = 3
"""Of a batch, while other servers remove what it refers to."""

_SETUP = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.version (version integer NOT NULL);
INSERT INTO {SCHEMA}.version SELECT {VERSION}
    WHERE NOT EXISTS (SELECT FROM {SCHEMA}.version);
CREATE TABLE IF NOT EXISTS {SCHEMA}.entity (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type text NOT NULL, id text NOT NULL, UNIQUE (type, id));
CREATE TABLE IF NOT EXISTS {SCHEMA}.source (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity bigint NOT NULL, device text NOT NULL, "user" text NOT NULL, publisher text NOT NULL,
    UNIQUE (entity, device, "user", publisher));
"""  # a publisher that there is not is the empty text, which is no JSON

_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    entity bigint NOT NULL, timestamp bigint NOT NULL, id bytea NOT NULL,
    received bigint NOT NULL, throttled boolean NOT NULL,
    latitude integer NOT NULL, longitude integer NOT NULL,
    measured bytea, metadata bytea, source bigint NOT NULL,
    PRIMARY KEY (entity, timestamp, id)) PARTITION BY RANGE (timestamp)
"""

_ENTITIES = f"""
INSERT INTO {SCHEMA}.entity (type, id)
SELECT * FROM unnest($1::text[], $2::text[]) AS new (type, id)
WHERE NOT EXISTS (SELECT FROM {SCHEMA}.entity known WHERE known.type = new.type
                  AND known.id = new.id)
ORDER BY 1, 2 ON CONFLICT DO NOTHING
"""

_ENTITY_KEYS = f"""
SELECT key, type, id FROM {SCHEMA}.entity
WHERE (type, id) IN (SELECT * FROM unnest($1::text[], $2::text[])) ORDER BY key FOR KEY SHARE
"""

_SOURCES = f"""
INSERT INTO {SCHEMA}.source (entity, device, "user", publisher)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS new (e, d, u, p)
WHERE NOT EXISTS (SELECT FROM {SCHEMA}.source known WHERE known.entity = new.e
                  AND known.device = new.d AND known.user = new.u AND known.publisher = new.p)
ORDER BY 1, 2, 3, 4 ON CONFLICT DO NOTHING
"""

_SOURCE_KEYS = f"""
SELECT key, entity, device, "user", publisher FROM {SCHEMA}.source
WHERE (entity, device, "user", publisher)
      IN (SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]))
ORDER BY key FOR KEY SHARE
"""

_COLUMNS = "entity, timestamp, id, received, throttled, latitude, longitude, measured, metadata"

_INSERT = f"""
INSERT INTO {{table}} ({_COLUMNS}, source)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::boolean[],
    $6::integer[], $7::integer[], $8::bytea[], $9::bytea[], $10::bigint[])
ON CONFLICT DO NOTHING
"""

_READ = """
SELECT timestamp, id, received, throttled, latitude, longitude, measured, metadata, source
FROM {table}
WHERE entity = $1 AND timestamp >= $2 AND (timestamp, id) > ($2, $3) AND timestamp < $4
      AND received >= $5
ORDER BY timestamp, id LIMIT $6
"""

_POINT = np.dtype([("time", ">i8"), ("id", "V16"), ("north", ">i4"), ("east", ">i4")])

# one value: 86,400 rows take five times as long
_LINE = """
SELECT string_agg(int8send(timestamp) || id || int4send(latitude) || int4send(longitude),
                  ''::bytea ORDER BY timestamp, id)
FROM (SELECT timestamp, id, latitude, longitude FROM {table}
      WHERE entity = $1 AND timestamp >= $2 AND (timestamp, id) > ($2, $3) AND timestamp < $4
            AND received >= $5
      ORDER BY timestamp, id LIMIT $6) AS found
"""

_READ_SOME = """
SELECT fix.timestamp, fix.id, received, throttled, latitude, longitude, measured, metadata, source
FROM unnest($2::bigint[], $3::bytea[]) AS chosen (timestamp, id)
JOIN {table} AS fix ON fix.entity = $1 AND fix.timestamp = chosen.timestamp
                       AND fix.id = chosen.id
ORDER BY fix.timestamp, fix.id
"""

_PARTITIONS = f"""
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind = 'r' AND relispartition
"""

_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

_Split = tuple[RecordedFix, Source, Row]


class _Changed(Exception):
    """Another server has removed what a batch refers to."""


_RETRIED = (
    _Changed,
    asyncpg.CheckViolationError,  # the partition is gone
    asyncpg.UndefinedTableError,
    asyncpg.DeadlockDetectedError,
)


class PostgresqlHistory:
    """See :class:`~atriz_realtime.api.HistoryBackend`.

    :param url: of the database; it is connected when it is first used.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._partitions: set[tuple[str, int]] = set()
        self._stored = self._known = self._unreadable = 0

    async def append(self, fixes: Sequence[RecordedFix]) -> None:
        """Store fixes, all or none."""
        found, unreadable = readable(fixes)
        found.sort(key=lambda each: (each[0].entity.type, each[2].timestamp, each[2].id))
        async with self._connection() as connection:
            new = await self._attempts(lambda: self._append(connection, found))
        self._stored += new
        self._known += len(found) - new
        self._unreadable += unreadable

    async def read(self, query: HistoryQuery) -> HistoryPage:
        """Return a page of an entity's fixes."""
        place = place_of(query)
        received_from = -(2**63) if query.received_from is None else query.received_from
        table = _table(query.entity.type)
        async with self._connection() as connection:
            entity = await connection.fetchval(
                f"SELECT key FROM {SCHEMA}.entity WHERE type = $1 AND id = $2",
                query.entity.type,
                _name(query.entity.id),
            )
            if entity is None:
                return HistoryPage([], None)
            values = (entity, *place, query.end, received_from, query.limit + 1)
            cursor = None
            try:
                if query.simplify is None:
                    rows = await connection.fetch(_READ.format(table=table), *values)
                else:
                    points = await connection.fetchval(_LINE.format(table=table), *values)
                    chosen, cursor = _line(points or b"").simplified(query)
                    keys = ([key[place] for key in chosen] for place in (0, 1))
                    rows = await connection.fetch(_READ_SOME.format(table=table), entity, *keys)
            except asyncpg.UndefinedTableError:
                return HistoryPage([], None)
            found = await connection.fetch(
                f'SELECT key, device, "user", publisher FROM {SCHEMA}.source WHERE entity = $1',
                entity,
            )
        sources = {
            key: Source(device.encode(), user.encode(), publisher.encode() or None)
            for key, device, user, publisher in found
        }
        page = page_of(query, rows, sources)
        return page if query.simplify is None else attrs.evolve(page, next_cursor=cursor)

    async def forget(self, scope: HistoryScope) -> int:
        """Remove fixes, one partition after another; what is left of them is rewritten."""
        async with self._connection() as connection:
            days = await self._days(connection)
            if scope.entity is None and scope.user is None:
                return await self._forget_days(connection, scope, days)
            return await self._attempts(lambda: self._forget_fixes(connection, scope, days))

    async def status(self) -> HistoryStatus:
        """Return what is stored."""
        async with self._connection() as connection:
            days = await self._days(connection)
        dates = [day for _, day in days]
        return HistoryStatus(
            bytes=sum(days.values()),
            oldest=day_text(min(dates)) if dates else None,
            newest=day_text(max(dates)) if dates else None,
            entity_types=sorted({kind for kind, _ in days}),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), 0.8)
            except TimeoutError:
                pool.terminate()

    def statistics(self) -> dict[str, float]:
        """Fixes ``stored``, those that were ``known`` already, and those that are no locations."""
        return {"stored": self._stored, "known": self._known, "unreadable": self._unreadable}

    # -- connections ----------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        try:
            pool = await self._opened()
            async with pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
                yield connection
        except asyncpg.PostgresError as error:
            reason = str(error).partition("\n")[0]
            raise Unavailable(f"history: PostgreSQL: {reason}") from error
        except _FAILURES as error:  # whose text may have an address
            raise Unavailable(f"history: PostgreSQL: {type(error).__name__}") from error

    async def _opened(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=CONNECTIONS,
                    timeout=CONNECT_TIMEOUT,
                    command_timeout=COMMAND_TIMEOUT,
                    server_settings={"application_name": "atriz-realtime history"},
                )
                try:
                    async with pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
                        await self._set_up(connection)
                except BaseException:
                    pool.terminate()
                    raise
                self._pool = pool
            return self._pool

    async def _set_up(self, connection: Any) -> None:
        async with self._changing(connection):
            await connection.execute(_SETUP)
            version = await connection.fetchval(f"SELECT version FROM {SCHEMA}.version")
        if version != VERSION:
            raise Unavailable(f"history: the tables are of version {version}, not {VERSION}")

    @contextlib.asynccontextmanager
    async def _changing(self, connection: Any) -> AsyncIterator[None]:
        """Change tables, one server at a time."""
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
            await connection.execute("SET LOCAL client_min_messages = warning")
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            yield

    # -- writing --------------------------------------------------------------------------

    async def _attempts(self, work: Callable[[], Awaitable[T]]) -> T:
        for _ in range(ATTEMPTS - 1):
            try:
                return await work()
            except _RETRIED:
                self._partitions.clear()
        return await work()

    async def _append(self, connection: Any, fixes: Sequence[_Split]) -> int:
        await self._add_partitions(connection, fixes)
        new = 0
        async with connection.transaction():
            entities = await self._entities(connection, fixes)
            keyed = [
                (entities[each[0].entity.type, _name(each[0].entity.id)], each) for each in fixes
            ]
            sources = await self._sources(connection, keyed)
            for kind, group in groupby(keyed, lambda each: each[1][0].entity.type):
                rows = [
                    (entity, *row, sources[entity, source]) for entity, (_, source, row) in group
                ]
                columns = map(list, zip(*rows, strict=True))
                done = await connection.execute(_INSERT.format(table=_table(kind)), *columns)
                new += int(done.rpartition(" ")[2])
        return new

    async def _add_partitions(self, connection: Any, fixes: Sequence[_Split]) -> None:
        needed = {(fix.entity.type, fix.timestamp // DAY) for fix, _, _ in fixes}
        missing = sorted(needed - self._partitions)
        if not missing:
            return
        async with self._changing(connection):
            for kind, day in missing:
                await connection.execute(_TABLE.format(table=_table(kind)))
                await connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {_table(kind, day)} PARTITION OF {_table(kind)}"
                    f" FOR VALUES FROM ({day * DAY}) TO ({(day + 1) * DAY})"
                )
        self._partitions |= needed

    async def _entities(
        self, connection: Any, fixes: Sequence[_Split]
    ) -> dict[tuple[str, str], int]:
        wanted = sorted({(fix.entity.type, _name(fix.entity.id)) for fix, _, _ in fixes})
        columns = [[each[place] for each in wanted] for place in (0, 1)]
        await connection.execute(_ENTITIES, *columns)
        found = await connection.fetch(_ENTITY_KEYS, *columns)
        keys = {(kind, name): key for key, kind, name in found}
        if len(keys) != len(wanted):
            raise _Changed
        return keys

    async def _sources(
        self, connection: Any, keyed: Sequence[tuple[int, _Split]]
    ) -> dict[tuple[int, Source], int]:
        wanted = {(entity, source): _texts(source) for entity, (_, source, _) in keyed}
        rows = sorted((entity, *texts) for (entity, _), texts in wanted.items())
        columns = [[row[place] for row in rows] for place in range(4)]
        await connection.execute(_SOURCES, *columns)
        found = await connection.fetch(_SOURCE_KEYS, *columns)
        keys = {tuple(row)[1:]: row[0] for row in found}
        if len(keys) != len(rows):
            raise _Changed
        return {each: keys[each[0], *texts] for each, texts in wanted.items()}

    # -- forgetting -----------------------------------------------------------------------

    async def _days(self, connection: Any) -> dict[tuple[str, int], int]:
        """The size of each partition, by the type and the day."""
        found = {}
        for name, size in await connection.fetch(_PARTITIONS):
            prefix, _, rest = name.partition(":")
            kind, _, date = rest.rpartition(":")
            with contextlib.suppress(ValueError):
                if prefix == "fix":
                    found[kind, day_of(date)] = size
        return found

    async def _forget_days(
        self, connection: Any, scope: HistoryScope, days: dict[tuple[str, int], int]
    ) -> int:
        removed = 0
        for kind, day in sorted(days):
            if kind != scope.entity_type:
                continue
            if scope.before is not None and (day + 1) * DAY > scope.before:
                continue
            table = _table(kind, day)
            async with self._changing(connection):
                removed += await connection.fetchval(f"SELECT count(*) FROM {table}")
                await connection.execute(f"DROP TABLE {table}")
            self._partitions.discard((kind, day))
        return removed

    async def _forget_fixes(
        self, connection: Any, scope: HistoryScope, days: dict[tuple[str, int], int]
    ) -> int:
        conditions, values = ["true"], []

        def given(condition: str, value: object) -> None:
            values.append(value)
            conditions.append(condition.replace("?", f"${len(values)}"))

        if scope.entity is not None:
            given("entity.type = ?", scope.entity.type)
            given("entity.id = ?", _name(scope.entity.id))
        if scope.entity_type is not None:
            given("entity.type = ?", scope.entity_type)
        if scope.user is not None:
            given('(source."user" = ? OR source.publisher = ?)', text(scope.user).decode())
        async with connection.transaction():
            # appends to these wait until they are gone, and then make new ones
            chosen = (
                f"FROM {SCHEMA}.source JOIN {SCHEMA}.entity ON entity.key = source.entity"
                f" WHERE {' AND '.join(conditions)}"
            )
            locked = await connection.fetch(
                f"SELECT key FROM {SCHEMA}.entity WHERE key IN (SELECT entity.key {chosen})"
                " ORDER BY key FOR UPDATE",
                *values,
            )
            found = await connection.fetch(
                f"SELECT source.key, source.entity, entity.type {chosen}"
                f" AND entity.key = ANY(${len(values) + 1})"
                " ORDER BY source.key FOR UPDATE OF source",
                *values,
                [key for (key,) in locked],
            )
            removed, touched = await self._delete(connection, scope, days, found)
        if removed:
            for table in (*touched, f"{SCHEMA}.source", f"{SCHEMA}.entity"):
                await connection.execute(f"VACUUM FULL {table}")
        return removed

    async def _delete(
        self, connection: Any, scope: HistoryScope, days: dict[tuple[str, int], int], found: Any
    ) -> tuple[int, list[str]]:
        """Delete the fixes of some sources; returns how many, and from which partitions."""
        keys = sorted({key for key, _, _ in found})
        entities = sorted({entity for _, entity, _ in found})
        kinds = {kind for _, _, kind in found}
        before = 2**62 if scope.before is None else scope.before
        removed, touched = 0, []
        for kind, day in sorted(days):
            if kind in kinds and day * DAY < before:
                table = _table(kind, day)
                done = await connection.execute(
                    f"DELETE FROM {table} WHERE entity = ANY($1) AND source = ANY($2)"
                    " AND timestamp < $3",
                    entities,
                    keys,
                    before,
                )
                count = int(done.rpartition(" ")[2])
                removed += count
                touched += [table] * bool(count)
        if scope.before is None:
            await connection.execute(f"DELETE FROM {SCHEMA}.source WHERE key = ANY($1)", keys)
            await connection.execute(
                f"DELETE FROM {SCHEMA}.entity WHERE key = ANY($1) AND NOT EXISTS"
                f" (SELECT FROM {SCHEMA}.source WHERE source.entity = entity.key)",
                entities,
            )
        return removed, touched


def _line(points: bytes) -> Line:
    found = np.frombuffer(points, _POINT)
    ids = [points[start + 8 : start + 24] for start in range(0, len(points), _POINT.itemsize)]
    times, north, east = (found[name].tolist() for name in ("time", "north", "east"))
    return Line(times, ids, north, east)


def _table(kind: str, day: int | None = None) -> str:
    """The quoted name of a type's table, or of a day's partition of it."""
    name = f"fix:{kind}" if day is None else f"fix:{kind}:{day_text(day)}"
    return f'{SCHEMA}."{name.replace(chr(34), chr(34) * 2)}"'


def _name(entity_id: str) -> str:
    """An id as tables have it: JSON, which has no zero byte."""
    return text(entity_id).decode()


def _texts(source: Source) -> tuple[str, str, str]:
    return source.device.decode(), source.user.decode(), (source.publisher or b"").decode()

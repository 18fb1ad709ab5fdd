"""History in SQLite files: ``sqlite:<folder>``.

Every entity type has a folder, and every day, by the clocks of the devices, a file in it: what is
older than it may be is removed with its file.  Files are in WAL mode, so that readers and the
writer do not wait for each other.  Several processes of one machine may use a folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import attrs
import orjson

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

VERSION = 1
"""Of the tables; in a file's ``user_version``."""

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process that writes to the same file."""

CHECKPOINT = 8_000
"""Pages of a log that are moved into its file at once.  Fixes of many entities change many pages;
each is moved once for all its changes."""

CACHE = 32_768
"""Kibibytes of a file's pages that the writer keeps."""

MAX_OPEN = 8
"""Files that are open for writing."""

READERS = 4
"""Threads that read."""

SUFFIX = ".sqlite"

ID_BYTES = 16
"""Of the id of a fix."""

KEY_BITS = 40
"""Bits of a key in a file."""

SCHEMA = f"""
CREATE TABLE entity (key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
CREATE TABLE source (key INTEGER PRIMARY KEY, device BLOB NOT NULL, user BLOB NOT NULL,
    publisher BLOB);
CREATE UNIQUE INDEX source_unique ON source (device, user, ifnull(publisher, 0));
CREATE TABLE fix (entity INTEGER NOT NULL, timestamp INTEGER NOT NULL, id BLOB NOT NULL,
    received INTEGER NOT NULL, throttled INTEGER NOT NULL, latitude INTEGER NOT NULL,
    longitude INTEGER NOT NULL, measured BLOB, metadata BLOB, source INTEGER NOT NULL,
    PRIMARY KEY (entity, timestamp, id)) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""

_READ = """
SELECT timestamp, id, received, throttled, latitude, longitude, measured, metadata, source + ?
FROM fix
WHERE entity = (SELECT key FROM entity WHERE id = ?)
  AND (timestamp, id) > (?, ?) AND timestamp < ? AND received >= ?
ORDER BY timestamp, id LIMIT ?
"""

# one row: 86,400 take twice as long, most of it in Python
_LINE = """
SELECT json_group_array(timestamp), group_concat(hex(id), ''), json_group_array(latitude),
       json_group_array(longitude)
FROM (SELECT timestamp, id, latitude, longitude FROM fix
      WHERE entity = (SELECT key FROM entity WHERE id = ?)
        AND (timestamp, id) > (?, ?) AND timestamp < ? AND received >= ?
      ORDER BY timestamp, id LIMIT ?)
"""

_READ_ONE = """
SELECT timestamp, id, received, throttled, latitude, longitude, measured, metadata, source + ?
FROM fix WHERE entity = (SELECT key FROM entity WHERE id = ?) AND timestamp = ? AND id = ?
"""

_SOURCE_OF = "SELECT device, user, publisher FROM source WHERE key = ?"

_VALUES = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_INSERTS = [
    (size, "INSERT OR IGNORE INTO fix VALUES " + ", ".join([_VALUES] * size))  # noqa: S608
    for size in (500, 50, 5, 1)
]
"""Statements by their rows.  Each takes the interpreter's lock from the event loop once, whatever
its rows: ``executemany`` would do so for every row, and double what a fix costs the server."""

_FIND_ENTITY = "SELECT key FROM entity WHERE id = ?"
_ADD_ENTITY = "INSERT INTO entity (id) VALUES (?)"
_FIND_SOURCE = "SELECT key FROM source WHERE device = ? AND user = ? AND publisher IS ?"
_ADD_SOURCE = "INSERT INTO source (device, user, publisher) VALUES (?, ?, ?)"

_Split = tuple[RecordedFix, Source, Row]


@attrs.frozen
class DayFile:
    """The file of a day of an entity type."""

    entity_type: str
    day: int
    """Days since the epoch."""
    path: Path


class Writer:
    """The connection that writes to a file, with the keys that it knows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = connect(path, create=True)
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        execute(f"PRAGMA cache_size = -{CACHE}")
        execute("PRAGMA secure_delete = ON")
        with self._transaction():
            (version,) = execute("PRAGMA user_version").fetchone()
            if not version:
                for statement in filter(str.strip, SCHEMA.split(";")):
                    execute(statement)
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"{path.name} is of version {version}, not {VERSION}")
        self._inode = path.stat().st_ino
        self._changes = -1
        self._entities: dict[bytes, int] = {}
        self._sources: dict[Source, int] = {}

    @property
    def is_current(self) -> bool:
        """Whether the file is still there: another process may have removed it."""
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def append(self, fixes: Sequence[_Split]) -> int:
        """Store fixes; returns how many are new."""
        connection = self._connection
        with self._transaction():
            (changes,) = connection.execute("PRAGMA data_version").fetchone()
            if changes != self._changes:  # another process may have removed what is known here
                self._changes = changes
                self._entities.clear()
                self._sources.clear()
            before = connection.total_changes
            rows = [
                (self._entity(fix.entity.id), *row, self._source(source))
                for fix, source, row in fixes
            ]
            own = connection.total_changes - before
            start = 0
            for size, statement in _INSERTS:
                while len(rows) - start >= size:
                    values = tuple(chain.from_iterable(rows[start : start + size]))
                    connection.execute(statement, values)
                    start += size
            return connection.total_changes - before - own

    def forget(self, scope: HistoryScope) -> tuple[int, bool]:
        """Remove fixes; returns how many there were, and whether none is left.

        :raises TimeoutError: when the removed bytes are still in the log, because of a reader.
        """
        execute = self._connection.execute
        conditions: list[str] = ["1"]
        values: list[Any] = []
        if scope.entity is not None:
            conditions.append("entity = (SELECT key FROM entity WHERE id = ?)")
            values.append(_name(scope.entity.id))
        if scope.user is not None:
            user = text(scope.user)
            conditions.append("source IN (SELECT key FROM source WHERE user = ? OR publisher = ?)")
            values += [user, user]
        if scope.before is not None:
            conditions.append("timestamp < ?")
            values.append(scope.before)
        with self._transaction():
            delete = "DELETE FROM fix WHERE " + " AND ".join(conditions)  # noqa: S608  # fixed texts
            removed = execute(delete, values).rowcount
            if removed:
                execute("DELETE FROM entity WHERE key NOT IN (SELECT entity FROM fix)")
                execute("DELETE FROM source WHERE key NOT IN (SELECT source FROM fix)")
            is_empty = execute("SELECT 1 FROM fix LIMIT 1").fetchone() is None
        self._entities.clear()
        self._sources.clear()
        (busy, _, _) = execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise TimeoutError
        return removed, is_empty

    def close(self) -> None:
        """Close the connection; the last one empties the log into the file."""
        self._connection.close()

    def _entity(self, entity_id: str) -> int:
        name = _name(entity_id)
        key = self._entities.get(name)
        if key is None:
            key = self._entities[name] = self._key(_FIND_ENTITY, _ADD_ENTITY, (name,))
        return key

    def _source(self, source: Source) -> int:
        key = self._sources.get(source)
        if key is None:
            key = self._sources[source] = self._key(_FIND_SOURCE, _ADD_SOURCE, source)
        return key

    def _key(self, find: str, add: str, values: Sequence[bytes | None]) -> int:
        found = self._connection.execute(find, values).fetchone()
        return found[0] if found else self._connection.execute(add, values).lastrowid or 0

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


class SqliteHistory:
    """See :class:`~atriz_realtime.api.HistoryBackend`.

    :param folder: where the files are; it is made with the first fix.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writing = ThreadPoolExecutor(1, "history-writer")
        self._reading = ThreadPoolExecutor(READERS, "history-reader")
        self._writers: OrderedDict[Path, Writer] = OrderedDict()
        self._stored = self._known = self._unreadable = 0
        self._closed = False

    async def append(self, fixes: Sequence[RecordedFix]) -> None:
        """Store fixes."""
        await self._run(self._writing, self._append, fixes)

    async def read(self, query: HistoryQuery) -> HistoryPage:
        """Return a page of an entity's fixes."""
        place = place_of(query)
        return await self._run(self._reading, self._read, query, place)

    async def forget(self, scope: HistoryScope) -> int:
        """Remove fixes, one file after another."""
        removed = 0
        for file in await self._run(self._writing, self._files, scope):
            removed += await self._run(self._writing, self._forget, file, scope)
        return removed

    async def status(self) -> HistoryStatus:
        """Return what is stored."""
        return await self._run(self._reading, self._status)

    async def aclose(self) -> None:
        """Close all files."""
        if not self._closed:
            await self._run(self._writing, self._close)
            self._closed = True
            self._writing.shutdown(wait=False)
            self._reading.shutdown(wait=False)

    def problems(self) -> list[str]:
        """What keeps this process from writing to the folder."""
        folder = self._folder.absolute()
        while not folder.exists():
            folder = folder.parent
        try:
            with TemporaryFile(dir=folder):
                return []
        except OSError as error:
            return [f"history cannot write to {self._folder}: {error.strerror}"]

    def statistics(self) -> dict[str, float]:
        """Fixes ``stored``, those that were ``known`` already, and those that are no locations."""
        return {"stored": self._stored, "known": self._known, "unreadable": self._unreadable}

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(threads, work, *arguments)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"history: {type(error).__name__}: {error}") from error

    # -- in the threads -------------------------------------------------------------------

    def _append(self, fixes: Sequence[RecordedFix]) -> None:
        found, unreadable = readable(fixes)
        found.sort(key=_file_key)
        new = 0
        for (entity_type, day), group in groupby(found, _file_key):
            new += self._writer(self._path(entity_type, day)).append(list(group))
        self._stored += new
        self._known += len(found) - new
        self._unreadable += unreadable

    def _read(self, query: HistoryQuery, place: tuple[int, bytes]) -> HistoryPage:
        first, last = place[0] // DAY, (query.end - 1) // DAY
        days = [each for each in self._days(query.entity.type) if first <= each.day <= last]
        name = _name(query.entity.id)
        received_from = -(2**63) if query.received_from is None else query.received_from
        rows: list[Any] = []
        sources: dict[int, Source] = {}
        if query.simplify is None:
            for file in days:
                left = query.limit + 1 - len(rows)
                read = (file.day << KEY_BITS, name, *place, query.end, received_from, left)
                rows += rows_of(file, [(_READ, read)] if left else [], sources)
            return page_of(query, rows, sources)
        line = Line([], [], [], [])
        for file in days:
            left = query.limit + 1 - len(line.timestamps)
            values = (name, *place, query.end, received_from, left)
            line += line_of(rows_of(file, [(_LINE, values)] if left else [], sources))
        chosen, cursor = line.simplified(query)
        keys = {day: list(some) for day, some in groupby(chosen, lambda key: key[0] // DAY)}
        for file in days:
            one = (file.day << KEY_BITS, name)
            wanted = [(_READ_ONE, (*one, *key)) for key in keys.get(file.day, ())]
            rows += rows_of(file, wanted, sources)
        return attrs.evolve(page_of(query, rows, sources), next_cursor=cursor)

    def _files(self, scope: HistoryScope) -> list[DayFile]:
        own = None if scope.entity is None else scope.entity.type
        kinds = {kind for kind in (scope.entity_type, own) if kind is not None}
        if len(kinds) > 1:
            return []
        files = [each for kind in kinds or self._types() for each in self._days(kind)]
        if scope.before is None:
            return files
        return [each for each in files if each.day * DAY < scope.before]

    def _forget(self, file: DayFile, scope: HistoryScope) -> int:
        try:
            if scope.entity is None and scope.user is None:
                if scope.before is not None and (file.day + 1) * DAY > scope.before:
                    return 0
                with closing(connect(file.path)) as connection:
                    (count,) = connection.execute("SELECT count(*) FROM fix").fetchone()
                self._remove(file.path)
                return int(count)
            if not file.path.exists():
                return 0
            removed, is_empty = self._writer(file.path).forget(scope)
            if is_empty:
                self._remove(file.path)
        except FileNotFoundError:  # another process has removed it
            return 0
        return removed

    def _status(self) -> HistoryStatus:
        files = [each for kind in self._types() for each in self._days(kind)]
        days = [each.day for each in files]
        size = 0
        for each in files:
            for path in (each.path, Path(f"{each.path}-wal")):
                with contextlib.suppress(FileNotFoundError):
                    size += path.stat().st_size
        return HistoryStatus(
            bytes=size,
            oldest=day_text(min(days)) if days else None,
            newest=day_text(max(days)) if days else None,
            entity_types=sorted({each.entity_type for each in files}),
        )

    def _close(self) -> None:
        while self._writers:
            self._writers.popitem()[1].close()

    # -- files ----------------------------------------------------------------------------

    def _writer(self, path: Path) -> Writer:
        writer = self._writers.get(path)
        if writer is not None and not writer.is_current:
            del self._writers[path]
            writer.close()
            writer = None
        if writer is None:
            while len(self._writers) >= MAX_OPEN:
                self._writers.popitem(last=False)[1].close()
            writer = self._writers[path] = Writer(path)
        self._writers.move_to_end(path)
        return writer

    def _remove(self, path: Path) -> None:
        writer = self._writers.pop(path, None)
        if writer is not None:
            writer.close()
        for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            each.unlink(missing_ok=True)

    def _path(self, entity_type: str, day: int) -> Path:
        return self._folder / quote(entity_type, safe="") / f"{day_text(day)}{SUFFIX}"

    def _types(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return sorted(unquote(each.name) for each in self._folder.iterdir() if each.is_dir())

    def _days(self, entity_type: str) -> list[DayFile]:
        """The files of a type, the oldest first."""
        folder = self._folder / quote(entity_type, safe="")
        files = []
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(folder):  # noqa: PTH208  # names alone
                with contextlib.suppress(ValueError):
                    if name.endswith(SUFFIX):
                        day = day_of(name.removesuffix(SUFFIX))
                        files.append(DayFile(entity_type, day, folder / name))
        return sorted(files, key=lambda file: file.day)


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open a file.

    :raises FileNotFoundError: when it does not exist, unless it is created.
    """
    if not create and not path.exists():
        raise FileNotFoundError(path.name)
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    return sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )


def rows_of(
    file: DayFile, statements: Sequence[tuple[str, Sequence[Any]]], sources: dict[int, Source]
) -> list[Any]:
    """The rows that a file has, if it is still there.

    :param sources: gets the sources of fixes; the keys of a file begin with its day.
    """
    rows: list[Any] = []
    if not statements:
        return rows
    with contextlib.suppress(FileNotFoundError), closing(connect(file.path)) as connection:
        for statement, values in statements:
            rows += connection.execute(statement, values)
        for key in {row[8] for row in rows if len(row) > 8} - sources.keys():
            own = (key - (file.day << KEY_BITS),)
            sources[key] = Source(*connection.execute(_SOURCE_OF, own).fetchone())
    return rows


def line_of(found: Sequence[Sequence[Any]]) -> Line:
    """What a file has of a line."""
    if not found:
        return Line([], [], [], [])
    timestamps, ids, latitudes, longitudes = found[0]
    raw = bytes.fromhex(ids or "")
    places = range(0, len(raw), ID_BYTES)
    return Line(
        orjson.loads(timestamps),
        [raw[start : start + ID_BYTES] for start in places],
        orjson.loads(latitudes),
        orjson.loads(longitudes),
    )


def _name(entity_id: str) -> bytes:
    return entity_id.encode(errors="surrogatepass")


def _file_key(found: _Split) -> tuple[str, int]:
    fix = found[0]
    return fix.entity.type, fix.timestamp // DAY

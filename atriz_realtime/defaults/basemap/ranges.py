"""Serves one file, whole or in parts, while it may be replaced (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from io import FileIO

import attrs
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from atriz_realtime.api import Report

CHUNK = 262_144
"""Bytes that are read at once, in a thread.  Tiles and directories of a map are smaller."""

SAMPLE = 16_384
"""Bytes at the beginning and at the end of the file that its ETag is made of.  A PMTiles file
begins with a header and a directory that say where each tile lies and how long it is."""

FAR = 10**18
"""A byte beyond the end of any file, for numbers with more digits than are worth reading."""

_RANGE = re.compile(r"bytes=\s*([0-9]*)-([0-9]*)\s*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """No part of the file, or several parts, are asked for."""


class Shortened(Exception):
    """The file has become shorter while it was sent."""


@attrs.frozen
class _Answer:
    """An answer, with the beginning of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    file: FileIO | None = None
    """The open file, at the rest of the body; ``None``: there is no rest."""
    rest: int = 0
    """Bytes of the rest."""


class RangedFile:
    """A file that is served with ranges.  It is opened anew for each request, so that one that is
    renamed over it counts from the next request on.

    The ETag depends on the content and not on the times or the name of the file, so that it is
    the same on all servers that have a copy.

    :param headers: sent with every answer.
    :param report: counts the answers that ended early, because the file was written in place.
    """

    def __init__(
        self, path: str, media_type: str, headers: Mapping[str, str], report: Report
    ) -> None:
        self._path = path
        self._media_type = media_type
        self._headers = headers
        self._report = report
        self._tagged: tuple[tuple[int, int, int], str] = ((0, 0, 0), "")

    async def answer(self, request: Request) -> Response:
        """Answer ``GET`` and ``HEAD``."""
        try:
            found = await asyncio.to_thread(self._prepare, request.method, request.headers)
        except OSError:  # removed while the server runs
            return Response(status_code=404, headers=self._headers)
        headers = {**self._headers, **found.headers, "accept-ranges": "bytes"}
        media_type = self._media_type if found.status in (200, 206) else None
        if found.file is None:
            return Response(found.body, found.status, headers, media_type)
        return _Streamed(found, headers, media_type, self._shortened)

    def _shortened(self) -> None:
        message = "it was written in place: write the new file beside it, and rename it"
        self._report("basemap shortened while it was sent", message)

    def _prepare(self, method: str, asked: Headers) -> _Answer:
        """Open the file, and read the beginning of what is asked for."""
        with ExitStack() as opened:
            file = opened.enter_context(FileIO(self._path))
            size = os.fstat(file.fileno()).st_size
            headers = {"etag": (tag := self._tag(file))}
            if _names(asked.get("if-none-match", ""), tag):
                return _Answer(304, headers)
            status, start, stop = 200, 0, size
            if method == "GET" and "range" in asked and asked.get("if-range", tag) == tag:
                try:
                    part = part_of(asked["range"], size)
                except Unsatisfiable:
                    return _Answer(416, {**headers, "content-range": f"bytes */{size}"})
                if part is not None:
                    status, (start, stop) = 206, part
                    headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
            headers["content-length"] = str(stop - start)
            if method == "HEAD":
                return _Answer(status, headers)
            file.seek(start)
            body = _read(file, min(CHUNK, stop - start))
            rest = stop - start - len(body)
            if not rest:
                return _Answer(status, headers, body)
            opened.pop_all()
            return _Answer(status, headers, body, file, rest)

    def _tag(self, file: FileIO) -> str:
        """The ETag, which is made anew when the file has changed."""
        status = os.fstat(file.fileno())
        version = (status.st_ino, status.st_mtime_ns, status.st_size)
        known, tag = self._tagged
        if version != known:
            digest = hashlib.sha256(str(status.st_size).encode())
            digest.update(_read(file, SAMPLE))
            file.seek(max(0, status.st_size - SAMPLE))
            digest.update(_read(file, SAMPLE))
            tag = f'"{digest.hexdigest()[:32]}"'
            self._tagged = version, tag
        return tag


class _Streamed(StreamingResponse):
    """The part of a file that is too long for one read; closes the file in any case.

    When the file ends early, the answer is left unfinished: the server then closes the connection,
    and the client knows that it has not got everything.
    """

    def __init__(
        self,
        answer: _Answer,
        headers: Mapping[str, str],
        media_type: str | None,
        shortened: Callable[[], None],
    ) -> None:
        self._file = answer.file
        self._shortened = shortened
        super().__init__(_chunks(answer), answer.status, headers, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Shortened:
            self._shortened()
        finally:
            if self._file is not None:
                self._file.close()


async def _chunks(answer: _Answer) -> AsyncIterator[bytes]:
    file, rest = answer.file, answer.rest
    yield answer.body
    while file is not None and rest:
        chunk = await asyncio.to_thread(_read, file, min(CHUNK, rest))
        if not chunk:
            raise Shortened
        rest -= len(chunk)
        yield chunk


def _read(file: FileIO, size: int) -> bytes:
    """Read so many bytes, fewer only at the end of the file."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _names(condition: str, tag: str) -> bool:
    """Whether the value of If-None-Match names an ETag."""
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in condition.split(","))


def part_of(value: str, size: int) -> tuple[int, int] | None:
    """The part of a file that a ``Range`` asks for: the first byte, and the first one after it.

    :returns: ``None`` for a value that is no range of bytes, which is to be ignored.
    :raises Unsatisfiable: when the part lies beyond the end, or several are asked for.
    """
    if "," in value:
        raise Unsatisfiable
    found = _RANGE.fullmatch(value.strip())
    if found is None:
        return None
    first, last = found.groups()
    if first == last == "":
        return None
    if first == "":
        start, stop = max(0, size - _number(last)), size
    else:
        start, stop = _number(first), min(size, _number(last) + 1) if last else size
        if last and _number(last) < start:
            return None
    if start >= stop:
        raise Unsatisfiable
    return start, stop


def _number(digits: str) -> int:
    """A number, or :data:`FAR` when it is greater."""
    digits = digits.lstrip("0")
    return min(int(digits or "0"), FAR) if len(digits) <= len(str(FAR)) else FAR

"""``GET /api/tracking/<type>/<id>/history``."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import quote

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from atriz_realtime.api import (
    CursorSeal,
    EntityRef,
    HistoryBackend,
    HistoryQuery,
    HistoryScope,
    Identity,
    InvalidEntityId,
    InvalidLocation,
    InvalidRequest,
    LocationNotFound,
    NotAuthorized,
    PluginConfig,
    Resources,
    ServerHandle,
    Unavailable,
    UnknownEntityType,
    credentials_of,
    limit_reached,
    parse_timestamp,
)
from atriz_realtime_history.formats import FORMATS, JSON, Format, Shown
from atriz_realtime_history.rows import DAY, MS, UNITS
from atriz_realtime_history.settings import HistorySettings
from atriz_realtime_history.simplify import kept

logger = logging.getLogger("atriz_realtime.history")

MAX_LIMIT = 100_000
"""Fixes of a page, at most."""

DEFAULT_LIMIT = 1_000
"""Fixes of a page, if the caller does not say; with ``simplify`` it is ``MAX_LIMIT``."""

MAX_FILE = 31 * DAY
"""Milliseconds of a file, which has no pages."""

MAX_METRES = 100_000.0

CHUNK = 2_000
"""Fixes that are read and sent at once."""

VIEWED = 50
"""Fixes that views change in one turn of the event loop, for all callers together."""

MAX_READS = 4
"""Answers of one user that are under way at once."""


@attrs.frozen
class Asked:
    """What a request asks for."""

    query: HistoryQuery
    form: Format
    identity: Identity


class HistoryApi:
    """The call that reads an entity's past."""

    def __init__(
        self,
        store: HistoryBackend,
        config: PluginConfig,
        server: ServerHandle,
        resources: Resources,
    ) -> None:
        self._store = store
        self._server = server
        self._erasers = config.load(HistorySettings).erasers
        self._now = resources.clock.now
        self._report = resources.report
        self._cursors = CursorSeal.of(config)
        self._reads: Counter[str] = Counter()

    async def read(self, request: Request) -> Response:
        """Answer a request; the answer is sent while it is read."""
        tracking, access = self._server.tracking, self._server.access
        identity = await access.authenticate(credentials_of(request), narrow=True)
        try:
            entity = tracking.entity(request.path_params["type"], request.path_params["id"])
        except (UnknownEntityType, InvalidEntityId) as error:
            if identity.only is not None:  # the error names the types that there are
                raise NotAuthorized from None
            return JSONResponse(error.to_wire(), LocationNotFound.status)
        asked = Asked(self._query(request, entity, identity), form_of(request), identity)
        parts = self._parts(asked)
        first = await anext(parts)  # what is refused is refused before an answer begins
        return StreamingResponse(
            _joined(first, parts), media_type=asked.form.media_type, headers=_headers(asked)
        )

    async def erase(self, request: Request) -> Response:
        """``DELETE /api/tracking/<type>/<id>/history``, for those whom ``erasers`` admits."""
        identity = await self._server.access.authenticate(credentials_of(request))
        if self._erasers is None or not self._erasers.admits(identity):
            raise NotAuthorized
        tracking = self._server.tracking
        entity = tracking.entity(request.path_params["type"], request.path_params["id"])
        waiting = await tracking.forget(entity)  # first: what waits would be stored again
        removed = await self._store.forget(HistoryScope(entity=entity))
        logger.warning("erased %d fixes of %s, and %d that waited", removed, entity, waiting)
        return JSONResponse({"success": True, "fixes": removed, "waiting": waiting})

    def _query(self, request: Request, entity: EntityRef, identity: Identity) -> HistoryQuery:
        given = request.query_params
        form = form_of(request)
        for name in given.keys() - {"from", "to", "limit", "cursor", "simplify"}:
            raise InvalidRequest(f"unknown parameter {name[:64]!r}", field=name[:64])
        now = round(MS * self._now())
        end = _time(given, "to", now)
        start = _time(given, "from", end - DAY)
        if start > end:
            raise InvalidRequest("from must not be after to", field="from")
        if not form.has_pages:
            for name in {"limit", "cursor"} & given.keys():
                raise InvalidRequest(f"{name} is for JSON alone", field=name)
            if end - start > MAX_FILE:
                raise InvalidRequest("from and to must be 31 days apart at most", field="from")
        received_from = None
        if identity.sees_from is not None:
            received_from = math.ceil(MS * identity.sees_from)
            start = max(start, received_from)
        elif identity.only is not None:  # nobody says since when it may see the entity
            raise NotAuthorized
        simplify = _metres(given)
        cursor = given.get("cursor")
        return HistoryQuery(
            entity=entity,
            start=start,
            end=end,
            received_from=received_from,
            cursor=None if cursor is None else self._cursors.open(cursor),
            limit=_limit(given, DEFAULT_LIMIT if simplify is None else MAX_LIMIT),
            simplify=simplify,
        )

    async def _parts(self, asked: Asked) -> AsyncIterator[bytes]:
        """The answer, in parts.  Permission is asked again for each."""
        form, query = asked.form, asked.query
        left, cursor = query.limit if form.has_pages else None, query.cursor
        is_first = True
        with self._reading(asked.identity.user_id):
            while True:
                some = CHUNK if query.simplify is None else MAX_LIMIT
                some = some if left is None else min(left, some)
                shown, cursor = await self._chunk(asked, cursor, some)
                yield b"".join(form.part(query.entity, shown, is_first=is_first))
                is_first = False
                left = None if left is None else left - some
                if cursor is None or left == 0:
                    break
            yield form.end(None if cursor is None else self._cursors.seal(cursor))

    async def _chunk(
        self, asked: Asked, cursor: str | None, limit: int
    ) -> tuple[Sequence[Shown], str | None]:
        """Some fixes as the caller sees them, and the cursor of the next."""
        query, identity, access = asked.query, asked.identity, self._server.access
        if not await access.may_track(identity, query.entity):
            raise NotAuthorized
        view = await access.view_of(identity, query.entity)
        simplify = query.simplify if view is None else None  # what is shown is simplified, not more
        page = await self._store.read(
            attrs.evolve(query, cursor=cursor, limit=limit, simplify=simplify)
        )
        if view is None:
            return [Shown(fix.location, fix.throttled) for fix in page.fixes], page.next_cursor
        shown: list[Shown] = []
        for place in range(0, len(page.fixes), VIEWED):
            await self._server.tracking.take_turn(1, owner=identity.user_id)
            view = await access.view_of(identity, query.entity)
            for fix in page.fixes[place : place + VIEWED]:
                location = fix.location if view is None else view(fix.location)
                if location is not None:
                    shown.append(Shown(location, fix.throttled))
        if query.simplify is not None:
            shown = _simplified(shown, query.simplify)
        return shown, page.next_cursor

    @contextmanager
    def _reading(self, user: str) -> Iterator[None]:
        if self._reads[user] >= MAX_READS:
            message = f"more than {MAX_READS} answers of a user are under way: one is refused"
            limit_reached(self._report, f"{__name__}.MAX_READS", message)
            raise Unavailable("Too many answers at once", retry_after=1)
        self._reads[user] += 1
        try:
            yield
        finally:
            self._reads[user] -= 1
            if not self._reads[user]:
                del self._reads[user]


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


def _simplified(shown: Sequence[Shown], metres: float) -> list[Shown]:
    places = [each.decoded() for each in shown]
    latitudes = [round(UNITS * each["latitude"]) for each in places]
    longitudes = [round(UNITS * each["longitude"]) for each in places]
    return [shown[place] for place in kept(latitudes, longitudes, UNITS, metres)]


def _headers(asked: Asked) -> dict[str, str]:
    headers = {"cache-control": "no-store", "vary": "accept, authorization"}
    if asked.form is not JSON:
        name = quote(f"{asked.query.entity.id}.{asked.form.suffix}", safe="")
        headers["content-disposition"] = f"attachment; filename*=UTF-8''{name}"
    return headers


def form_of(request: Request) -> Format:
    """The format that a request accepts; JSON if it does not say.

    :raises InvalidRequest: when it accepts none.
    """
    accepted: list[tuple[float, int, Format]] = []
    ranges = request.headers.get("accept", "*/*").split(",")
    for order, text in enumerate(ranges):
        name, *parameters = (part.strip().lower() for part in text.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        for form in FORMATS:
            if name in (form.mime, "*/*", form.mime.partition("/")[0] + "/*"):
                accepted.append((-quality, order, form))
                break
    accepted.sort(key=lambda each: each[:2])
    if not accepted or not accepted[0][0]:
        names = ", ".join(form.mime for form in FORMATS)
        raise InvalidRequest(f"Accept must allow one of {names}", field="Accept")
    return accepted[0][2]


def _time(given: Mapping[str, str], name: str, default: int) -> int:
    """A time of a request, in milliseconds since the epoch."""
    text = given.get(name)
    if text is None:
        return default
    try:
        return round(MS * parse_timestamp(text).timestamp())
    except InvalidLocation:
        raise InvalidRequest(
            f"{name} must be ISO 8601 with a time zone, such as 2026-01-31T12:00:00Z", field=name
        ) from None


def _limit(given: Mapping[str, str], default: int) -> int:
    text = given.get("limit")
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:7]) <= MAX_LIMIT:
        raise InvalidRequest(f"limit must be a whole number from 1 to {MAX_LIMIT}", field="limit")
    return int(text)


def _metres(given: Mapping[str, str]) -> float | None:
    text = given.get("simplify")
    if text is None:
        return None
    try:
        metres = float(text)
    except ValueError:
        metres = math.nan
    if not 0 < metres <= MAX_METRES:
        raise InvalidRequest(
            f"simplify must be metres, more than 0 and up to {MAX_METRES:.0f}", field="simplify"
        )
    return metres

"""The documented HTTP API: publish locations, one or many, and read the current ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import starmap

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atriz_realtime.api import (
    CursorSeal,
    Endpoint,
    EntityRef,
    HttpAnswer,
    HttpCall,
    Identity,
    InvalidEntityId,
    InvalidRequest,
    LocationNotFound,
    NotAuthorized,
    Page,
    PluginConfig,
    RealtimeError,
    Report,
    Resources,
    ServerHandle,
    Unavailable,
    UnknownEntityType,
    credentials_of,
    encode_json,
    hookimpl,
    limit_reached,
)
from atriz_realtime.defaults.shared.updates import Updates

PREFIX = "/api/tracking"
JSON = "application/json"

EXPIRED = b',"expired":true'
"""What marks a last known location in an answer."""

MAX_PAGE = 1_000
"""Locations on one page of a listing, at most and by default."""

ENTITIES_AT_ONCE = 20
"""Locations of one listing that are authorized at once, for authorizers that ask a service."""

ENTITIES_PER_TURN = 50
"""Locations that are authorized and encoded in one turn of the event loop, for all listings
together."""

MAX_LISTED = 33_554_432
"""Bytes of the pages that are being put together, at most; one page may be larger.  Further pages
wait, and take as much again until they have been answered."""

PAGES_READ = 4
"""Pages that are read, or wait to be put together, at once."""

MAX_LISTINGS = 16
"""Listings of one user that may wait for an earlier one of the same user, which is read or put
together; beyond, a further one is refused."""

MAX_USER_BATCHES = 2_097_152
"""Bytes of the batches of one user that are under way: a quarter of what those of all users may
have.  Beyond, a further one is refused; one alone always has room."""

RETRY_AFTER = 1
"""Seconds after which a user whose listing or batch was refused should send it again."""


@attrs.define(eq=False)
class Listings:
    """The listings of one user, of which one at a time is read and put together."""

    count: int = 0
    turn: asyncio.Lock = attrs.field(factory=asyncio.Lock)


class Pages:
    """Bounds what the pages of listings take while they are put together.

    :param report: counts that a user has as many listings as may wait.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._users: dict[str, Listings] = {}
        self._reading = asyncio.Semaphore(PAGES_READ)
        self._held = 0
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, user: str, read: Callable[[], Awaitable[Page]]) -> AsyncIterator[Page]:
        """Read a page as soon as it may be read; it is held until the context ends.

        The pages of one user are read one after another, so that others wait for one of them.

        :raises Unavailable: when as many listings of the user wait as may.
        """
        listings = self._users.setdefault(user, Listings())
        if listings.count > MAX_LISTINGS:  # one of them does not wait
            message = f"more than {MAX_LISTINGS} listings of a user wait: one is refused"
            limit_reached(self._report, f"{__name__}.MAX_LISTINGS", message)
            raise Unavailable("Too many listings at once", retry_after=RETRY_AFTER)
        listings.count += 1
        try:
            async with listings.turn, self._held_page(read) as page:
                yield page
        finally:
            listings.count -= 1
            if not listings.count:
                del self._users[user]

    @asynccontextmanager
    async def _held_page(self, read: Callable[[], Awaitable[Page]]) -> AsyncIterator[Page]:
        async with self._reading:
            page = await read()
            size = sum([len(location) for _, location in page.items])
            while self._held and self._held + size > MAX_LISTED:
                self._freed.clear()
                await self._freed.wait()
            self._held += size
        try:
            yield page
        finally:
            self._held -= size
            self._freed.set()


class Batches:
    """Bounds what the batches of each user take, so that there is room for those of others.

    :param report: counts that a batch was refused.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._users: dict[str, int] = {}  # bytes

    @contextmanager
    def hold(self, user: str, size: int) -> Iterator[None]:
        """Count a batch of ``size`` bytes as under way until the context ends.

        :raises Unavailable: when it has no room beside others of the user.
        """
        others = self._users.get(user, 0)
        if others and others + size > MAX_USER_BATCHES:
            message = f"more than {MAX_USER_BATCHES} bytes of batches of a user: one is refused"
            limit_reached(self._report, f"{__name__}.MAX_USER_BATCHES", message)
            raise Unavailable("Too many batches at once", retry_after=RETRY_AFTER)
        self._users[user] = others + size
        try:
            yield
        finally:
            self._users[user] -= size
            if not self._users[user]:
                del self._users[user]


class TrackingApi:
    """The calls under ``/api/tracking``."""

    def __init__(self, config: PluginConfig, server: ServerHandle, resources: Resources) -> None:
        self._server = server
        self._updates = Updates(config, server, resources)
        self._pages = Pages(resources.report)
        self._batches = Batches(resources.report)
        self._cursors = CursorSeal.of(config)

    async def publish(self, call: HttpCall) -> HttpAnswer:
        """``POST /api/tracking/location``."""
        identity = await self._server.access.authenticate(call.credentials())
        return HttpAnswer(encode_json(await self._updates.publish(call.json_object(), identity)))

    async def publish_batch(self, call: HttpCall) -> HttpAnswer:
        """``POST /api/tracking/batch``."""
        identity = await self._server.access.authenticate(call.credentials())
        with self._batches.hold(identity.user_id, len(call.body)):
            updates = call.json_object().get("updates")
            if not isinstance(updates, list):
                raise InvalidRequest("updates must be a list", field="updates")
            batch = await self._updates.publish_batch(updates, identity)
            return HttpAnswer(encode_json(batch.answer()))

    async def current(self, request: Request) -> Response:
        """``GET /api/tracking/<type>/<id>?expired=include``."""
        tracking, expired = self._server.tracking, False
        identity = await self._server.access.authenticate(credentials_of(request), narrow=True)
        try:
            entity = tracking.entity(request.path_params["type"], request.path_params["id"])
        except (UnknownEntityType, InvalidEntityId) as error:
            if identity.only is not None:  # the error names the types that there are
                raise NotAuthorized from None
            return JSONResponse(error.to_wire(), LocationNotFound.status)
        if not await self._server.access.may_track(identity, entity):
            raise NotAuthorized
        includes_expired = _includes_expired(request)
        location = await tracking.current(entity)
        # whoever has a link is shown no location from before it was made
        if location is None and includes_expired and identity.only is None:
            location, expired = await tracking.last_known(entity), True
        if location is not None:
            location = await self._server.access.shown(identity, entity, location)
        if location is None:
            raise LocationNotFound
        return Response(_as_expired(location) if expired else location, media_type=JSON)

    async def list_type(self, request: Request) -> Response:
        """``GET /api/tracking/<type>?limit=…&cursor=…&expired=include``."""
        identity = await self._server.access.authenticate(credentials_of(request))
        limit = _page_limit(request.query_params.get("limit"))
        expired = _includes_expired(request)
        cursor = request.query_params.get("cursor")
        kind = request.path_params["type"]
        opened = None if cursor is None else self._cursors.open(cursor)
        page_of = partial(self._server.tracking.page, owner=identity.user_id, expired=expired)
        read = partial(page_of, kind, opened, limit)
        try:
            async with self._pages.hold(identity.user_id, read) as page:
                body = await self._listing(identity, kind, page)
        except UnknownEntityType as error:
            return JSONResponse(error.to_wire(), LocationNotFound.status)
        return Response(body, media_type=JSON)

    async def _listing(self, identity: Identity, kind: str, page: Page) -> bytes:
        """What the caller may see of a page."""
        access = self._server.access

        async def shown(entity_id: str, location: bytes) -> bytes | None:
            await self._server.tracking.take_turn(ENTITIES_PER_TURN, owner=identity.user_id)
            entity = EntityRef(kind, entity_id)
            try:
                if not await access.may_track(identity, entity):
                    return None
            except RealtimeError:  # about this entity alone
                return None
            seen = await access.shown(identity, entity, location)
            mark = EXPIRED if entity_id in page.expired else b""
            return seen and b'{"entityId":%b,"location":%b%b}' % (
                encode_json(entity_id),
                seen,
                mark,
            )

        locations: list[bytes] = []
        for start in range(0, len(page.items), ENTITIES_AT_ONCE):
            group = page.items[start : start + ENTITIES_AT_ONCE]
            locations.extend(filter(None, await asyncio.gather(*starmap(shown, group))))
        return b'{"type":%b,"locations":[%b],"nextCursor":%b}' % (
            encode_json(kind),
            b",".join(locations),
            encode_json(None if page.next_cursor is None else self._cursors.seal(page.next_cursor)),
        )


def _includes_expired(request: Request) -> bool:
    """Whether a request is about last known locations, too."""
    text = request.query_params.get("expired")
    if text not in (None, "include"):
        raise InvalidRequest("expired must be include", field="expired")
    return text is not None


def _as_expired(location: bytes) -> bytes:
    """The JSON of a location with a mark; other programs may have written it in their own way."""
    start = location.rstrip()[:-1].rstrip()
    return start + (EXPIRED[1:] if start.endswith(b"{") else EXPIRED) + b"}"


def _page_limit(text: str | None) -> int:
    if text is None:
        return MAX_PAGE
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= MAX_PAGE:
        raise InvalidRequest(f"limit must be a whole number from 1 to {MAX_PAGE}", field="limit")
    return int(text)


@hookimpl
def register_endpoints(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> list[Endpoint]:
    """Register the calls that publish locations, which are frequent."""
    api = TrackingApi(config, server, resources)
    return [
        Endpoint(f"{PREFIX}/location", api.publish),
        Endpoint(f"{PREFIX}/batch", api.publish_batch),
    ]


@hookimpl
def register_routes(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> list[Route]:
    """Register the calls that read locations, which are rare."""
    api = TrackingApi(config, server, resources)
    return [
        Route(f"{PREFIX}/{{type}}", api.list_type, methods=["GET"]),
        Route(f"{PREFIX}/{{type}}/{{id:path}}", api.current, methods=["GET"]),
    ]

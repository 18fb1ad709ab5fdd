"""The documented HTTP API: publish locations, one or many, and read the current ones."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atriz_realtime.api import (
    Endpoint,
    EntityRef,
    HttpAnswer,
    HttpCall,
    InvalidEntityId,
    InvalidRequest,
    LocationNotFound,
    NotAuthorized,
    PluginConfig,
    Resources,
    ServerHandle,
    UnknownEntityType,
    credentials_of,
    encode_json,
    hookimpl,
)
from atriz_realtime.defaults.shared.updates import Updates

PREFIX = "/api/tracking"

MAX_PAGE = 1_000
"""Locations on one page of a listing, at most and by default."""


class TrackingApi:
    """The calls under ``/api/tracking``."""

    def __init__(self, config: PluginConfig, server: ServerHandle, resources: Resources) -> None:
        self._server = server
        self._updates = Updates(config, server, resources)

    async def publish(self, call: HttpCall) -> HttpAnswer:
        """``POST /api/tracking/location``."""
        identity = await self._server.access.authenticate(call.credentials())
        return HttpAnswer(encode_json(await self._updates.publish(call.json_object(), identity)))

    async def publish_batch(self, call: HttpCall) -> HttpAnswer:
        """``POST /api/tracking/batch``."""
        identity = await self._server.access.authenticate(call.credentials())
        updates = call.json_object().get("updates")
        if not isinstance(updates, list):
            raise InvalidRequest("updates must be a list", field="updates")
        return HttpAnswer(encode_json(await self._updates.publish_batch(updates, identity)))

    async def current(self, request: Request) -> Response:
        """``GET /api/tracking/<type>/<id>``."""
        identity = await self._server.access.authenticate(credentials_of(request), narrow=True)
        try:
            entity = self._server.tracking.entity(
                request.path_params["type"], request.path_params["id"]
            )
        except (UnknownEntityType, InvalidEntityId) as error:
            return JSONResponse(error.to_wire(), LocationNotFound.status)
        if not await self._server.access.may_track(identity, entity):
            raise NotAuthorized
        location = await self._server.tracking.current(entity)
        if location is not None:
            location = await self._server.access.shown(identity, entity, location)
        if location is None:
            raise LocationNotFound
        return Response(location, media_type="application/json")

    async def list_type(self, request: Request) -> Response:
        """``GET /api/tracking/<type>?limit=…&cursor=…``."""
        identity = await self._server.access.authenticate(credentials_of(request))
        limit = _page_limit(request.query_params.get("limit"))
        cursor = request.query_params.get("cursor")
        kind = request.path_params["type"]
        try:
            page = await self._server.tracking.page(kind, cursor, limit)
        except UnknownEntityType as error:
            return JSONResponse(error.to_wire(), LocationNotFound.status)
        access = self._server.access
        locations = [
            b'{"entityId":%b,"location":%b}' % (encode_json(entity_id), shown)
            for entity_id, location in page.items
            if await access.may_track(identity, EntityRef(kind, entity_id))
            and (shown := await access.shown(identity, EntityRef(kind, entity_id), location))
        ]
        body = b'{"type":%b,"locations":[%b],"nextCursor":%b}' % (
            encode_json(kind),
            b",".join(locations),
            encode_json(page.next_cursor),
        )
        return Response(body, media_type="application/json")


def _page_limit(text: str | None) -> int:
    if text is None:
        return MAX_PAGE
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= MAX_PAGE:
        raise InvalidRequest(f"limit must be a number from 1 to {MAX_PAGE}", field="limit")
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

"""The documented HTTP interface: publish one or many positions, read the current ones."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atriz_realtime.api import (
    Credentials,
    Endpoint,
    EntityRef,
    Headers,
    HttpAnswer,
    HttpCall,
    Identity,
    InvalidEntityId,
    InvalidRequest,
    Location,
    LocationNotFound,
    NotAuthorized,
    PayloadTooLarge,
    PluginConfig,
    PublishResult,
    RealtimeError,
    ServerHandle,
    UnknownEntityType,
    decode_json,
    encode_json,
    format_timestamp,
    hookimpl,
)

PREFIX = "/api/tracking"

MAX_PAGE = 1_000
"""Locations on one page of a listing; also how many there are when nobody says."""

DOCUMENTED_IDS = {"vehicleId": "vehicle", "deliveryId": "delivery"}
"""Names an update may give an id by, each with the type it stands for."""


class TrackingApi:
    """The endpoints under ``/api/tracking``."""

    def __init__(self, config: PluginConfig, server: ServerHandle) -> None:
        self._server = server
        self._max_batch: int = config.settings["max_batch"]

    def endpoints(self) -> list[Endpoint]:
        """What devices call all the time."""
        return [
            Endpoint(f"{PREFIX}/location", self.publish),
            Endpoint(f"{PREFIX}/batch", self.publish_batch),
        ]

    def routes(self) -> list[Route]:
        """What is called now and then."""
        return [
            Route(f"{PREFIX}/{{type}}", self.list_type, methods=["GET"]),
            Route(f"{PREFIX}/{{type}}/{{id:path}}", self.current, methods=["GET"]),
        ]

    async def publish(self, call: HttpCall) -> HttpAnswer:
        """``POST /api/tracking/location``."""
        identity = await self._identify(call.headers, call.address)
        entity, location = self._update(_object(call), identity)
        result = await self._server.tracking.publish(entity, location, identity)
        return HttpAnswer(
            b'{"success":true,"timestamp":"%b","message":"Location updated"%b}'
            % (
                format_timestamp(result.location.timestamp).encode(),
                b',"throttled":true' if result.throttled else b"",
            )
        )

    async def publish_batch(self, call: HttpCall) -> HttpAnswer:
        """``POST /api/tracking/batch``: each update stands for itself, in order by entity."""
        identity = await self._identify(call.headers, call.address)
        updates = _object(call).get("updates")
        if not isinstance(updates, list):
            raise InvalidRequest("updates must be a list", field="updates")
        if len(updates) > self._max_batch:
            raise PayloadTooLarge(f"more than {self._max_batch} updates", field="updates")
        rejected: list[tuple[int, RealtimeError]] = []
        by_entity: defaultdict[EntityRef, list[tuple[int, Location]]] = defaultdict(list)
        for index, update in enumerate(updates):
            try:
                entity, location = self._update(update, identity)
            except RealtimeError as error:
                rejected.append((index, error))
            else:
                by_entity[entity].append((index, location))

        async def publish_entity(entity: EntityRef) -> list[PublishResult]:
            results = []
            for index, location in by_entity[entity]:
                try:
                    results.append(await self._server.tracking.publish(entity, location, identity))
                except RealtimeError as error:
                    rejected.append((index, error))
            return results

        done = await asyncio.gather(*(publish_entity(entity) for entity in by_entity))
        results = [result for entity_results in done for result in entity_results]
        throttled = sum(result.throttled for result in results)
        return HttpAnswer(
            encode_json(
                {
                    "success": True,
                    "accepted": len(results) - throttled,
                    "throttled": throttled,
                    "rejected": [
                        {"index": index} | _without_success(error)
                        for index, error in sorted(rejected, key=lambda entry: entry[0])
                    ],
                }
            )
        )

    async def current(self, request: Request) -> Response:
        """``GET /api/tracking/<type>/<id>``."""
        identity = await self._caller(request)
        try:
            entity = self._server.tracking.entity(
                request.path_params["type"], request.path_params["id"]
            )
        except (UnknownEntityType, InvalidEntityId) as error:
            return JSONResponse(error.to_wire(), LocationNotFound.status)
        if not await self._server.access.may_track(identity, entity):
            raise NotAuthorized
        location = await self._server.tracking.current(entity)
        if location is None:
            raise LocationNotFound
        return Response(location, media_type="application/json")

    async def list_type(self, request: Request) -> Response:
        """``GET /api/tracking/<type>?limit=…&cursor=…``."""
        identity = await self._caller(request)
        limit = _page_limit(request.query_params.get("limit"))
        cursor = request.query_params.get("cursor")
        kind = request.path_params["type"]
        try:
            page = await self._server.tracking.page(kind, cursor, limit)
        except UnknownEntityType as error:
            return JSONResponse(error.to_wire(), LocationNotFound.status)
        locations = [
            b'{"entityId":%b,"location":%b}' % (encode_json(entity_id), location)
            for entity_id, location in page.items
            if await self._server.access.may_track(identity, EntityRef(kind, entity_id))
        ]
        body = b'{"type":%b,"locations":[%b],"nextCursor":%b}' % (
            encode_json(kind),
            b",".join(locations),
            encode_json(page.next_cursor),
        )
        return Response(body, media_type="application/json")

    async def _caller(self, request: Request) -> Identity:
        address = request.client.host if request.client else None
        return await self._identify(Headers(request.headers.raw), address)

    async def _identify(self, headers: Headers, address: str | None) -> Identity:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return await self._server.access.authenticate(
            Credentials(
                token=token.strip() if scheme.lower() == "bearer" and token.strip() else None,
                source="http",
                headers=headers,
                address=address,
            )
        )

    def _update(self, update: object, identity: Identity) -> tuple[EntityRef, Location]:
        """Read one update: which entity, and where it is.

        ``deviceId`` defaults to the entity's id and ``timestamp`` to now; ``userId``
        is always the caller's.
        """
        if not isinstance(update, dict):
            raise InvalidRequest("an update must be a JSON object")
        fields = dict(update)
        kind, id_field = fields.pop("type", None), "entityId"
        for name, documented_kind in DOCUMENTED_IDS.items():
            if name in fields and "entityId" not in fields and kind in (None, documented_kind):
                kind, id_field = documented_kind, name
                break
        if kind is None:
            raise InvalidRequest("vehicleId, or type and entityId, is required", field="type")
        if id_field not in fields:
            raise InvalidRequest("entityId is required", field="entityId")
        try:
            entity = self._server.tracking.entity(kind, fields.pop(id_field))
        except InvalidEntityId as error:
            raise InvalidEntityId(error.message, field=id_field) from error
        fields.setdefault("deviceId", entity.id)
        fields.setdefault("timestamp", datetime.now(UTC))
        fields["userId"] = identity.user_id
        return entity, Location.from_wire(fields)


def _object(call: HttpCall) -> Mapping[str, Any]:
    """The JSON object that is a call's body."""
    data = decode_json(call.body)
    if not isinstance(data, dict):
        raise InvalidRequest("the body must be a JSON object")
    return data


def _page_limit(text: str | None) -> int:
    if text is None:
        return MAX_PAGE
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= MAX_PAGE:
        raise InvalidRequest(f"limit must be a number from 1 to {MAX_PAGE}", field="limit")
    return int(text)


def _without_success(error: RealtimeError) -> dict[str, object]:
    return {key: value for key, value in error.to_wire().items() if key != "success"}


@hookimpl
def register_endpoints(config: PluginConfig, server: ServerHandle) -> list[Endpoint]:
    """Take positions under ``/api/tracking``."""
    return TrackingApi(config, server).endpoints()


@hookimpl
def register_routes(config: PluginConfig, server: ServerHandle) -> list[Route]:
    """Tell positions under ``/api/tracking``."""
    return TrackingApi(config, server).routes()

"""Making a share, and ending it, over HTTP."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from atriz_realtime.api import (
    Clock,
    EntityRef,
    HttpAnswer,
    HttpCall,
    InvalidRequest,
    NotAuthorized,
    RateLimited,
    ServerHandle,
    credentials_of,
    encode_json,
    format_timestamp,
)
from atriz_realtime.defaults.revocations import revoke
from atriz_realtime.defaults.sharing.settings import Sharing
from atriz_realtime.defaults.sharing.tokens import Share

PATH = "/api/tracking/shares"

HOUR = 3_600.0

MAX_USERS = 10_000
"""Users whose shares are counted; beyond, the one who made one longest ago is forgotten."""

FIELDS = {"type", "entityId", "seconds"}


class Quota:
    """How many shares each user made within an hour."""

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._made: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, user: str) -> None:
        """Count one more.

        :raises RateLimited: when those were all.
        """
        if not self._limit:
            return
        now = self._clock.monotonic()
        begun, count = self._made.get(user, (now, 0))
        if now - begun >= HOUR:
            begun, count = now, 0
        if count >= self._limit:
            wait = math.ceil(begun + HOUR - now)
            raise RateLimited("Too many shares", retry_after=wait)
        self._made[user] = (begun, count + 1)
        self._made.move_to_end(user)
        if len(self._made) > MAX_USERS:
            self._made.popitem(last=False)


class SharesApi:
    """The calls under ``/api/tracking/shares``."""

    def __init__(self, sharing: Sharing, server: ServerHandle, clock: Clock) -> None:
        self._sharing = sharing
        self._server = server
        self._quota = Quota(sharing.settings.max_created, clock)

    async def create(self, call: HttpCall) -> HttpAnswer:
        """``POST /api/tracking/shares``.

        Nobody shares what they may not track, or more than they are shown of it.
        """
        access = self._server.access
        caller = await access.authenticate(call.credentials())
        entity, seconds = self._wanted(call.json_object())
        if not await access.may_track(caller, entity):
            raise NotAuthorized
        share, token = self._sharing.tokens.make(entity, seconds, caller.user_id)
        if not await access.sees_no_more(share.identity(), caller, entity):
            raise NotAuthorized
        self._quota.take(caller.user_id)
        body = {"success": True, **described(share, token, self._sharing)}
        return HttpAnswer(encode_json(body), 201, ((b"cache-control", b"no-store"),))

    async def end(self, request: Request) -> Response:
        """``DELETE /api/tracking/shares/<id>``, by whoever made it."""
        caller = await self._server.access.authenticate(credentials_of(request))
        share_id: str = request.path_params["id"]
        expires = self._sharing.tokens.made_by(share_id, caller.user_id)
        await revoke(self._server.signals, "token", share_id, expires=expires)
        return JSONResponse({"success": True})

    def _wanted(self, data: Mapping[str, Any]) -> tuple[EntityRef, int]:
        for field in data.keys() - FIELDS:
            raise InvalidRequest(f"unknown field {field[:64]!r}", field=field[:64])
        for field in FIELDS - data.keys():
            raise InvalidRequest(f"{field} is required", field=field)
        seconds, most = data["seconds"], self._sharing.settings.max_life
        if type(seconds) is not int or not 1 <= seconds <= most:
            raise InvalidRequest(f"seconds must be a number from 1 to {most}", field="seconds")
        return self._server.tracking.entity(data["type"], data["entityId"]), seconds


def described(share: Share, token: str, sharing: Sharing) -> dict[str, object]:
    """A share as whoever made it is told of it."""
    return {
        "id": share.id,
        "type": share.entity.type,
        "entityId": share.entity.id,
        "expiresAt": format_timestamp(datetime.fromtimestamp(share.expires, UTC)),
        "token": token,
        "url": sharing.link(token),
    }

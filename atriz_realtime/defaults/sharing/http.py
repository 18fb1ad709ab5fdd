"""The HTTP API that creates shares, ends them, and says why one ended."""

from __future__ import annotations

import json
import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from atriz_realtime.api import (
    AuthenticationRejected,
    Clock,
    EntityRef,
    HttpAnswer,
    HttpCall,
    InvalidRequest,
    NotAuthorized,
    RateLimited,
    Report,
    Resources,
    ServerHandle,
    credentials_of,
    encode_json,
    format_timestamp,
    limit_reached,
)
from atriz_realtime.defaults.revocations import revoke
from atriz_realtime.defaults.sharing.details import Details
from atriz_realtime.defaults.sharing.ends import End, Ends
from atriz_realtime.defaults.sharing.settings import Sharing
from atriz_realtime.defaults.sharing.tokens import Share

PATH = "/api/tracking/shares"

HOUR = 3_600.0

MAX_USERS = 10_000
"""Users whose shares are counted; beyond, the user with the oldest count is forgotten."""

REQUIRED = ("type", "entityId", "seconds")

OPTIONAL = ("name", "destination", "show")


_LONE = re.compile("[\ud800-\udfff]")


class Quota:
    """Limits what each user does with shares in an hour."""

    def __init__(self, limit: int, clock: Clock, report: Report) -> None:
        self._limit = limit
        self._clock = clock
        self._report = report
        self._made: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, user: str) -> None:
        """Count one share that is created or ended.

        :raises RateLimited: when the user has reached the limit.
        """
        if not self._limit:
            return
        now = self._clock.monotonic()
        start, count = self._made.get(user, (now, 0))
        if now - start >= HOUR:
            start, count = now, 0
        if count >= self._limit:
            wait = math.ceil(start + HOUR - now)
            raise RateLimited("Too many shares", retry_after=wait)
        self._made[user] = (start, count + 1)
        self._made.move_to_end(user)
        if len(self._made) > MAX_USERS:
            _, (start, _) = self._made.popitem(last=False)
            if now - start < HOUR:
                message = f"more than {MAX_USERS} users in an hour: one is counted from 0 again"
                limit_reached(self._report, f"{__name__}.MAX_USERS", message)


class SharesApi:
    """The calls under ``/api/tracking/shares``."""

    def __init__(self, sharing: Sharing, server: ServerHandle, resources: Resources) -> None:
        self._sharing = sharing
        self._server = server
        clock, report = resources.clock, resources.report
        self._ends = Ends(resources.redis, resources.settings["redis_prefix"], report)
        self._created = Quota(sharing.settings.max_created, clock, report)
        self._ended = Quota(sharing.settings.max_ended, clock, report)

    async def create(self, call: HttpCall) -> HttpAnswer:
        """``POST /api/tracking/shares``.

        A caller cannot share an entity that it may not track, nor more than it sees of it.
        """
        access = self._server.access
        caller = await access.authenticate(call.credentials())
        entity, seconds, details = self._read(_fields(call))
        if not await access.may_track(caller, entity):
            raise NotAuthorized
        share, token = self._sharing.tokens.make(entity, seconds, caller.user_id, details)
        if not await access.sees_no_more(share.identity(), caller, entity):
            raise NotAuthorized
        self._created.take(caller.user_id)
        body = {"success": True, **described(share, token, self._sharing)}
        return HttpAnswer(encode_json(body), 201, ((b"cache-control", b"no-store"),))

    async def end(self, request: Request) -> Response:
        """``DELETE /api/tracking/shares/<id>?reason=…``, for the user who created it.

        Ending a share again changes nothing but the reason, if there is one.
        """
        caller = await self._server.access.authenticate(credentials_of(request))
        share_id: str = request.path_params["id"]
        expires = self._sharing.tokens.made_by(share_id, caller.user_id)
        reason = request.query_params.get("reason")
        end = None if reason is None else End.now(reason)
        self._ended.take(caller.user_id)
        if end is not None:  # first, so that the pages that are cut find it
            await self._ends.put(share_id, end, expires)
        await revoke(self._server.signals, "token", share_id, expires=expires)
        return JSONResponse({"success": True})

    async def told(self, request: Request) -> Response:
        """``GET /track/end``: why the share of a token ended; the same for all but its holders.

        The link may have expired, and is revoked: nobody authenticates with it any more.
        """
        token = credentials_of(request).token or ""
        try:
            share = self._sharing.tokens.read(token, expired=True)
        except AuthenticationRejected:
            share = None
        end = None if share is None else await self._ends.get(share.id)
        said = {} if end is None else {"reason": end.reason, "at": _timestamp(end.at)}
        return JSONResponse(said, headers={"cache-control": "no-store"})

    def _read(self, data: Mapping[str, Any]) -> tuple[EntityRef, int, Details]:
        for field in data.keys() - {*REQUIRED, *OPTIONAL}:
            raise InvalidRequest(f"unknown field {field[:64]!r}", field=field[:64])
        for field in REQUIRED:
            if field not in data:
                raise InvalidRequest(f"{field} is required", field=field)
        seconds, most = data["seconds"], self._sharing.settings.max_life
        if type(seconds) is not int or not 1 <= seconds <= most:
            raise InvalidRequest(
                f"seconds must be a whole number from 1 to {most}", field="seconds"
            )
        entity = self._server.tracking.entity(data["type"], data["entityId"])
        return entity, seconds, Details.from_wire(data, self._sharing.settings.fields)


def _fields(call: HttpCall) -> dict[str, Any]:
    """The fields of a request.

    :raises InvalidRequest: naming the field that has half a character, if that is what makes its
        JSON invalid: JavaScript cuts texts between the two halves of an emoji.
    """
    try:
        return call.json_object()
    except InvalidRequest:
        for field in _halved(call.body):
            message = f"{field} has half a character (a lone surrogate)"
            raise InvalidRequest(message, field=field) from None
        raise


def _halved(body: bytes) -> list[str]:
    """The fields of a JSON object with a text that has a lone surrogate."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return []
    fields: dict[str, Any] = found if isinstance(found, dict) else {}
    place = fields.get("destination")
    texts = {"name": fields.get("name")}
    if isinstance(place, dict):
        texts["destination.label"] = place.get("label")
    return [field for field, text in texts.items() if isinstance(text, str) and _LONE.search(text)]


def described(share: Share, token: str, sharing: Sharing) -> dict[str, object]:
    """A share as its creator gets it."""
    return {
        "id": share.id,
        "type": share.entity.type,
        "entityId": share.entity.id,
        **share.details.to_wire(),
        "expiresAt": _timestamp(share.expires),
        "token": token,
        "url": sharing.link(token),
    }


def _timestamp(seconds: int) -> str:
    return format_timestamp(datetime.fromtimestamp(seconds, UTC))

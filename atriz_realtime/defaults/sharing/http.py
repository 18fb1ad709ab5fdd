"""The HTTP side of shares: the API that creates and ends them, and the page that shows one."""

from __future__ import annotations

import html
import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from atriz_realtime.api import (
    Clock,
    EntityRef,
    HttpAnswer,
    HttpCall,
    InvalidRequest,
    NotAuthorized,
    PluginConfig,
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
from atriz_realtime.defaults.shared.pages import (
    DIST,
    MAP_FILES,
    MEDIA_TYPES,
    file_routes,
)
from atriz_realtime.defaults.sharing.settings import Sharing, SharingSettings
from atriz_realtime.defaults.sharing.tokens import Share

PATH = "/api/tracking/shares"

PAGE_PATH = "/track"

FILES = ("share.js", "share.css", "LICENSES.txt", *MAP_FILES)
"""The page's files."""

HOUR = 3_600.0

MAX_USERS = 10_000
"""Users whose shares are counted; beyond, the user with the oldest count is forgotten."""

FIELDS = {"type", "entityId", "seconds"}


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
        self._created = Quota(sharing.settings.max_created, clock, report)
        self._ended = Quota(sharing.settings.max_ended, clock, report)

    async def create(self, call: HttpCall) -> HttpAnswer:
        """``POST /api/tracking/shares``.

        A caller cannot share an entity that it may not track, nor more than it sees of it.
        """
        access = self._server.access
        caller = await access.authenticate(call.credentials())
        entity, seconds = self._read(call.json_object())
        if not await access.may_track(caller, entity):
            raise NotAuthorized
        share, token = self._sharing.tokens.make(entity, seconds, caller.user_id)
        if not await access.sees_no_more(share.identity(), caller, entity):
            raise NotAuthorized
        self._created.take(caller.user_id)
        body = {"success": True, **described(share, token, self._sharing)}
        return HttpAnswer(encode_json(body), 201, ((b"cache-control", b"no-store"),))

    async def end(self, request: Request) -> Response:
        """``DELETE /api/tracking/shares/<id>``, for the user who created it.

        Ending a share again changes nothing.
        """
        caller = await self._server.access.authenticate(credentials_of(request))
        share_id: str = request.path_params["id"]
        expires = self._sharing.tokens.made_by(share_id, caller.user_id)
        self._ended.take(caller.user_id)
        await revoke(self._server.signals, "token", share_id, expires=expires)
        return JSONResponse({"success": True})

    def _read(self, data: Mapping[str, Any]) -> tuple[EntityRef, int]:
        for field in data.keys() - FIELDS:
            raise InvalidRequest(f"unknown field {field[:64]!r}", field=field[:64])
        for field in FIELDS - data.keys():
            raise InvalidRequest(f"{field} is required", field=field)
        seconds, most = data["seconds"], self._sharing.settings.max_life
        if type(seconds) is not int or not 1 <= seconds <= most:
            raise InvalidRequest(
                f"seconds must be a whole number from 1 to {most}", field="seconds"
            )
        return self._server.tracking.entity(data["type"], data["entityId"]), seconds


def described(share: Share, token: str, sharing: Sharing) -> dict[str, object]:
    """A share as its creator gets it."""
    return {
        "id": share.id,
        "type": share.entity.type,
        "entityId": share.entity.id,
        "expiresAt": format_timestamp(datetime.fromtimestamp(share.expires, UTC)),
        "token": token,
        "url": sharing.link(token),
    }


def page_routes(settings: SharingSettings, config: PluginConfig) -> list[Route]:
    """The page and its files.  The page is the same for every link, and for what is none."""
    headers = settings.headers() | {"x-robots-tag": "noindex, nofollow"}
    page = (DIST / "share.html").read_text("utf-8")
    for name, value in settings.for_page(config, root="../").items():
        attribute = re.sub("[A-Z]", lambda found: f"-{found[0].lower()}", name)
        page = page.replace(f"{{{attribute}}}", html.escape(value))

    async def show(_: Request) -> Response:
        """Answer with the page, whatever the path; its socket shows whether the token is good."""
        return Response(
            page, media_type=MEDIA_TYPES["html"], headers={**headers, "cache-control": "no-store"}
        )

    async def redirect(_: Request) -> Response:
        """Add the slash that the page's relative addresses need, under any prefix of a proxy."""
        return RedirectResponse(f"{PAGE_PATH.rpartition('/')[2]}/", 308, headers)

    return [
        Route(PAGE_PATH, redirect, methods=["GET"]),
        Route(f"{PAGE_PATH}/", show, methods=["GET"]),
        *file_routes(f"{PAGE_PATH}/files", FILES, headers),
        Route(f"{PAGE_PATH}/{{token}}", show, methods=["GET"]),
    ]

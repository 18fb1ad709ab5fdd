"""The page that shows a share: the same for every link, and for what is none."""

from __future__ import annotations

import html

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from atriz_realtime.defaults.shared.pages import (
    DIST,
    MEDIA_TYPES,
    WORLD,
    file_routes,
    security_headers,
)
from atriz_realtime.defaults.sharing.settings import SharingSettings

PATH = "/track"

FILES = ("share.js", "share.css", "LICENSES.txt", *WORLD)


def routes(settings: SharingSettings) -> list[Route]:
    """The page, its files, and where it is looked for besides."""
    headers = security_headers(settings.tile_url) | {"x-robots-tag": "noindex, nofollow"}
    page = (DIST / "share.html").read_text("utf-8")
    page = page.replace("{tile-url}", html.escape(settings.tile_url))
    page = page.replace("{tile-attribution}", html.escape(settings.tile_attribution))

    async def show(_: Request) -> Response:
        """The page, whatever stands behind it: who is shown something, the socket decides."""
        return Response(
            page,
            media_type=MEDIA_TYPES["html"],
            headers={**headers, "cache-control": "no-store"},
        )

    async def moved(_: Request) -> Response:
        """The page's files are named from its folder, under whatever prefix a proxy has it."""
        return RedirectResponse(f"{PATH.rpartition('/')[2]}/", 308, headers)

    return [
        Route(PATH, moved, methods=["GET"]),
        Route(f"{PATH}/", show, methods=["GET"]),
        *file_routes(f"{PATH}/files", FILES, headers),
        Route(f"{PATH}/{{token}}", show, methods=["GET"]),
    ]

"""The streets on the pages' maps, from the PMTiles file of the setting ``basemap``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from atriz_realtime.api import PluginConfig, Resources, hookimpl
from atriz_realtime.defaults.basemap.archive import require_drawable
from atriz_realtime.defaults.basemap.ranges import RangedFile
from atriz_realtime.defaults.shared.pages import BASEMAP_PATH, security_headers

if TYPE_CHECKING:
    import click

MEDIA_TYPE = "application/vnd.pmtiles"

MAX_AGE = 3_600
"""Seconds for which a browser keeps parts of the file.  A page that meets parts of two versions
notices, because their ETags differ, and asks again."""


@hookimpl
def register_routes(config: PluginConfig, resources: Resources) -> list[Route]:
    """Register the file, when there is one; raises for a file that the pages cannot draw."""
    path: str | None = config.settings["basemap"]
    if path is None:
        return []
    require_drawable(path)
    headers = security_headers() | {"cache-control": f"public, max-age={MAX_AGE}"}
    endpoint = RangedFile(path, MEDIA_TYPE, headers, resources.report).answer
    return [Route(BASEMAP_PATH, endpoint, methods=["GET"])]


@hookimpl
def register_commands() -> list[click.Command]:
    """Register ``atriz-realtime basemap``."""
    # with the command comes click, which a server need not have
    from atriz_realtime.defaults.basemap.command import basemap  # noqa: PLC0415

    return [basemap]

"""``atriz-realtime basemap``."""

from __future__ import annotations

import re

import click

from atriz_realtime.api import encode_json
from atriz_realtime.defaults.basemap.archive import DRAWN, Archive, read_archive

GUIDE = """\
A basemap is one file, in the format PMTiles, with the streets and names of the region where your
entities are. The server serves it, and the pages draw it; nobody else learns what people look at.

1. Install the program `pmtiles`: https://docs.protomaps.com/pmtiles/cli
2. Cut the region out of a build of the whole planet, which is made of OpenStreetMap's data every
   day. https://maps.protomaps.com/builds lists the builds. The box is west, south, east, north:

     pmtiles extract https://build.protomaps.com/20261130.pmtiles region.pmtiles \\
       --bbox=-9.8,52.0,-7.7,53.2

   --dry-run says how large the file becomes; --maxzoom=13 makes it smaller, with fewer details.
3. Check it:

     atriz-realtime basemap region.pmtiles

4. Name it in atriz.toml; a relative path counts from there:

     [realtime]
     basemap = "region.pmtiles"

Without access to that server, make the file from an extract of OpenStreetMap with planetiler and
the profile of Protomaps: https://github.com/protomaps/basemaps (folder tiles). A file for another
schema, such as OpenMapTiles, does not fit.

The map shows the attribution that the data's license (ODbL) requires.
To replace the file, write the new one beside it and rename it; the server needs no restart.
"""


@click.command("basemap", short_help="Say how to get a map with streets, or check one.")
@click.argument("file", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def basemap(file: str | None, as_json: bool) -> int:
    """Say how to get a map with streets for the pages, or check one: FILE is a PMTiles file.

    For a file that the pages cannot draw, the exit status is 1.
    """
    if file is None:
        if as_json:
            raise click.UsageError("--json needs a FILE")
        click.echo(GUIDE, nl=False)
        return 0
    found = read_archive(file)
    if as_json:
        click.echo(encode_json(described(found)))
    else:
        for line in lines(found):
            click.echo(line)
    return 1 if found.problems else 0


def described(archive: Archive) -> dict[str, object]:
    """A file, for JSON."""
    return {
        "file": archive.path,
        "bytes": archive.size,
        "tiles": archive.tiles,
        "kind": archive.kind,
        "bounds": list(archive.bounds),
        "zooms": list(archive.zooms),
        "layers": list(archive.layers),
        "attribution": archive.attribution,
        "problems": list(archive.problems),
    }


def lines(archive: Archive) -> list[str]:
    """A file, for people."""
    west, south, east, north = archive.bounds
    layers = [each if each in DRAWN else f"({each})" for each in archive.layers]
    return [
        f"file         {archive.path}",
        f"size         {archive.size / 1e6:,.1f} MB, {archive.tiles:,} tiles of {archive.kind}",
        f"bounds       {west:.4f},{south:.4f},{east:.4f},{north:.4f} (west, south, east, north)",
        f"zooms        {archive.zooms[0]} to {archive.zooms[1]}",
        f"layers       {', '.join(layers) or 'none'}",
        f"attribution  {re.sub(r'<[^>]*>', '', archive.attribution) or 'none'}",
        *(f"problem: the file {problem}" for problem in archive.problems),
        *(() if archive.problems else ("ok",)),
    ]

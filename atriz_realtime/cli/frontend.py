"""``atriz-realtime frontend``."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

import click

SHIPPED = ("package.json", "README.md", "dist")
"""What the npm package consists of."""


@click.command(
    short_help="Write the TypeScript client as an npm package.",
    epilog="\b\nExample:\n  atriz-realtime frontend vendor/realtime-client",
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def frontend(directory: Path) -> None:
    """Write the TypeScript client, of this server's own version, into DIRECTORY.

    It is an npm package, @atriz/realtime-client, with its types and React hooks; the
    front end's project installs it from there. Files of an older version are replaced.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with as_file(files("atriz_realtime") / "frontend") as source:
        for name in SHIPPED:
            if (source / name).is_dir():
                shutil.rmtree(directory / name, ignore_errors=True)
                shutil.copytree(source / name, directory / name)
            else:
                shutil.copy(source / name, directory / name)
    click.echo(f"{directory} is ready. Next:")
    click.echo(f"  npm install {directory} socket.io-client")

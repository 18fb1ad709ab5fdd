"""``atriz-realtime frontend`` and ``deployment``: they write files that the package ships."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

import click

NPM_PACKAGE = ("package.json", "README.md", "dist")
"""The files and folders of the npm package."""


@click.command(
    short_help="Write the TypeScript client as an npm package.",
    epilog="\b\nExample:\n  atriz-realtime frontend vendor/realtime-client",
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def frontend(directory: Path) -> None:
    """Write the TypeScript client into DIRECTORY, in the version of this server.

    It is an npm package, @atriz/realtime-client, with types and React hooks, which the
    front end's project installs from there. Files of an older version are replaced.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with as_file(files("atriz_realtime") / "frontend") as source:
        for name in NPM_PACKAGE:
            if (source / name).is_dir():
                shutil.rmtree(directory / name, ignore_errors=True)
                shutil.copytree(source / name, directory / name)
            else:
                shutil.copy(source / name, directory / name)
    click.echo(f"{directory} is ready. Next:")
    click.echo(f"  npm install {directory} socket.io-client")


@click.command(
    short_help="Write files to run and monitor a server with.",
    epilog="\b\nExample:\n  atriz-realtime deployment ops",
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def deployment(directory: Path) -> None:
    """Write files to run and monitor a server with into DIRECTORY, for you to adapt.

    They are a systemd unit with its environment, a container file, files for Compose and
    Kubernetes, Prometheus configuration, alerts, a Grafana dashboard, and log rotation.
    Existing files are left as they are.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with as_file(files("atriz_realtime") / "deployment") as source:
        for file in sorted(source.iterdir()):
            try:
                with (directory / file.name).open("xb") as written:
                    written.write(file.read_bytes())
            except FileExistsError:
                click.echo(f"{directory / file.name} exists already", err=True)
            else:
                click.echo(directory / file.name)

"""``atriz-realtime deployment``."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import click


@click.command(
    short_help="Write files to run and watch a server with.",
    epilog="\b\nExample:\n  atriz-realtime deployment ops",
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def deployment(directory: Path) -> None:
    """Write files to run and watch a server with into DIRECTORY, to begin with and change.

    A systemd unit with its environment, a container file, what Prometheus has to know,
    alerts, and a Grafana dashboard. A file that is there already stays as it is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with as_file(files("atriz_realtime") / "deployment") as source:
        for file in sorted(source.iterdir()):
            try:
                with (directory / file.name).open("xb") as written:
                    written.write(file.read_bytes())
            except FileExistsError:
                click.echo(f"{directory / file.name} is there already", err=True)
            else:
                click.echo(directory / file.name)

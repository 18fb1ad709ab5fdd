"""``atriz-realtime frontend`` and ``deployment``: they write files that the package ships."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
import tarfile
from collections.abc import Mapping
from importlib.resources import as_file, files
from io import BytesIO
from pathlib import Path

import click

NAME = "@atriz/realtime-client"
"""The npm package."""

LIBRARY = {"socket.io-client": "https://unpkg.com/socket.io-client@4.8.1/dist/socket.io.esm.min.js"}
"""Where a page without a bundler gets the library."""

FOR_DEVELOPERS = ("scripts", "devDependencies")
"""What ``package.json`` says for those who build the npm package; npm would install it."""

PACKED_AT = 499_162_500
"""The time of every file in a tarball, in seconds since 1970: the one that ``npm pack`` writes."""


@click.command(
    short_help="Write the TypeScript client as an npm package.",
    epilog="\b\nExample:\n"
    "  atriz-realtime frontend --tarball vendor\n"
    "  atriz-realtime frontend static/realtime-client",
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--tarball", is_flag=True, help="Write one file, as npm pack does.")
def frontend(directory: Path, tarball: bool) -> None:
    """Write the TypeScript client into DIRECTORY, in the version of this server.

    It is an npm package, @atriz/realtime-client, with types and React hooks. A project that
    uses npm installs it as a tarball; a page without a bundler loads the files of the folder.
    An older version in the folder is replaced.
    """
    package = npm_package()
    description = json.loads(package["package.json"])
    name = f"atriz-realtime-client-{description['version']}.tgz"
    if tarball and directory.name.endswith((".tgz", ".tar.gz")):
        message = f"{directory} is a file's name; name the folder; the file will be {name}"
        raise click.BadParameter(message, param_hint="DIRECTORY")
    directory.mkdir(parents=True, exist_ok=True)
    if tarball:
        written = directory / name
        written.write_bytes(packed(package))
    else:
        written = directory
        _write(package, directory)
    raw = sum(len(content) for name, content in package.items() if name.endswith(".js"))
    size = description["bundleSize"]["."]
    click.echo(f"{written} is ready: {_kilobytes(raw)} of JavaScript.")
    click.echo(
        f"Besides socket.io-client it adds {_kilobytes(size['minified'])} to a minified bundle, "
        f"{_kilobytes(size['compressed'])} with gzip."
    )
    if not tarball:
        click.echo("In a page without a bundler, an import map names the modules:")
        for module, path in {NAME: f"./{directory.name}/dist/index.js", **LIBRARY}.items():
            click.echo(f'  "{module}": "{path}"')
    click.echo("In a project that uses npm:")
    click.echo(f"  npm install {_npm_path(written)} socket.io-client")


def npm_package() -> Mapping[str, bytes]:
    """The files of the TypeScript client's package, by name."""
    with as_file(files("atriz_realtime") / "frontend") as source:
        package = {
            path.relative_to(source).as_posix(): path.read_bytes()
            for path in (source / "package.json", source / "README.md", *source.glob("dist/*"))
        }
    description = json.loads(package["package.json"])
    for key in FOR_DEVELOPERS:
        del description[key]
    package["package.json"] = f"{json.dumps(description, indent=2)}\n".encode()
    return package


def packed(package: Mapping[str, bytes]) -> bytes:
    """A tarball of an npm package's files; the same files make the same bytes."""
    tar = BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(package.items()):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size, entry.mtime = len(content), PACKED_AT
            archive.addfile(entry, BytesIO(content))
    tarball = BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=tarball, mtime=0) as compressed:
        compressed.write(tar.getvalue())
    return tarball.getvalue()


def _write(package: Mapping[str, bytes], directory: Path) -> None:
    """Write an npm package as a folder, in place of an older one."""
    if any(directory.iterdir()):
        if not _is_client(directory):
            message = f"{directory} has other files; name a new folder"
            raise click.BadParameter(message, param_hint="DIRECTORY")
        shutil.rmtree(directory / "dist", ignore_errors=True)
    (directory / "dist").mkdir(exist_ok=True)
    for name, content in package.items():
        (directory / name).write_bytes(content)


def _is_client(directory: Path) -> bool:
    try:
        return bool(json.loads((directory / "package.json").read_bytes())["name"] == NAME)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _kilobytes(size: int) -> str:
    return f"{size / 1_000:.1f} KB"


def _npm_path(path: Path) -> str:
    """A path for a command line, which npm does not take for the name of a repository."""
    return shlex.quote(path.as_posix() if path.is_absolute() else f"./{path.as_posix()}")


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

"""nginx, Caddy and HAProxy, each with the configuration of its page, as Debian installs them.

Names of servers, ports, and the folders that only root may write are replaced; nothing else is.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import attrs

from atriz_realtime.testing import free_port
from tests.operate.conftest import installed
from tests.support.servers.certificates import certificate
from tests.support.servers.serving import TIMEOUT

PAGES = Path(__file__).parents[2] / "docs" / "operate"
ETC = Path("/etc")


@attrs.frozen
class Site:
    """What one proxy is set up for.

    :param folder: an empty one.
    :param servers: the ports of the servers behind it.
    """

    folder: Path
    servers: Sequence[int]
    http: int = attrs.field(factory=free_port)
    https: int = attrs.field(factory=free_port)

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"https://127.0.0.1:{self.https}"

    def context(self) -> ssl.SSLContext:
        """What a client needs to trust its certificate."""
        return ssl.create_default_context(cafile=self.folder / "ca.pem")

    def certificate(self) -> tuple[Path, Path]:
        """Make the certificate and its key."""
        return certificate(self.folder)

    def configuration(self, page: str, language: str) -> str:
        """The configuration on a page, for the servers of this site."""
        names = {
            f"server{number}:3001": f"127.0.0.1:{port}"
            for number, port in enumerate(self.servers, 1)
        }
        return replaced(block(page, language), names)

    def follow(self, page: str, replacements: Mapping[str, str]) -> None:
        """Run the commands of a page, all but the reload of the service."""
        script, reload, _ = block(page, "bash").partition(" && systemctl reload ")
        assert reload
        done = subprocess.run(
            ["bash", "-euc", replaced(script, replacements)],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def block(page: str, language: str) -> str:
    """The only block of a page in a language."""
    text = (PAGES / page).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(found) == 1, language
    return str(found[0])


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    """Replace parts of a text, each of which must be there."""
    for part, other in replacements.items():
        assert part in text, part
        text = text.replace(part, other)
    return text


def set_up_nginx(site: Site) -> list[str]:
    """Copy Debian's configuration of nginx, and do what the page says; returns the command."""
    etc = debian_nginx(site)
    cert, key = site.certificate()
    shutil.copy(cert, etc / "tls" / "cert.pem")
    shutil.copy(key, etc / "tls" / "key.pem")
    site.follow("nginx.md", {"/etc/nginx": str(etc), "nginx -t": f"nginx -t -c {etc}/nginx.conf"})
    assert "worker_connections 16384;" in (etc / "nginx.conf").read_text()
    return [installed("nginx"), "-c", str(etc / "nginx.conf"), "-g", "daemon off;"]


def debian_nginx(site: Site) -> Path:
    """Copy Debian's configuration, with its own site enabled; the page's site is available."""
    program = installed("nginx")
    assert program
    etc = site.folder / "etc"
    for name in ("conf.d", "modules-enabled", "sites-available", "sites-enabled", "tls"):
        (etc / name).mkdir(parents=True)
    for name in ("nginx.conf", "mime.types", "sites-available/default"):
        (etc / name).write_text(_here(site, etc, (ETC / "nginx" / name).read_text()))
    (etc / "sites-enabled" / "default").symlink_to(etc / "sites-available" / "default")
    block = site.configuration("nginx.md", "nginx")
    (etc / "sites-available" / "realtime").write_text(_here(site, etc, block))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {site.folder}/{kind};\n" for kind in kinds)
    (etc / "conf.d" / "folders.conf").write_text(paths)
    return etc


def _here(site: Site, etc: Path, text: str) -> str:
    """A file of nginx with the ports and folders of this site; ``[::]`` becomes 127.0.0.2."""
    ports = {"80": site.http, "443": site.https}
    text = re.sub(
        r"listen (\[::\]:)?(80|443)\b",
        lambda found: f"listen 127.0.0.{2 if found[1] else 1}:{ports[found[2]]}",
        text,
    )
    folders = {"/etc/nginx": etc, "/var/log/nginx": site.folder, "/run/nginx": site.folder / "run"}
    for folder, here in folders.items():
        text = text.replace(folder, str(here))
    return text


def set_up_caddy(site: Site) -> list[str]:
    """Write the page's file; returns the command."""
    cert, key = site.certificate()
    file = site.folder / "Caddyfile"
    here = f"https://127.0.0.1:{site.https} {{\n\ttls {cert} {key}\n"
    file.write_text(
        "{\n\tadmin off\n\tauto_https disable_redirects\n"
        f"\tstorage file_system {site.folder}\n}}\n\n"
        + replaced(site.configuration("caddy.md", "caddyfile"), {"live.example.com {\n": here})
    )
    site.follow("caddy.md", {"/etc/caddy/Caddyfile": str(file)})
    return [installed("caddy"), "run", "--config", str(file), "--adapter", "caddyfile"]


def set_up_haproxy(site: Site) -> list[str]:
    """Append the page's block to Debian's file; returns the command."""
    program = installed("haproxy")
    cert, key = site.certificate()
    shutil.copy(cert, site.folder / "cert.pem")
    assert key == site.folder / "key.pem"
    file, pem = site.folder / "haproxy.cfg", site.folder / "live.example.com.pem"
    debian = (ETC / "haproxy" / "haproxy.cfg").read_text()
    debian = debian.replace("/run/haproxy", str(site.folder))
    if os.getuid() != 0:
        debian = re.sub(r"^\s*(chroot|user|group)\b.*\n", "", debian, flags=re.MULTILINE)
    binds = {
        "bind :::80 v4v6\n": f"bind 127.0.0.1:{site.http}\n",
        "bind :::443 v4v6 ": f"bind 127.0.0.1:{site.https} ",
        "/etc/haproxy/live.example.com.pem": str(pem),
    }
    file.write_text(f"{debian}\n{replaced(site.configuration('haproxy.md', 'haproxy'), binds)}")
    site.follow(
        "haproxy.md",
        {
            "/etc/haproxy/haproxy.cfg": str(file),
            "/etc/haproxy/live.example.com.pem": str(pem),
        },
    )
    return [program, "-db", "-f", str(file)]


SetUp = Callable[[Site], list[str]]

PROXIES: Mapping[str, SetUp] = {
    "nginx": set_up_nginx,
    "caddy": set_up_caddy,
    "haproxy": set_up_haproxy,
}


@asynccontextmanager
async def running(set_up: SetUp, folder: Path, servers: Sequence[int]) -> AsyncIterator[Site]:
    """Run a proxy in front of servers, until the context exits."""
    site = Site(folder, servers)
    command = await asyncio.to_thread(set_up, site)
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "proxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, env={**os.environ, **home}
        )
    try:
        async with asyncio.timeout(TIMEOUT):
            while not await is_ready(site):
                assert process.returncode is None, (folder / "proxy.log").read_text()
                await asyncio.sleep(0.05)
        yield site
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def is_ready(site: Site, address: str = "127.0.0.1") -> bool:
    """Whether a client at an address of this machine is told that its server is ready."""
    try:
        async with (
            session_at(site, address) as session,
            session.get(f"{site.url}/readyz") as answer,
        ):
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


def session_at(site: Site, address: str) -> aiohttp.ClientSession:
    """Make a client at an address of this machine."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0), ssl=site.context())
    return aiohttp.ClientSession(connector=connector)

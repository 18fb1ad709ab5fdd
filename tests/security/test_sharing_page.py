"""The page of a share over HTTP: the same for every link, with a strict security policy."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from atriz_realtime.api import ConfigurationError
from atriz_realtime.asgi import create_app
from atriz_realtime.defaults.shared.pages import DIST
from atriz_realtime.defaults.sharing.page import FILES
from tests.support.servers.serving import Live, config, serving, token

URL = {"url": "https://live.example.com"}
TILES = "https://{s}.tiles.example.com/{z}/{x}/{y}.png"


async def fetched(live: Live, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(live.url + path, headers=headers, allow_redirects=False) as response,
    ):
        found = {name.lower(): value for name, value in response.headers.items()}
        return response.status, await response.read(), found


async def test_every_link_is_answered_alike() -> None:
    async with serving(plugins={"sharing": URL}) as live:
        body = {"type": "vehicle", "entityId": "v1", "seconds": 60}
        _, share = await live.post("/api/tracking/shares", body)
        status, page, headers = await fetched(live, "/track/")
        assert status == 200
        assert headers["content-type"] == "text/html; charset=utf-8"
        for token_in_path in (share["token"], share["token"][:-1], token(), "x"):
            other = await fetched(live, f"/track/{token_in_path}")
            assert other[:2] == (200, page)
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["x-robots-tag"] == "noindex, nofollow"
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        style = re.findall("<style>(.*?)</style>", page.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
        assert headers["content-security-policy"] == (
            f"default-src 'none'; script-src 'self'; style-src 'self' 'sha256-{digest}'; "
            "img-src 'self' data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        status, _, headers = await fetched(live, "/track")
        assert (status, headers["location"]) == (308, "track/")
        _, _, headers = await fetched(live, "/track?lang=de")
        assert headers["location"] == "track/?lang=de"


async def test_the_page_is_small_and_compressed() -> None:
    async with (
        serving(plugins={"sharing": URL}) as live,
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):

        async def transferred(path: str) -> bytes:
            headers = {"Accept-Encoding": "gzip"}
            async with session.get(f"{live.url}/track/{path}", headers=headers) as response:
                assert response.headers["Content-Encoding"] == "gzip"
                return await response.read()

        page = await transferred("")
        names = re.findall(r"files/([\w.-]+)", gzip.decompress(page).decode())
        assert sorted(names) == sorted(name for name in FILES if name.startswith("share"))
        sizes = [len(page), *[len(await transferred(f"files/{name}")) for name in names]]
        assert sum(sizes) < 100_000
        assert sizes[0] < 15_000  # what the first paint waits for


async def test_the_page_s_language_is_chosen_by_the_server() -> None:
    async with serving(plugins={"sharing": URL}) as live:
        _, page, headers = await fetched(live, "/track/", **{"Accept-Language": "de-AT,en;q=0.5"})
        assert b'<html lang="de" dir="ltr">' in page
        assert "Accept-Language" in headers["vary"]
        _, page, _ = await fetched(live, "/track/?lang=fr", **{"Accept-Language": "de"})
        assert b'<html lang="fr" dir="ltr">' in page


async def test_a_brand_is_text_and_never_markup(tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    table = URL | {
        "brand_name": '<b onload="x">',
        "brand_logo": str(logo),
        "contact_url": "https://x.example/?a=1&b=2",
        "step_names": {"en": {"accepted": '"><script>'}},
    }
    async with serving(plugins={"sharing": table}) as live:
        _, page, _ = await fetched(live, "/track/")
        assert b'src="files/logo" alt="&lt;b onload=&quot;x&quot;&gt;"' in page
        assert b'href="https://x.example/?a=1&amp;b=2"' in page
        assert b"><script>" not in page
        assert b"<title>Live tracking \xe2\x80\x93 &lt;b onload=" in page
        assert b'<link rel="icon" href="files/logo">' in page
        settings = re.findall('<meta name="share" content="(.*?)">', page.decode())[0]
        assert '"accepted":"\\"><script>"' in html.unescape(settings)
        status, content, headers = await fetched(live, "/track/files/logo")
        assert (status, content) == (200, logo.read_bytes())
        assert headers["content-type"] == "image/svg+xml"
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


async def test_a_logo_may_come_from_its_own_host() -> None:
    table = URL | {"brand_logo": "https://cdn.example.com/logo.png"}
    async with serving(plugins={"sharing": table}) as live:
        _, page, headers = await fetched(live, "/track/")
        assert b'src="https://cdn.example.com/logo.png"' in page
        assert "img-src 'self' https://cdn.example.com data:;" in headers["content-security-policy"]
        assert (await fetched(live, "/track/files/logo"))[0] == 404


async def test_its_files_are_cached_by_browsers() -> None:
    async with serving(plugins={"sharing": URL}) as live:
        for name in FILES:
            status, content, headers = await fetched(live, f"/track/files/{name}")
            assert (status, len(content) > 1_000) == (200, True)
            assert headers["x-robots-tag"] == "noindex, nofollow"
            known = {"If-None-Match": headers["etag"]}
            assert (await fetched(live, f"/track/files/{name}", **known))[:2] == (304, b"")
        assert (await fetched(live, "/track/files/console.js"))[0] == 404


def test_every_script_of_the_page_is_served() -> None:
    built = {each.name for each in DIST.iterdir() if re.fullmatch(r"share.*\.js", each.name)}
    assert built == {name for name in FILES if name.endswith(".js") and name.startswith("share")}


async def test_tiles_may_come_from_the_configured_host() -> None:
    table = URL | {"tile_url": TILES, "tile_attribution": 'The "tile" people'}
    async with serving(plugins={"sharing": table}) as live:
        _, page, headers = await fetched(live, "/track/")
        assert (
            "img-src 'self' data: https://*.tiles.example.com;"
            in (headers["content-security-policy"])
        )
        assert f'data-tile-url="{TILES}"'.encode() in page
        assert b'data-tile-attribution="The &quot;tile&quot; people"' in page


@pytest.mark.parametrize("tile_url", ["tiles", "https://x.example/'; script-src *; {z}", "{z}"])
def test_an_invalid_tile_url_stops_the_start(tile_url: str) -> None:
    table: dict[str, Any] = URL | {"tile_url": tile_url}
    with pytest.raises(ConfigurationError, match="tile_url must be an address"):
        create_app(config(plugins={"sharing": table}))


async def test_there_is_no_page_without_sharing() -> None:
    async with serving() as live:
        for path in ("/track", "/track/", "/track/x", "/track/files/share.js"):
            assert (await fetched(live, path))[0] == 404

"""The file with the streets of the pages' maps: what is refused, and how it is served in parts."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pmtiles.reader import MemorySource, Reader

from atriz_realtime import RealtimeConfig, create_app
from atriz_realtime.api import ConfigurationError
from atriz_realtime.defaults.basemap.ranges import CHUNK, Unsatisfiable, part_of
from tests.support.maps.files import (
    brotli_tiles,
    content_of,
    copied,
    png_tiles,
    removed,
    small_map,
    with_header,
)
from tests.support.servers.serving import Live, serving

PATH = "/basemap.pmtiles"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return small_map(tmp_path / "region.pmtiles")


async def asked(
    live: Live, method: str = "GET", path: str = PATH, **headers: str
) -> tuple[int, Any, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, live.url + path, headers=named) as response,
    ):
        return response.status, response.headers, await response.read()


# -- served in parts -----------------------------------------------------------------------


async def test_a_part_is_what_the_file_has_there(file: Path) -> None:
    content = content_of(file)
    async with serving(basemap=str(file)) as live:
        for given_range, part in (
            ("bytes=0-126", content[:127]),
            ("bytes=100-", content[100:]),
            ("bytes=-50", content[-50:]),
            (f"bytes=10-{10**15}", content[10:]),
            (f"bytes=-{10**15}", content),
            (f"bytes=10-{10**30}", content[10:]),
            (f"bytes=-{10**30}", content),
            (f"bytes={'0' * 30}5-{'0' * 30}5", content[5:6]),
            (f"bytes=10-{'9' * 5_000}", content[10:]),
            ("Bytes= 5-5 ", content[5:6]),
        ):
            status, headers, body = await asked(live, Range=given_range)
            assert (status, body == part) == (206, True), given_range
            start = content.index(part) if len(part) > 50 else None
            if start is not None:
                end = start + len(part) - 1
                assert headers["content-range"] == f"bytes {start}-{end}/{len(content)}"
            assert headers["content-length"] == str(len(part))


async def test_the_whole_file_is_sent_without_a_range(tmp_path: Path) -> None:
    file = small_map(tmp_path / "long.pmtiles")
    content = content_of(file) + os.urandom(3 * CHUNK + 7)
    file.write_bytes(content)
    async with serving(basemap=str(file)) as live:
        for headers in ({}, {"Range": "lines=1-2"}, {"Range": "bytes=9-3"}, {"Range": "bytes=-"}):
            status, told, body = await asked(live, **headers)
            assert (status, body == content) == (200, True)
            assert told["accept-ranges"] == "bytes"
        status, told, body = await asked(live, Range=f"bytes=1-{2 * CHUNK}")
        assert (status, body == content[1 : 2 * CHUNK + 1]) == (206, True)


@pytest.mark.parametrize(
    "value", ["bytes=0-1,5-6", "bytes=99999999-", "bytes=-0", f"bytes={10**30}-"]
)
async def test_what_is_no_part_of_the_file_is_refused(file: Path, value: str) -> None:
    async with serving(basemap=str(file)) as live:
        status, headers, body = await asked(live, Range=value)
        assert (status, body) == (416, b"")
        assert headers["content-range"] == f"bytes */{len(content_of(file))}"


async def test_head_tells_the_size_and_sends_nothing(file: Path) -> None:
    async with serving(basemap=str(file)) as live:
        status, headers, body = await asked(live, "HEAD", Range="bytes=0-1")
        assert (status, body) == (200, b"")
        assert headers["content-length"] == str(len(content_of(file)))
        assert headers["content-type"] == "application/vnd.pmtiles"
        assert (await asked(live, "POST"))[0] == 405


async def test_every_answer_has_the_headers_of_a_page(file: Path) -> None:
    async with serving(basemap=str(file)) as live:
        for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=1-2,3-4"}):
            _, told, _ = await asked(live, **headers)
            assert told["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in told["content-security-policy"]


async def test_a_replaced_file_has_another_etag_and_no_mixed_parts(
    file: Path, tmp_path: Path
) -> None:
    async with serving(basemap=str(file)) as live:
        _, before, _ = await asked(live, Range="bytes=0-126")
        tag = before["etag"]
        assert (await asked(live, If_None_Match=f'W/"x", {tag}'))[::2] == (304, b"")
        assert (await asked(live, Range="bytes=0-1", If_Range=tag))[0] == 206

        small_map(tmp_path / "new.pmtiles", attribution="another").replace(file)
        status, after, body = await asked(live, Range="bytes=0-1", If_Range=tag)
        assert (status, body == content_of(file)) == (200, True)
        assert after["etag"] != tag
        assert (await asked(live, If_None_Match=tag))[0] == 200

        removed(file)
        assert (await asked(live, Range="bytes=0-1"))[0] == 404


async def test_copies_on_two_servers_have_one_etag(file: Path, tmp_path: Path) -> None:
    copy = copied(file, tmp_path / "copy.pmtiles")
    os.utime(copy, (1, 1))
    async with serving(basemap=str(file)) as one, serving(basemap=str(copy)) as other:
        first, second = [(await asked(live))[1]["etag"] for live in (one, other)]
    assert first == second


async def test_a_reader_that_leaves_closes_the_file(tmp_path: Path) -> None:
    file = small_map(tmp_path / "long.pmtiles")
    with file.open("ab") as end:
        end.truncate(200 * CHUNK)
    async with serving(basemap=str(file)) as live:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
            writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readexactly(1_000)
            writer.transport.abort()
        async with asyncio.timeout(10):
            while opened(file):
                await asyncio.sleep(0.01)
        assert (await asked(live, Range="bytes=0-6"))[2] == b"PMTiles"


async def test_an_answer_ends_when_the_file_becomes_shorter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = small_map(tmp_path / "long.pmtiles")
    with file.open("ab") as end:
        end.truncate(200 * CHUNK)
    async with serving(basemap=str(file)) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readexactly(1_000)
        os.truncate(file, 100)
        async with asyncio.timeout(10):
            rest = await reader.read()
        writer.close()
        assert len(rest) < 200 * CHUNK
        async with asyncio.timeout(10):
            while opened(file):
                await asyncio.sleep(0.01)
        assert live.server.incidents.counts["basemap shortened while it was sent"] == 1
        assert "rename it" in caplog.text


def opened(file: Path) -> list[str]:
    """The descriptors of this process that show a file."""
    descriptors = Path("/proc/self/fd")
    found = []
    for each in descriptors.iterdir():
        try:
            target = each.readlink()
        except OSError:  # closed meanwhile
            continue
        if target == file:
            found.append(each.name)
    return found


async def test_no_other_file_is_served(file: Path) -> None:
    (file.parent / "secret").write_text("x")
    async with serving(basemap=str(file)) as live:
        for path in ("/basemap.pmtiles/../secret", "/basemap.pmtiles%2F..%2Fsecret", "/secret"):
            assert (await asked(live, path=path))[0] == 404


@given(st.text("bytes=-0123456789, ", max_size=20), st.integers(0, 500))
def test_a_part_lies_within_the_file(value: str, size: int) -> None:
    try:
        part = part_of(value, size)
    except Unsatisfiable:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


# -- refused at the start ------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        create_app(RealtimeConfig(basemap=str(path)))
    return caught.value.message.replace(str(path), "FILE")


def test_a_file_that_the_pages_cannot_draw_stops_the_start(file: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pmtiles"
    assert refusal(missing) == "plugin 'basemap': FILE: No such file or directory"
    assert refusal(tmp_path) == "plugin 'basemap': FILE: Is a directory"
    other = tmp_path / "other.pmtiles"
    other.write_bytes(b"\xff\xfe" + bytes(500))
    assert refusal(other) == "plugin 'basemap': FILE is no PMTiles file"
    other.write_bytes(content_of(file)[:100])
    assert refusal(other) == "plugin 'basemap': FILE is a PMTiles file that ends in its header"
    old = bytearray(content_of(file))
    old[7] = 2
    other.write_bytes(old)
    assert refusal(other) == (
        "plugin 'basemap': FILE is a PMTiles file of version 2; "
        "`pmtiles convert` makes one of version 3"
    )
    bad = bytearray(content_of(file))
    bad[99] = 77
    other.write_bytes(bad)
    assert refusal(other).startswith("plugin 'basemap': FILE is a PMTiles file with a bad header: ")
    size = file.stat().st_size
    other.write_bytes(content_of(file)[:-10])
    assert refusal(other) == (
        f"plugin 'basemap': FILE is incomplete: it has {size - 10:,} of {size:,} bytes"
    )
    assert refusal(png_tiles(small_map(other))) == (
        "plugin 'basemap': FILE has png tiles; the pages draw vector tiles (mvt)"
    )
    assert refusal(brotli_tiles(small_map(other))) == (
        "plugin 'basemap': FILE has tiles that are compressed with brotli; browsers read gzip"
    )
    assert "has metadata that cannot be read" in refusal(
        with_header(small_map(other), metadata_offset=3)
    )


@pytest.mark.parametrize(
    ("part", "content", "reason"),
    [
        ("metadata", gzip.compress(b"{" * 40)[:10] + b"\xff" * 30, "Error -3"),
        ("metadata", gzip.compress(b"[" * 200_000), "maximum recursion depth"),
        ("metadata", gzip.compress(b"\xff{}"), "codec can't decode"),
        ("metadata", gzip.compress(b"[]"), "no JSON object"),
        ("root", bytes(50), "Not a gzipped file"),
        ("root", gzip.compress(b"\x05\x01"), ""),
        ("root", gzip.compress(b"\x00"), "it is empty"),
    ],
    ids=["deflate", "depth", "utf-8", "list", "zeroes", "cut off", "empty"],
)
def test_a_damaged_file_stops_the_start(file: Path, part: str, content: bytes, reason: str) -> None:
    start = content_of(file)
    file.write_bytes(start + content)
    where = {f"{part}_offset": len(start), f"{part}_length": len(content)}
    refused = refusal(with_header(file, **where))
    assert refused.startswith("plugin 'basemap': FILE has ")
    assert "cannot be read" in refused
    assert reason in refused


@pytest.mark.parametrize("part", ["metadata", "root"])
def test_a_part_beyond_the_end_stops_the_start(file: Path, part: str) -> None:
    refused = refusal(with_header(file, **{f"{part}_offset": 2**64 - 1}))
    assert refused.endswith("cannot be read: it lies beyond the end of the file")


def test_a_file_of_another_schema_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "tiles.pmtiles"
    content = small_map(file).read_bytes()
    header = Reader(MemorySource(content)).header()
    metadata = json.dumps({"vector_layers": [{"id": "transportation"}, {"id": "water"}]}).encode()
    file.write_bytes(content + metadata)
    from pmtiles.tile import Compression

    with_header(
        file,
        metadata_offset=len(content),
        metadata_length=len(metadata),
        internal_compression=Compression.NONE,
    )
    assert header["internal_compression"] is not Compression.NONE
    assert refusal(file) == (
        "plugin 'basemap': FILE has the layers transportation, water; "
        "the pages draw the Protomaps schema, with earth, roads, water"
    )


def test_a_relative_path_counts_from_the_configuration_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = tmp_path / "conf" / "atriz.toml"
    configured.parent.mkdir()
    configured.write_text('[realtime]\nbasemap = "../region.pmtiles"\n')
    monkeypatch.chdir("/")
    config = RealtimeConfig.load(configured, {})
    assert config.basemap is not None
    assert Path(config.basemap).samefile(file)
    create_app(config)
    configured.write_text(f'[realtime]\nbasemap = "{file}"\n')
    assert RealtimeConfig.load(configured, {}).basemap == str(file)
    environment = {"ATRIZ_REALTIME_BASEMAP": "maps/x.pmtiles"}
    assert RealtimeConfig.load(configured, environment).basemap == "maps/x.pmtiles"


# -- what the pages are told ---------------------------------------------------------------

PAGES: dict[str, dict[str, Any]] = {
    "console": {"enabled": True},
    "sharing": {"url": "https://live.example.com"},
}


async def test_both_pages_are_told_where_it_is(file: Path) -> None:
    async with serving(basemap=str(file), plugins=PAGES) as live:
        _, told = await live.get("/console/settings.json", headers={})
        assert told["basemap"] == "basemap.pmtiles"
        _, _, page = await asked(live, path="/track/", accept_encoding="identity")
        assert b'data-basemap="../basemap.pmtiles"' in page
    async with serving(plugins=PAGES) as live:
        _, told = await live.get("/console/settings.json", headers={})
        assert told["basemap"] == ""
        _, _, page = await asked(live, path="/track/", accept_encoding="identity")
        assert b'data-basemap=""' in page
        assert (await asked(live))[0] == 404


async def test_tiles_of_a_page_win(file: Path) -> None:
    url, dark = ("https://a.example/{z}/{x}/{y}.png", "https://b.example/{z}/{x}/{y}.png")
    console = {"enabled": True, "tile_url": url, "tile_url_dark": dark}
    async with serving(basemap=str(file), plugins={"console": console}) as live:
        _, told = await live.get("/console/settings.json", headers={})
        assert (told["basemap"], told["tileUrl"], told["tileUrlDark"]) == ("", url, dark)
        _, headers, _ = await asked(live, path="/console")
        policy = headers["content-security-policy"]
        assert "img-src 'self' data: https://a.example https://b.example;" in policy


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"tile_url_dark": "https://b.example/{z}/{x}/{y}.png"}, "needs a tile_url"),
        ({"tile_url": "https://b.example/{z}", "tile_url_dark": "x"}, "must be an address"),
    ],
)
def test_dark_tiles_need_an_address_and_bright_ones(table: dict[str, str], problem: str) -> None:
    for plugin in ("console", "sharing"):
        with pytest.raises(ConfigurationError, match=f"tile_url_dark {problem}"):
            create_app(RealtimeConfig(plugins={plugin: {**PAGES[plugin], **table}}))

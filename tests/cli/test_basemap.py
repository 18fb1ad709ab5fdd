"""``basemap``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atriz_realtime.cli.main import run
from tests.support.maps.files import png_tiles, small_map

pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return small_map(tmp_path / "region.pmtiles")


def test_the_command_says_how_to_get_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("basemap",)) == 0
    out = capsys.readouterr().out
    assert "pmtiles extract https://build.protomaps.com/" in out
    assert "--bbox=" in out
    assert 'basemap = "region.pmtiles"' in out
    assert run(("basemap", "--json")) == 2


def test_the_command_checks_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("basemap", str(file))) == 0
    out = capsys.readouterr().out
    assert "bounds       -9.0000,52.0000,-8.0000,53.0000 (west, south, east, north)" in out
    assert "zooms        6 to 13" in out
    assert "layers       earth, places, roads, water" in out
    assert "attribution  © OpenStreetMap" in out
    assert out.endswith("ok\n")

    assert run(("basemap", str(png_tiles(file)), "--json")) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["problems"] == ["has png tiles; the pages draw vector tiles (mvt)"]
    assert (told["kind"], told["zooms"]) == ("png", [6, 13])

    assert run(("basemap", str(file.parent / "none.pmtiles"))) == 1
    assert "none.pmtiles: No such file" in capsys.readouterr().err


def test_check_says_why_a_file_cannot_be_drawn(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_BASEMAP", str(png_tiles(file)))
    assert run(("check", "--offline")) == 1
    assert "has png tiles; the pages draw vector tiles (mvt)" in capsys.readouterr().err

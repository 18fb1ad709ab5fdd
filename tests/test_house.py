"""The picture of the package's folders shows the imports that there are."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.support.docs.reference import DOCS

HOUSE = DOCS / "house.py"


def test_the_picture_is_current() -> None:
    house = runpy.run_path(str(HOUSE))
    assert house["drawing"]() == house["PICTURE"].read_text(), "run: python docs/house.py"


def test_a_folder_without_a_row_is_found(tmp_path: Path) -> None:
    house = runpy.run_path(str(HOUSE))
    package = tmp_path / house["PACKAGE"].name
    (package / "attic").mkdir(parents=True)
    (package / "attic" / "trunk.py").write_text("")
    house["modules"].__globals__["PACKAGE"] = package
    with pytest.raises(LookupError, match=r"attic\.trunk"):
        house["drawing"]()


def test_an_import_upwards_is_found(tmp_path: Path) -> None:
    house = runpy.run_path(str(HOUSE))
    package = tmp_path / house["PACKAGE"].name
    (package / "api").mkdir(parents=True)
    (package / "server.py").write_text("")
    (package / "api" / "model.py").write_text("def late():\n    import atriz_realtime.server\n")
    house["modules"].__globals__["PACKAGE"] = package
    assert house["upwards"]() == ["api imports server"]

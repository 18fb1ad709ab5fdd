"""Every hook, record field, setting and error code is documented and used in a test."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from atriz_realtime import EntitySettings, RealtimeConfig, api
from atriz_realtime.api import RealtimeError, errors
from atriz_realtime.plugin_system.discovery import DEFAULT_PLUGINS
from atriz_realtime.plugin_system.plugins import PluginHost
from tests.hooks.test_examples import CHECKS
from tests.support.checks.evidence import Evidence, sources
from tests.support.docs import reference
from tests.support.docs.reference import DOCS


def records() -> list[type[Any]]:
    """Every attrs class in the public API."""
    members = [getattr(api, name) for name in api.__all__]
    return [each for each in members if inspect.isclass(each) and attrs.has(each)]


def settings() -> Iterator[attrs.Attribute[Any]]:
    """Every setting of a server, of an entity type, and of a default plugin."""
    yield from attrs.fields(RealtimeConfig)
    yield from attrs.fields(EntitySettings)
    for name, own in PluginHost(RealtimeConfig()).settings.items():
        if name in DEFAULT_PLUGINS:
            yield from (field for field in attrs.fields(type(own)) if field.init)


def error_classes() -> list[type[RealtimeError]]:
    found = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    return [each for each in found if issubclass(each, RealtimeError)]


def undocumented_fields(classes: list[type[Any]], document: str) -> list[str]:
    """The fields that have no row with a meaning in the section of their class."""
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", document, re.DOTALL | re.MULTILINE))
    return [
        f"{owner.__name__}.{field.name}"
        for owner in classes
        for field in attrs.fields(owner)
        if not re.search(
            rf"^\| `{field.name}` \| .+ \| \S.* \|$", sections.get(owner.__name__, ""), re.MULTILINE
        )
    ]


def unused_fields(classes: list[type[Any]], evidence: Evidence) -> list[str]:
    """The fields that no test passes to a record, or reads from a value that the server makes."""
    return [
        f"{owner.__name__}.{field.name}"
        for owner in classes
        for position, field in enumerate(attrs.fields(owner))
        if not evidence.gives(owner.__name__, field, position)
        and (owner.__module__ == api.records.__name__ or not evidence.reads(field))
    ]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence(sources())


def test_every_field_of_every_record_is_documented() -> None:
    assert undocumented_fields(records(), (DOCS / "reference.md").read_text()) == []


def test_every_hook_is_called_in_a_test_of_its_own() -> None:
    assert CHECKS.keys() == set(reference.hook_names())


def test_every_field_of_every_record_is_used_in_a_test(evidence: Evidence) -> None:
    assert unused_fields(records(), evidence) == []


def test_every_setting_is_set_in_a_test(evidence: Evidence) -> None:
    assert [each.name for each in settings() if not evidence.sets(each)] == []


def test_every_error_is_expected_in_a_test(evidence: Evidence) -> None:
    missing = [each for each in error_classes() if not evidence.expects(each, each.code)]
    assert missing == []


# -- the checks themselves -----------------------------------------------------------------


@attrs.frozen
class Planted:
    """A record, or settings, unknown to the documentation and the tests."""

    name: str
    plant_size: int = 3
    """How large."""


class PlantedError(RealtimeError):
    code = "planted"


NAME, SIZE = attrs.fields(Planted)


@pytest.mark.parametrize(
    ("document", "missing"),
    [
        ("", ["Planted.name", "Planted.plant_size"]),
        ("### Planted\n\n| `name` | `str` |  |\n| `plant_size` | `int` | x |\n", ["Planted.name"]),
        ("### Other\n\n| `name` | `str` | x |\n", ["Planted.name", "Planted.plant_size"]),
    ],
    ids=["nothing", "no meaning", "another's"],
)
def test_an_undocumented_field_is_found(document: str, missing: list[str]) -> None:
    assert undocumented_fields([Planted], document) == missing


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("", ["Planted.name", "Planted.plant_size"]),
        ("Planted('x')", ["Planted.plant_size"]),
        ("Planted('x', plant_size=4)", []),
        ("Planted('x', 4)", []),
        ("Planted('x').plant_size", []),
        ("Other('x', plant_size=4)", ["Planted.name", "Planted.plant_size"]),
        ("Planted(plant_size=4)", ["Planted.name"]),
        ("module('''\n    Planted('x', 4)\n''')", []),
    ],
)
def test_an_unused_field_is_found(source: str, missing: list[str]) -> None:
    assert unused_fields([Planted], Evidence([source])) == missing


def test_a_field_that_hooks_return_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Planted, "__module__", api.records.__name__)
    read = Evidence(["Planted('x').plant_size"])
    assert unused_fields([Planted], read) == ["Planted.plant_size"]


@pytest.mark.parametrize(
    ("source", "is_set"),
    [
        ("", False),
        ("serving(plant_size=3)", False),
        ("serving(plant_size=4)", True),
        ("serving(plant_size=size)", True),
        ("SETTINGS = {'plant_size': 3}", False),
        ("SETTINGS = {'plant_size': 5}", True),
        ("x.plant_size", False),
        ("run(env={'ATRIZ_REALTIME_PLANT_SIZE': '5'})", True),
        ("setenv('ATRIZ_REALTIME_PLANT_SIZE', '5')", True),
    ],
)
def test_a_setting_that_is_never_set_is_found(source: str, is_set: bool) -> None:
    assert Evidence([source]).sets(SIZE) is is_set


@pytest.mark.parametrize(
    ("source", "is_expected"),
    [
        ("", False),
        ("message = 'planted'", False),
        ("assert answer['code'] == 'planted'", True),
        ("assert (status, code) == (500, 'planted')", True),
        ("with pytest.raises(PlantedError): x", True),
        ("raise PlantedError", False),
    ],
)
def test_an_error_that_is_never_expected_is_found(source: str, is_expected: bool) -> None:
    assert Evidence([source]).expects(PlantedError, PlantedError.code) is is_expected


def test_a_planted_hook_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted() -> None:
        """Nothing calls it."""

    monkeypatch.setattr(api.hookspecs, "planted", api.hookspecs.hookspec(planted), raising=False)
    assert set(reference.hook_names()) - CHECKS.keys() == {"planted"}

"""The conversion of tables to attrs classes is strict, and errors name the key."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from atriz_realtime.api import ConfigurationError, PluginError
from atriz_realtime.plugin_system.structure import check_settings_class, nearest, structure


@attrs.frozen
class Inner:
    size: int = 1


@attrs.frozen(kw_only=True)
class Settings:
    name: str
    limit: int = 10
    ratio: float = attrs.field(default=0.5, validator=attrs.validators.ge(0))
    on: bool = False
    words: tuple[str, ...] = ()
    table: dict[str, Any] = attrs.field(factory=dict)
    maybe: float | None = None
    inner: Inner = Inner()
    inners: dict[str, Inner] = attrs.field(factory=dict)
    derived: int = attrs.field(init=False, default=0)


def load(**values: Any) -> Settings:
    return structure({"name": "n", **values}, Settings, "[table]")


def test_every_kind_of_value() -> None:
    assert load(
        limit=3,
        ratio=2,
        on=True,
        words=["a", "b"],
        table={"any": ["thing"]},
        maybe=1,
        inner={"size": 2},
        inners={"one": {"size": 3}},
    ) == Settings(
        name="n",
        limit=3,
        ratio=2.0,
        on=True,
        words=("a", "b"),
        table={"any": ["thing"]},
        maybe=1.0,
        inner=Inner(2),
        inners={"one": Inner(3)},
    )
    assert type(load(ratio=2).ratio) is float


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 1),
        ("limit", "3"),
        ("limit", 3.0),
        ("limit", True),
        ("ratio", "0.5"),
        ("ratio", False),
        ("on", 1),
        ("on", "yes"),
        ("words", [1]),
        ("words", {"a": 1}),
        ("table", []),
        ("table", "text"),
        ("maybe", "1"),
        ("inner", 1),
        ("inner", {"size": "2"}),
        ("inners", {"one": {"size": None}}),
    ],
)
def test_a_value_of_a_wrong_type_names_its_key(key: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(**{key: value})
    assert error.value.message.startswith(f"[table]: {key}")
    assert error.value.field == key


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Size(StrEnum):
    SMALL = "small"


ZERO: Any = 0


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


@attrs.frozen(kw_only=True)
class Further:
    listed: list[str] = attrs.field(factory=list)
    unique: set[str] = attrs.field(factory=set)
    modes: tuple[Literal["on", "off"], ...] = ()
    sizes: list[Size] = attrs.field(factory=list)
    ports: tuple[int, ...] = ()
    pair: tuple[str, int] = ("a", 1)
    bare: list = attrs.field(factory=list)  # type: ignore[type-arg]
    limits: dict[str, float] = attrs.field(factory=dict)
    inners: list[Inner] = attrs.field(factory=list)
    mode: Literal["on", "off"] = "on"
    colour: Colour = Colour.RED
    size: Size | None = None
    path: Path = Path()
    timeout: timedelta = attrs.field(default=ZERO, converter=seconds)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("listed", ["a", "b"], ["a", "b"]),
        ("listed", "a", ["a"]),
        ("listed", "a, b,", ["a", "b"]),
        ("unique", ["a", "a"], {"a"}),
        ("unique", "a,b", {"a", "b"}),
        ("modes", "on,off", ("on", "off")),
        ("sizes", "small", [Size.SMALL]),
        ("ports", [1, 2], (1, 2)),
        ("pair", ["b", 2], ("b", 2)),
        ("bare", [1, "a"], [1, "a"]),
        ("limits", {"a": 1}, {"a": 1.0}),
        ("inners", [{"size": 3}], [Inner(3)]),
        ("mode", "off", "off"),
        ("colour", "red", Colour.RED),
        ("size", "small", Size.SMALL),
        ("path", "a/b", Path("a/b")),
        ("timeout", 5, timedelta(seconds=5)),
    ],
)
def test_further_kinds_of_fields(key: str, value: Any, expected: Any) -> None:
    check_settings_class("plugin 'shop'", "options", Further)
    found = getattr(structure({key: value}, Further, "[table]"), key)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("listed", 5, "must be a list of strings, not a whole number"),
        ("sizes", "small,large", "item 2: must be one of 'small'"),
        ("unique", [1], "must be a list of strings; it holds a whole number"),
        ("ports", "12", "must be a list, not a string"),
        ("ports", [1, "2"], "item 2: must be a whole number, not a string"),
        ("pair", ["b"], "must be a list of 2, not of 1"),
        ("bare", "ab", "must be a list, not a string"),
        ("limits", [1], "must be a table, not a list"),
        ("limits", {"a": "1"}, "a: must be a number, not a string"),
        ("inners", [{"sise": 1}], "item 1: unknown key 'sise'; did you mean 'size'?"),
        ("mode", "auto", "must be one of 'on', 'off'"),
        ("size", "large", "must be one of 'small'"),
        ("colour", "blue", "must be one of 'red', 'green'"),
        ("path", 5, "must be a string, not a whole number"),
        ("timeout", "5", "unsupported type for timedelta seconds component: str"),
    ],
)
def test_no_value_is_guessed_at(key: str, value: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        structure({key: value}, Further, "[table]")
    assert error.value.message == f"[table]: {key}: {problem}"


def invert(value: float) -> float:
    return 1 / value


def look_up(_: object, __: object, value: int) -> None:
    {1: "one"}[value]


@attrs.frozen
class Faulty:
    ratio: float = attrs.field(default=1.0, converter=invert)
    number: int = attrs.field(default=1, validator=look_up)
    other: int = 2


@pytest.mark.parametrize(
    ("key", "problem"),
    [("ratio", "ZeroDivisionError: "), ("number", "KeyError: 0")],
)
def test_an_unexpected_exception_of_a_class_names_the_key(key: str, problem: str) -> None:
    with pytest.raises(PluginError) as error:
        structure({"other": 3, key: 0}, Faulty, "[table]")
    assert error.value.message.startswith(f"[table]: {key}: {problem}")
    assert error.value.field == key


class Own:
    """A class that is no attrs class."""


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (int | str | None, "int | str | None"),
        (timedelta, "datetime.timedelta"),
        (list[timedelta], "list[datetime.timedelta]"),
        (dict[int, str], "dict[int, str]"),
        (Own, f"{__name__}.Own"),
    ],
    ids=str,
)
def test_a_field_that_no_table_can_fill_is_refused(kind: Any, shown: str) -> None:
    options = attrs.make_class("Options", {"limit": attrs.field(default=None, type=kind)})
    outer = attrs.make_class("Outer", {"inner": attrs.field(default=None, type=options)})
    for settings_class, where in ((options, "Options"), (outer, "Outer.inner: Options")):
        with pytest.raises(PluginError) as error:
            check_settings_class("plugin 'shop'", "options", settings_class)
        assert error.value.message == (
            f"plugin 'shop': {where}.limit: no value of TOML becomes {shown}: "
            "use another type, or give the field a converter"
        )


def test_an_annotation_without_a_meaning_is_refused() -> None:
    nowhere: Any = "Nowhere"
    options = attrs.make_class("Options", {"limit": attrs.field(default=None, type=nowhere)})
    with pytest.raises(PluginError, match="'shop': Options: NameError: name 'Nowhere'"):
        check_settings_class("plugin 'shop'", "options", options)


def test_an_error_does_not_contain_the_value() -> None:
    with pytest.raises(ConfigurationError) as error:
        load(name=987_654_321)
    assert "987" not in error.value.message  # it may be a secret without its quotes


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="unknown key 'limits'; did you mean 'limit'"):
        load(limits=3)


@pytest.mark.parametrize("table", [{"inner": {"sise": 2}}, {"inners": {"one": {"sise": 2}}}])
def test_an_unknown_key_of_a_nested_table_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="sise"):
        load(**table)


def test_attributes_without_init_are_unknown_keys() -> None:
    with pytest.raises(ConfigurationError, match="unknown key 'derived'"):
        load(derived=1)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^\[table\]: name is required$"):
        structure({}, Settings, "[table]")


def test_the_class_s_validators_are_applied() -> None:
    with pytest.raises(ConfigurationError, match=r"^\[table\]: .*ratio.*"):
        load(ratio=-1.0)


def test_only_attrs_classes_hold_settings() -> None:
    with pytest.raises(TypeError, match="not an attrs class"):
        structure({}, dict, "[table]")


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("vehicel", ["vehicle", "delivery"], "; did you mean 'vehicle'?"),
        ("xyz", ["vehicle", "delivery"], "; known: delivery, vehicle"),
        ("xyz", [], "; there are none"),
    ],
)
def test_the_nearest_known_name_is_suggested(name: str, known: list[str], hint: str) -> None:
    assert nearest(name, known) == hint

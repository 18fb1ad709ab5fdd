"""The conversion of tables to attrs classes is strict, and errors name the key."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from atriz_realtime.api import ConfigurationError
from atriz_realtime.plugin_system.structure import nearest, structure


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
        ("words", "a"),
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

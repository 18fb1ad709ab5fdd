"""The registry: conflicts between plugins, choices, overrides."""

from __future__ import annotations

from typing import Any

import pytest

from atriz_realtime import EntitySettings
from atriz_realtime.api import (
    PASS,
    ConfigurationError,
    EntityRef,
    LocationEvent,
    PluginError,
)
from atriz_realtime.testing import event, location
from tests.support.plugins.files import Plugins, registry_of


def refusal(*extra_plugins: str, **settings: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as error:
        registry_of(*extra_plugins, **settings)
    return error.value


# -- records -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("Filter('one', print)", ["one"]),
        ("[Filter('one', print), Filter('two', print)]", ["one", "two"]),
        ("(Filter(name, print) for name in ('one', 'two'))", ["one", "two"]),
        ("[]", []),
        ("None", []),
    ],
)
def test_a_hook_returns_one_record_several_or_none(
    plugins: Plugins, expression: str, names: list[str]
) -> None:
    found = registry_of(plugins.returning("shop", "register_filters", expression))
    assert [record.name for record in found.filters] == names
    assert [found.owner(record) for record in found.filters] == ["shop"] * len(names)


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("5", "int"),
        ("'vans'", "str"),
        ("[Filter('one', print), 'two']", "str"),
        ("EntityType('van')", "EntityType"),
        ("Filter", "type"),
    ],
)
def test_a_bad_record_names_the_plugin_and_the_hook(
    plugins: Plugins, expression: str, kind: str
) -> None:
    error = refusal(plugins.returning("shop", "register_filters", expression))
    assert isinstance(error, PluginError)
    assert error.message == (
        f"plugin 'shop': register_filters must return Filter records, not {kind}"
    )


def test_a_record_that_cannot_be_built_names_the_plugin(plugins: Plugins) -> None:
    error = refusal(plugins.returning("shop", "register_entity_types", "EntityType('Big Van')"))
    assert error.message == (
        "plugin 'shop' failed in register_entity_types: ValueError: 'Big Van' cannot name an "
        "entity type: use at most 32 lower-case letters, digits, _ and -, starting with a letter"
    )


@pytest.mark.parametrize(
    ("hook", "expression", "problem"),
    [
        (
            "register_authorizers",
            "Authorizer('')",
            "ValueError: the name of Authorizer records must be a string and not empty, not ''",
        ),
        (
            "register_authenticators",
            "Authenticator('z', print, order='first')",
            "ValueError: Authenticator 'z': order must be a number, not 'first'",
        ),
        (
            "register_throttles",
            "Unhashable('z', lambda options, resources: None)",
            "TypeError: unhashable type: 'Unhashable'",
        ),
        ("register_filters", "Endless()", "LookupError: no more filters"),
    ],
)
def test_an_unexpected_record_names_the_plugin(
    plugins: Plugins, hook: str, expression: str, problem: str
) -> None:
    plugins.module(
        "shop",
        f"""
        class Unhashable(Throttle):
            __hash__ = None

        class Endless:
            def __iter__(self):
                raise LookupError("no more filters")

        @hookimpl
        def {hook}():
            return {expression}
        """,
    )
    assert refusal("shop").message == f"plugin 'shop' failed in {hook}: {problem}"


def test_a_record_may_be_of_a_subclass(plugins: Plugins) -> None:
    plugins.module(
        "shop",
        """
        class Van(EntityType):
            pass

        @hookimpl
        def register_entity_types():
            return Van("van")
        """,
    )
    found = registry_of("shop")
    assert found.kinds["van"].plugin == "shop"


@pytest.mark.parametrize(
    ("hook", "expression", "spoken"),
    [
        ("register_authenticators", "Authenticator('x', print)", "authenticator"),
        ("register_authorizers", "Authorizer('x')", "authorizer"),
        ("register_entity_types", "EntityType('x')", "entity type"),
        ("register_throttles", "Throttle('x', print)", "throttle"),
        ("register_caches", "CacheBackend('x', print)", "cache backend"),
        ("register_fanouts", "FanoutBackend('x', print)", "fanout backend"),
        ("register_filters", "Filter('x', print)", "filter"),
    ],
)
def test_two_plugins_with_one_name_are_both_named(
    plugins: Plugins, hook: str, expression: str, spoken: str
) -> None:
    first = plugins.returning("first", hook, expression)
    second = plugins.returning("second", hook, expression)
    registry_of(first)
    error = refusal(first, second)
    assert isinstance(error, PluginError)
    assert error.message == f"plugins 'first' and 'second' both register the {spoken} 'x'"


def test_a_plugin_that_registers_a_name_twice_is_named(plugins: Plugins) -> None:
    name = plugins.returning("shop", "register_filters", "[Filter('x', print), Filter('x', print)]")
    assert refusal(name).message == "plugin 'shop' registers the filter 'x' twice"


def test_records_of_different_kinds_may_share_a_name(plugins: Plugins) -> None:
    plugins.module(
        "shop",
        """
        @hookimpl
        def register_filters():
            return Filter("x", print)

        @hookimpl
        def register_throttles():
            return Throttle("x", print)
        """,
    )
    found = registry_of("shop")
    assert found.owner(found.throttles["x"]) == found.owner(found.filters[0]) == "shop"


@pytest.mark.parametrize(
    ("hook", "record", "attribute"),
    [
        ("register_authenticators", "Authenticator", "authenticators"),
        ("register_filters", "Filter", "filters"),
    ],
)
def test_order_decides_and_load_order_among_equals(
    plugins: Plugins, hook: str, record: str, attribute: str
) -> None:
    names = [
        plugins.returning("late", hook, f"{record}('late', print, order=1)"),
        plugins.returning("a", hook, f"[{record}('a1', print), {record}('a2', print)]"),
        plugins.returning("early", hook, f"{record}('early', print, order=-1)"),
        plugins.returning("b", hook, f"{record}('b', print)"),
    ]
    found = [record.name for record in getattr(registry_of(*names), attribute)]
    assert [name for name in found if name != "jwt"] == ["early", "a1", "a2", "b", "late"]


# -- entity types --------------------------------------------------------------------------


def test_the_documented_types() -> None:
    found = registry_of()
    assert list(found.kinds) == ["vehicle", "delivery"]
    kind = found.kinds["vehicle"]
    assert (kind.throttle, kind.throttle_options, kind.cache_ttl) == (
        "interval",
        {"interval": 1000.0},
        300.0,
    )
    assert kind.matches_id("v1")
    for bad in ("", "a:b", "a\nb", "\x00", "\x7f", "\u2028", "\ud800", "x" * 129, "v1\n"):
        assert not kind.matches_id(bad)
    for good in ("x" * 128, "飛行機-🚚", "a b", "a/b", "%2e"):
        assert kind.matches_id(good)


def test_what_a_type_sets_and_what_configuration_overrides(plugins: Plugins) -> None:
    plugins.module(
        "shop",
        """
        @hookimpl
        def register_entity_types():
            return [
                EntityType("van", throttle="latest", throttle_options={"interval": 200},
                           cache_ttl=60, last_known_ttl=600, id_pattern="V-[0-9]+"),
                EntityType("bike"),
            ]
        """,
    )
    settings = {"throttle_interval": 500, "cache_ttl": 10, "last_known_ttl": 100}
    found = registry_of("shop", throttle="latest", **settings).kinds
    assert (found["van"].throttle, found["van"].throttle_options) == ("latest", {"interval": 200})
    assert (found["van"].cache_ttl, found["van"].last_known_ttl) == (60, 600)
    assert (found["bike"].throttle, found["bike"].throttle_options) == (
        "latest",
        {"interval": 500.0},
    )
    assert (found["bike"].cache_ttl, found["bike"].last_known_ttl) == (10, 100)
    assert found["van"].matches_id("V-12")
    for bad in ("V-", "xV-12", "V-12x", "V-12\n"):
        assert not found["van"].matches_id(bad)
    overridden = registry_of(
        "shop",
        entities={
            "van": EntitySettings(
                throttle="interval", throttle_interval=50, cache_ttl=5, last_known_ttl=0
            ),
            "bike": EntitySettings(throttle="none"),
        },
    ).kinds
    assert (overridden["van"].throttle, overridden["van"].throttle_options) == (
        "interval",
        {"interval": 50},
    )
    assert (overridden["van"].cache_ttl, overridden["van"].last_known_ttl) == (5, 0)
    assert (overridden["bike"].throttle, overridden["bike"].throttle_options) == ("none", {})
    assert (overridden["bike"].cache_ttl, overridden["bike"].last_known_ttl) == (300, 604_800)


def test_a_type_s_options_are_not_for_the_policy_of_configuration(plugins: Plugins) -> None:
    plugins.returning(
        "shop",
        "register_entity_types",
        "EntityType('van', throttle='latest', throttle_options={'interval': 200})",
    )
    settings = EntitySettings(throttle="interval")
    kind = registry_of("shop", entities={"van": settings}, throttle_interval=500).kinds["van"]
    assert (kind.throttle, kind.throttle_options) == ("interval", {"interval": 500})


def test_an_override_of_the_interval_keeps_the_type_s_policy(plugins: Plugins) -> None:
    plugins.returning(
        "shop",
        "register_entity_types",
        "EntityType('van', throttle='latest', throttle_options={'interval': 200})",
    )
    kind = registry_of("shop", entities={"van": EntitySettings(throttle_interval=0)}).kinds["van"]
    assert (kind.throttle, kind.throttle_options) == ("latest", {"interval": 0})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"entities": {"vehicel": EntitySettings()}},
            "[realtime.entities.vehicel]: no such entity type, and no plugin registers it; "
            "did you mean 'vehicle'?",
        ),
        (
            {"entities": {"vehicle": EntitySettings(throttle="latests")}},
            "entity type 'vehicle': no throttle 'latests'; did you mean 'latest'?",
        ),
        (
            {"throttle": "nothing"},
            "entity type 'vehicle': no throttle 'nothing'; known: interval, latest, none",
        ),
        ({"cache": "memmory"}, "cache: no cache 'memmory'; did you mean 'memory'?"),
        ({"fanout": "kafka"}, "fanout: no fanout 'kafka'; known: memory, redis"),
        (
            {"disabled_plugins": ["memory"]},
            "cache: no cache 'memory'; known: redis",
        ),
        (
            {"disabled_plugins": ["throttling"]},
            "entity type 'vehicle': no throttle 'interval'; there are none",
        ),
    ],
)
def test_a_choice_that_no_plugin_registers_stops_the_start(
    settings: dict[str, Any], problem: str
) -> None:
    assert refusal(**settings).message == problem


def test_an_invalid_pattern_names_the_plugin(plugins: Plugins) -> None:
    name = plugins.returning("shop", "register_entity_types", "EntityType('van', id_pattern='[')")
    assert refusal(name).message.startswith("plugin 'shop': id_pattern of 'van': unterminated")


@pytest.mark.parametrize("name", ["user", "realtime"])
def test_a_type_cannot_have_a_reserved_name(plugins: Plugins, name: str) -> None:
    error = refusal(plugins.returning("shop", "register_entity_types", f"EntityType({name!r})"))
    assert isinstance(error, PluginError)
    assert error.message == f"plugin 'shop': the entity type {name!r} is reserved"


# -- backends and policies -----------------------------------------------------------------


def test_redis_is_chosen_when_there_is_one() -> None:
    alone, shared = registry_of(), registry_of(redis_url="redis://localhost")
    assert (alone.cache.name, alone.fanout.name) == ("memory", "memory")
    assert (shared.cache.name, shared.fanout.name) == ("redis", "redis")
    mixed = registry_of(redis_url="redis://localhost", cache="memory")
    assert (mixed.cache.name, mixed.fanout.name) == ("memory", "redis")


async def test_a_policy_is_made_for_each_type(plugins: Plugins) -> None:
    plugins.module(
        "shop",
        """
        import attrs

        @attrs.frozen
        class Options:
            every: int = 2

        class Policy:
            def __init__(self, options, resources):
                self.options, self.resources = options, resources

            async def admit(self, entity, location):
                return PASS

        @hookimpl
        def register_throttles():
            return [Throttle("checked", Policy, options=Options), Throttle("bare", Policy)]
        """,
    )
    found = registry_of(
        "shop",
        entities={
            "vehicle": EntitySettings(throttle="checked", throttle_options={"every": 3}),
            "delivery": EntitySettings(throttle="bare", throttle_options={"any": "thing"}),
        },
    )
    vehicle: Any = found.policy(found.kinds["vehicle"])
    delivery: Any = found.policy(found.kinds["delivery"])
    assert vehicle is not found.policy(found.kinds["vehicle"])
    assert vehicle.options.every == 3
    assert delivery.options == {"any": "thing"}
    assert vehicle.resources is delivery.resources
    assert await vehicle.admit(EntityRef("vehicle", "1"), location()) == PASS


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"intervall": 1}, "unknown key 'intervall'; did you mean 'interval'?"),
        ({"interval": "1"}, "interval: must be a number"),
    ],
)
def test_the_options_of_a_policy_are_checked(options: dict[str, Any], problem: str) -> None:
    found = registry_of(entities={"vehicle": EntitySettings(throttle_options=options)})
    with pytest.raises(ConfigurationError) as error:
        found.policy(found.kinds["vehicle"])
    assert error.value.message.startswith(f"throttle 'interval' of 'vehicle': {problem}")


def test_a_type_whose_throttle_cannot_be_names_its_plugin(plugins: Plugins) -> None:
    def problem(fields: str, **entities: EntitySettings) -> str:
        source = f"@hookimpl\ndef register_entity_types():\n    return EntityType('boat', {fields})"
        with pytest.raises(ConfigurationError) as error:  # noqa: PT012  # either of the two
            found = registry_of(plugins.module("shop", source), entities=entities)
            found.policy(found.kinds["boat"])
        plugins.forget()
        return error.value.message

    assert problem("throttle='latests'") == (
        "plugin 'shop': register_entity_types: entity type 'boat': no throttle 'latests'; "
        "did you mean 'latest'?"
    )
    assert problem("throttle_options={'intervall': 1}").startswith(
        "plugin 'shop': throttle 'interval' of 'boat': unknown key 'intervall'"
    )
    configured = EntitySettings(throttle_options={"intervall": 1})
    assert problem("throttle_options={'intervall': 2}", boat=configured).startswith(
        "throttle 'interval' of 'boat': unknown key 'intervall'"
    )


def test_the_options_of_a_policy_are_an_attrs_class(plugins: Plugins) -> None:
    source = """
        @hookimpl
        def register_throttles():
            return Throttle("bare", lambda options, resources: None, options=dict)
        """
    plugins.module("shop", source)
    with pytest.raises(PluginError) as error:
        registry_of("shop")
    assert error.value.message == (
        "plugin 'shop': register_throttles: throttle 'bare': options must be an attrs class, "
        "not the class dict"
    )


def test_a_validator_of_options_that_fails_names_plugin_and_key(plugins: Plugins) -> None:
    source = """
        import attrs

        @attrs.frozen
        class Options:
            every: int = attrs.field(default=0, validator=lambda *_: 1 / 0)

        @hookimpl
        def register_throttles():
            return Throttle("broken", lambda options, resources: None, options=Options)
        """
    plugins.module("shop", source)
    found = registry_of("shop", throttle="broken")
    with pytest.raises(PluginError) as error:
        found.policy(found.kinds["vehicle"])
    assert error.value.message == (
        "plugin 'shop': throttle 'broken' of 'vehicle': every: ZeroDivisionError: division by zero"
    )


def test_a_policy_that_fails_to_be_created_names_the_plugin(plugins: Plugins) -> None:
    plugins.module(
        "shop",
        """
        def create(options, resources):
            raise LookupError("no policy")

        @hookimpl
        def register_throttles():
            return Throttle("broken", create)
        """,
    )
    found = registry_of("shop", throttle="broken")
    with pytest.raises(PluginError) as error:
        found.policy(found.kinds["vehicle"])
    assert error.value.message == (
        "plugin 'shop': throttle 'broken' of 'vehicle': LookupError: no policy"
    )


def test_the_validation_of_a_type_is_used(plugins: Plugins) -> None:
    plugins.module(
        "shop",
        """
        def grounded(event):
            raise InvalidLocation("no van flies", field="altitude")

        @hookimpl
        def register_entity_types():
            return EntityType("van", validate=grounded)
        """,
    )
    validate = registry_of("shop").kinds["van"].validate
    assert validate is not None
    flying: LocationEvent = event(kind="van", altitude=100)
    with pytest.raises(Exception, match="no van flies"):
        validate(flying)

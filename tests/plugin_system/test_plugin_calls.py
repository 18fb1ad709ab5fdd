"""Calling hooks: arguments, errors, and the failures that are tolerated."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import attrs
import pytest

from atriz_realtime.api import ConfigurationError, PluginError
from tests.support.plugins.files import Plugins, answers, arguments, call, host_of, info, refusal

# -- calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        """
        @hookimpl
        def register_commands():
            raise LookupError("no van")
        """,
        """
        @hookimpl
        def register_commands():
            yield "command"
            raise LookupError("no van")
        """,
    ],
    ids=["function", "generator"],
)
def test_an_exception_in_a_hook_names_plugin_and_hook(plugins: Plugins, source: str) -> None:
    host = host_of(plugins.module("shop", source))
    with pytest.raises(PluginError) as error:
        call(host, "register_commands")
    assert error.value.message == "plugin 'shop' failed in register_commands: LookupError: no van"


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        ("'no vans are configured', field='vans'", "plugin 'shop': no vans are configured"),
        ("'none is configured', field='vans'", "plugin 'shop': vans: none is configured"),
        ("'plugin shop: needs vans'", "plugin shop: needs vans"),
        ("'[realtime.plugins.shop]: vans: none'", "[realtime.plugins.shop]: vans: none"),
        ("'a shop needs vans'", "plugin 'shop': a shop needs vans"),
    ],
)
def test_a_configuration_error_names_its_plugin_and_the_field(
    plugins: Plugins, raised: str, message: str
) -> None:
    source = f"@hookimpl\ndef register_commands():\n    raise ConfigurationError({raised})"
    with pytest.raises(ConfigurationError) as error:
        call(host_of(plugins.module("shop", source)), "register_commands")
    assert error.value.message == message
    assert error.value.field == ("vans" if "field" in raised else None)
    assert not isinstance(error.value, PluginError)


def test_the_log_names_the_optional_plugin_that_refuses(
    plugins: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    source = "@hookimpl\ndef register_commands():\n    raise ConfigurationError('no key given')"
    host = host_of(plugins.module("shop", source), optional_plugins=["shop"])
    assert call(host, "register_commands") == []
    assert caplog.messages == [
        "optional plugin runs without register_commands: plugin 'shop': no key given"
    ]


def test_an_implementation_gets_the_arguments_that_it_names(plugins: Plugins) -> None:
    for name, wanted in {"none": "", "some": "resources", "all": "resources, config"}.items():
        plugins.module(name, f"@hookimpl\ndef register_filters({wanted}):\n    return [{wanted}]")
    host = host_of("none", "some", "all")
    returned = dict(call(host, "register_filters", resources="resources"))
    assert returned == {
        "none": [],
        "some": ["resources"],
        "all": ["resources", host.view("all")],
    }


# -- each plugin's own table ---------------------------------------------------------------


SETTINGS = """
    import attrs

    @attrs.frozen
    class Settings:
        fleet: str
        tolerance: float = 5.0

    @hookimpl
    def register_settings():
        return Settings

    @hookimpl
    def register_commands(config):
        return config.load(Settings), config.table, config.settings["port"]
"""


def test_a_plugin_gets_its_own_table(plugins: Plugins) -> None:
    name = plugins.module("shop", SETTINGS)
    host = host_of(name, port=7, plugins={"shop": {"fleet": "north"}, "jwt_auth": {"issuer": "x"}})
    ((plugin, (settings, table, port)),) = call(host, "register_commands")
    assert plugin == "shop"
    assert attrs.asdict(settings) == {"fleet": "north", "tolerance": 5.0}
    assert dict(table) == {"fleet": "north"}
    assert port == 7
    assert host.settings["shop"] == settings
    with pytest.raises(TypeError):
        table["fleet"] = "south"


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "fleet is required"),
        ({"fleet": 1}, "fleet: must be a string"),
        ({"fleet": "n", "tolerence": 1}, "unknown key 'tolerence'; did you mean 'tolerance'?"),
        ({"fleet": "n", "tolerance": "1"}, "tolerance: must be a number"),
    ],
)
def test_a_table_is_checked_at_the_start(
    plugins: Plugins, table: dict[str, Any], problem: str
) -> None:
    message = refusal(plugins.module("shop", SETTINGS), plugins={"shop": table})
    assert message.startswith(f"[realtime.plugins.shop]: {problem}")


def test_a_missing_table_is_checked_too(plugins: Plugins) -> None:
    message = refusal(plugins.module("shop", SETTINGS))
    assert message == "[realtime.plugins.shop]: fleet is required"


def test_a_table_for_a_plugin_without_settings_stops_the_start(plugins: Plugins) -> None:
    message = refusal(plugins.commands("shop"), plugins={"shop": {"fleet": "north"}})
    assert message == "[realtime.plugins.shop]: the plugin has no settings"


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ("{'fleet': 'north'}", "an object of dict"),
        ("dict", "the class dict"),
        ("Data", "the class"),
    ],
)
def test_settings_that_are_no_attrs_class_name_the_plugin(
    plugins: Plugins, settings: str, given: str
) -> None:
    source = f"""
        import dataclasses

        @dataclasses.dataclass
        class Data:
            fleet: str

        @hookimpl
        def register_settings():
            return {settings}
        """
    message = refusal(plugins.module("shop", source))
    assert message.startswith(
        f"plugin 'shop': what register_settings returns must be an attrs class, not {given}"
    )


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("int | str", "plugin 'shop': Settings.limit: no value of TOML becomes int | str: "),
        ("'Nowhere'", "plugin 'shop': Settings: NameError: name 'Nowhere' is not defined"),
        (
            "int = attrs.field(validator=lambda *_: 1 / 0)",
            "[realtime.plugins.shop]: limit: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_settings_class_that_cannot_work_is_a_failure_of_its_plugin(
    plugins: Plugins, field: str, problem: str
) -> None:
    source = f"""
        import attrs

        @attrs.frozen
        class Settings:
            limit: {field}

        @hookimpl
        def register_settings():
            return Settings
        """
    name, tables = plugins.module("shop", source), {"shop": {"limit": 1}}
    assert refusal(name, plugins=tables).startswith(problem)
    found = info(host_of(name, plugins=tables, optional_plugins=["shop"]), "shop")
    assert found.state == "failed"
    assert found.failure.startswith(problem)


def test_a_table_whose_hook_is_turned_off_says_so(plugins: Plugins) -> None:
    name = plugins.module("shop", SETTINGS)
    tables = {"shop": {"fleet": "north"}}
    message = refusal(name, plugins=tables, disabled_hooks=["shop:register_settings"])
    assert message == (
        "[realtime.plugins.shop]: disabled_hooks turns off the plugin's register_settings"
    )


def test_a_wrong_argument_is_answered_with_those_that_there_are(plugins: Plugins) -> None:
    name = plugins.module("shop", "@hookimpl\ndef register_filters(configuration): ...")
    assert refusal(name) == (
        "plugin 'shop' (configuration): register_filters has no argument 'configuration'; "
        "it may take config and resources"
    )


def test_the_table_of_a_disabled_plugin_is_not_checked(plugins: Plugins) -> None:
    name = plugins.module("shop", SETTINGS)
    host_of(name, disabled_plugins=["shop"], plugins={"shop": {"nonsense": 1}})


# -- optional plugins ----------------------------------------------------------------------


def test_an_optional_plugin_that_cannot_be_loaded_is_reported_and_skipped(
    plugins: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    plugins.commands("other")
    host = host_of("not_there", "other", optional_plugins=["not_there"])
    assert answers(host) == ["other"]
    assert info(host, "not_there").state == "failed"
    assert "ModuleNotFoundError" in info(host, "not_there").failure
    assert caplog.record_tuples == [
        (
            "atriz_realtime",
            logging.WARNING,
            f"optional plugin skipped: {info(host, 'not_there').failure}",
        )
    ]


async def test_the_log_has_the_traceback_of_an_optional_plugin_s_failure(
    plugins: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    source = """
        @hookimpl
        async def server_started(server):
            [].pop()

        @hookimpl
        def register_commands():
            raise ConfigurationError("no key given")
    """
    host = host_of(plugins.module("shop", source), optional_plugins=["shop"])
    await host.notify("server_started", **arguments("server_started", server=None))
    (line,) = caplog.records
    assert line.exc_info is not None
    assert isinstance(line.exc_info[1], IndexError)
    call(host, "register_commands")
    assert not caplog.records[-1].exc_info, "the message says all"


def test_no_hook_of_an_optional_plugin_with_an_unknown_one_is_called(plugins: Plugins) -> None:
    name = plugins.module(
        "shop",
        """
        @hookimpl
        def register_observers():
            return ["observer"]

        @hookimpl
        def register_obsrevers():
            return []
        """,
    )
    host = host_of(name, optional_plugins=["shop"])
    assert info(host, "shop").state == "failed"
    assert call(host, "register_observers") == []


def test_a_hook_of_an_optional_plugin_that_fails_is_skipped(plugins: Plugins) -> None:
    name = plugins.module(
        "shop",
        """
        @hookimpl
        def register_commands():
            raise LookupError("no van")

        @hookimpl
        def register_observers():
            return ["observer"]
        """,
    )
    host = host_of(name, optional_plugins=["shop"])
    assert call(host, "register_commands") == []
    assert call(host, "register_observers") == [("shop", ["observer"])]
    assert info(host, "shop").state == "failed"
    assert info(host, "shop").failure == (
        "plugin 'shop' failed in register_commands: LookupError: no van"
    )


@pytest.mark.parametrize(
    "hook",
    ["register_authenticators", "register_authorizers", "register_filters", "register_views"],
)
def test_guarding_hooks_are_never_optional(plugins: Plugins, hook: str) -> None:
    name = plugins.module("shop", f"@hookimpl\ndef {hook}():\n    raise LookupError('no van')")
    host = host_of(name, optional_plugins=["shop"])
    with pytest.raises(PluginError, match=f"plugin 'shop' failed in {hook}"):
        call(host, hook)


# -- life cycle ----------------------------------------------------------------------------


async def test_life_cycle_hooks_are_awaited_one_after_another(plugins: Plugins) -> None:
    for name in ("one", "two"):
        plugins.module(
            name,
            f"""
            import asyncio

            @hookimpl
            async def server_started(server):
                server.append("{name} begins")
                await asyncio.sleep(0)
                server.append("{name} ends")
            """,
        )
    plugins.module("three", "@hookimpl\ndef server_started(server):\n    server.append('three')")
    told: list[str] = []
    host = host_of("one", "three", "two")
    assert (
        await host.notify("server_started", 10.0, **arguments("server_started", server=told)) == []
    )
    assert told == ["one begins", "one ends", "three", "two begins", "two ends"]


async def test_what_life_cycle_hooks_return_is_handed_on(plugins: Plugins) -> None:
    plugins.module("one", "@hookimpl\nasync def server_started():\n    return 1")
    plugins.module("two", "@hookimpl\ndef server_started():\n    return 2")
    plugins.module("none", "@hookimpl\nasync def server_started():\n    pass")
    returned: list[tuple[str, int]] = []
    host = host_of("one", "two", "none")
    await host.notify(
        "server_started",
        returned=lambda *each: returned.append(each),
        **arguments("server_started"),
    )
    assert returned == [("one", 1), ("two", 2)]


HANGING = """
    import asyncio

    @hookimpl
    async def server_started(server):
        await asyncio.Event().wait()
"""


async def test_a_life_cycle_hook_that_hangs_times_out_and_is_named(plugins: Plugins) -> None:
    host = host_of(plugins.module("shop", HANGING))
    with pytest.raises(PluginError, match="plugin 'shop' failed in server_started: took too long"):
        await host.notify("server_started", 0.01, **arguments("server_started", server=None))


async def test_a_time_limit_of_a_plugin_s_own_is_not_taken_for_the_server_s(
    plugins: Plugins,
) -> None:
    source = """
        import asyncio

        @hookimpl
        async def server_started(server):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
    """
    host = host_of(plugins.module("shop", source))
    with pytest.raises(PluginError) as error:
        await host.notify("server_started", **arguments("server_started", server=None))
    assert error.value.message == "plugin 'shop' failed in server_started: TimeoutError()"


async def test_failures_can_be_tolerated(plugins: Plugins) -> None:
    names = [
        plugins.module("hanging", HANGING),
        plugins.module("failing", "@hookimpl\nasync def server_started():\n    raise KeyError(1)"),
        plugins.module("well", "@hookimpl\ndef server_started(server):\n    server.append(1)"),
    ]
    told: list[int] = []
    failures = await host_of(*names).notify(
        "server_started", 0.01, tolerant=True, **arguments("server_started", server=told)
    )
    assert [failure.message for failure in failures] == [
        "plugin 'hanging' failed in server_started: took too long",
        "plugin 'failing' failed in server_started: KeyError: 1",
    ]
    assert told == [1]


async def test_cancelling_a_start_is_no_failure_of_a_plugin(plugins: Plugins) -> None:
    host = host_of(plugins.module("shop", HANGING))
    starting = asyncio.ensure_future(
        host.notify(
            "server_started", 10.0, tolerant=True, **arguments("server_started", server=None)
        )
    )
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

"""Finding, loading, ordering and disabling plugins."""

from __future__ import annotations

import calendar
import sys
from importlib.metadata import version
from typing import Any

import pytest
from starlette.applications import Starlette

from atriz_realtime import RealtimeConfig, RealtimeExtension
from atriz_realtime.api import ConfigurationError, PluginError
from atriz_realtime.plugin_system.discovery import DEFAULT_PLUGINS
from atriz_realtime.plugin_system.plugins import PluginHost, PluginInfo
from atriz_realtime.testing import without_other_plugins
from tests.support.plugins.files import Plugins, answers, call, host_of, info, refusal

# -- where plugins come from ---------------------------------------------------------------


def test_the_defaults_are_ordinary_plugins_loaded_first() -> None:
    plugins = PluginHost(RealtimeConfig()).describe()
    assert [plugin.name for plugin in plugins][: len(DEFAULT_PLUGINS)] == list(DEFAULT_PLUGINS)
    for plugin in plugins[: len(DEFAULT_PLUGINS)]:
        assert (plugin.origin, plugin.state) == ("default", "active")
        assert plugin.version == version("atriz-realtime")
        assert plugin.hooks
        assert plugin.blocked_hooks == ()


def test_a_module_named_in_configuration(plugins: Plugins) -> None:
    host = host_of(plugins.commands("shop.vans"))
    assert info(host, "vans") == PluginInfo(
        name="vans",
        version="-",
        origin="configuration",
        state="active",
        hooks=("register_commands",),
        file=str(sys.modules["shop.vans"].__file__),
    )
    assert call(host, "register_commands") == [("vans", "vans")]


def test_an_object_named_in_configuration(plugins: Plugins) -> None:
    plugins.module(
        "shop",
        """
        class Plugin:
            def __init__(self, name):
                self.name = name

            @hookimpl
            def register_commands(self):
                return self.name

        van, bike = Plugin("van"), Plugin("bike")
        """,
    )
    host = host_of("shop:van", "shop:bike")
    assert call(host, "register_commands") == [("van", "van"), ("bike", "bike")]


CLASS = """
class Plugin:
    @hookimpl
    def register_commands(self):
        return self
"""


def test_a_class_is_a_plugin_of_which_each_host_makes_an_object(plugins: Plugins) -> None:
    plugins.module("shop", CLASS)
    ((name, first),) = call(host_of("shop:Plugin"), "register_commands")
    ((_, second),) = call(host_of("shop:Plugin"), "register_commands")
    assert name == "Plugin"
    assert type(first) is type(second) is plugins.loaded("shop").Plugin
    assert first is not second


def test_the_configuration_may_give_a_plugin_its_name(plugins: Plugins) -> None:
    plugins.module("shop", CLASS)
    host = host_of("van = shop:Plugin", "bike=shop:Plugin", plugins.commands("depot.van_rental"))
    assert answers(host) == ["van", "bike", "van_rental"]
    assert info(host, "van").origin == "configuration"


def test_an_installed_distribution(plugins: Plugins) -> None:
    plugins.commands("acme_realtime")
    plugins.distribution("acme-realtime", {"acme": "acme_realtime"}, version="4.5")
    plugins.distribution("something-else", {"other": "not_there"}, group="another.group")
    host = host_of()
    assert info(host, "acme") == PluginInfo(
        name="acme",
        version="4.5",
        origin="acme-realtime",
        state="active",
        hooks=("register_commands",),
    )
    assert call(host, "register_commands") == [("acme", "acme_realtime")]


def test_hosts_share_nothing(plugins: Plugins) -> None:
    name = plugins.commands("shop")
    first, second = host_of(name), host_of(name, disabled_plugins=["shop"])
    assert answers(first) == ["shop"]
    assert answers(second) == []
    assert answers(host_of()) == []


# -- order ---------------------------------------------------------------------------------


def test_the_order_of_plugins(plugins: Plugins) -> None:
    for name in ("b_module", "a_module", "z_config", "y_config"):
        plugins.commands(name)
    plugins.distribution("dist-1", {"installed_b": "b_module"})
    plugins.distribution("dist-2", {"installed_a": "a_module"})
    host = host_of("z_config", "y_config")
    assert answers(host) == ["installed_a", "installed_b", "z_config", "y_config"]


def test_a_plugin_can_ask_to_be_first_or_last(plugins: Plugins) -> None:
    names = [
        plugins.commands("last_1", "@hookimpl(trylast=True)"),
        plugins.commands("middle_1"),
        plugins.commands("first_1", "@hookimpl(tryfirst=True)"),
        plugins.commands("last_2", "@hookimpl(trylast=True)"),
        plugins.commands("middle_2"),
        plugins.commands("first_2", "@hookimpl(tryfirst=True)"),
    ]
    assert answers(host_of(*names)) == [
        "first_1",
        "first_2",
        "middle_1",
        "middle_2",
        "last_1",
        "last_2",
    ]


# -- switching off -------------------------------------------------------------------------


def test_a_disabled_plugin_is_not_even_imported(plugins: Plugins) -> None:
    plugins.module("broken", "raise RuntimeError('imported')")
    host = host_of("broken", disabled_plugins=["broken", "delivery"])
    assert (info(host, "broken").state, info(host, "delivery").state) == ("disabled", "disabled")
    assert info(host, "broken").hooks == ()


def test_a_single_hook_can_be_disabled(plugins: Plugins) -> None:
    plugins.module(
        "shop",
        """
        @hookimpl
        def register_commands():
            return "command"

        @hookimpl
        def register_filters():
            return Filter("filter", None)
        """,
    )
    host = host_of("shop", disabled_hooks=["shop:register_filters"])
    assert info(host, "shop").hooks == ("register_commands",)
    assert info(host, "shop").blocked_hooks == ("register_filters",)
    assert answers(host) == ["shop"]
    assert call(host, "register_filters") == []


def test_a_hook_of_a_disabled_plugin_may_be_disabled_too(plugins: Plugins) -> None:
    name = plugins.commands("shop")
    host = host_of(name, disabled_plugins=["shop"], disabled_hooks=["shop:register_commands"])
    assert answers(host) == []


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"disabled_plugins": ["delivry"]},
            "disabled_plugins: no plugin 'delivry'; did you mean 'delivery'?",
        ),
        (
            {"optional_plugins": ["mermory"]},
            "optional_plugins: no plugin 'mermory'; did you mean 'memory'?",
        ),
        (
            {"plugins": {"jwt_aut": {}}},
            "[realtime.plugins.jwt_aut]: no such plugin; did you mean 'jwt_auth'?",
        ),
        (
            {"disabled_hooks": ["delivery"]},
            "disabled_hooks: 'delivery' must be plugin:hook",
        ),
        (
            {"disabled_hooks": ["delivry:register_entity_types"]},
            "disabled_hooks: 'delivry:register_entity_types': no plugin 'delivry'; "
            "did you mean 'delivery'?",
        ),
        (
            {"disabled_hooks": ["delivery:register_entity_type"]},
            "disabled_hooks: 'delivery:register_entity_type': no hook 'register_entity_type'; "
            "did you mean 'register_entity_types'?",
        ),
        (
            {"disabled_hooks": ["delivery:register_caches"]},
            "disabled_hooks: 'delivery:register_caches': plugin 'delivery' does not implement "
            "register_caches",
        ),
    ],
)
def test_an_unknown_name_stops_the_start_with_the_nearest(
    settings: dict[str, Any], problem: str
) -> None:
    assert refusal(**settings) == problem


# -- plugins that cannot be loaded ---------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import not_there", "cannot be loaded: ModuleNotFoundError: No module named 'not_there'"),
        ("def broken(:", "cannot be loaded: SyntaxError"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError"),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
        ("def register_filters(): ...", "implements no hook"),
        (
            "@hookimpl\ndef register_filter(): ...",
            "; did you mean 'register_filters'?",
        ),
        ("@hookimpl\ndef register_filters(confg): ...", "confg"),
        (
            "@hookimpl\ndef register_filters(config=None): ...",
            "register_filters: 'config' must have no default, because it would never get another",
        ),
    ],
)
def test_a_broken_module_stops_the_start_and_is_named(
    plugins: Plugins, source: str, problem: str
) -> None:
    message = refusal(plugins.module("shop", source))
    assert message.startswith("plugin 'shop' (configuration)")
    assert problem in message


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("not_there", "plugin 'not_there' (configuration) cannot be loaded: ModuleNotFoundError"),
        ("shop:missing", "plugin 'missing' (configuration) cannot be loaded: AttributeError"),
        (
            "shop:Plugin",
            "plugin 'Plugin' (configuration) cannot be loaded: TypeError: Plugin.__init__() missing"
            " 1 required positional argument: 'name'",
        ),
    ],
)
def test_a_wrong_name_stops_the_start(plugins: Plugins, target: str, problem: str) -> None:
    plugins.module("shop", "class Plugin:\n    def __init__(self, name): ...")
    assert refusal(target).startswith(problem)


def test_an_installed_plugin_that_is_broken_is_named_with_its_distribution(
    plugins: Plugins,
) -> None:
    plugins.distribution("acme-realtime", {"acme": "not_there"})
    assert refusal().startswith("plugin 'acme' (acme-realtime) cannot be loaded")


def test_a_module_without_hooks_is_named_with_its_file() -> None:
    assert refusal("calendar") == (
        f"plugin 'calendar' (configuration) implements no hook in {calendar.__file__}; "
        "mark its functions with atriz_realtime.api.hookimpl"
    )


def test_a_module_whose_class_has_the_hooks_says_to_install_it_again(plugins: Plugins) -> None:
    source = "class Tram:\n    @hookimpl\n    def register_filters(self):\n        return []"
    plugins.distribution("acme-tram", {"tram": plugins.module("tram", source)})
    assert refusal().endswith(
        "its class 'Tram' does: name that in the entry point, as 'module:Tram', and install the "
        "distribution again, or name it in extra_plugins"
    )


def test_a_misspelt_name_does_not_turn_off_the_plugin_that_is_meant(plugins: Plugins) -> None:
    plugins.distribution("acme-ferry", {"ferry_line": "ferry"})
    with pytest.raises(ConfigurationError) as error:
        without_other_plugins("ferry_lin")
    assert error.value.message == ("no plugin 'ferry_lin' is installed; did you mean 'ferry_line'?")
    for names in (["tram"], ["ferry_line"], ["ferry_lin", "ferry_line"]):
        without_other_plugins(*names)


def test_a_module_under_two_names_is_named_with_both(plugins: Plugins) -> None:
    name = plugins.commands("shop")
    assert refusal(name, f"depot = {name}") == (
        "plugin 'depot' (configuration) is the same object as plugin 'shop': name it once"
    )


def test_two_modules_of_one_name_are_both_named(plugins: Plugins) -> None:
    message = refusal(plugins.commands("shop.vans"), plugins.commands("depot.vans"))
    assert "two plugins are named 'vans'" in message
    assert "shop.vans" in message
    assert "depot.vans" in message


def test_two_distributions_of_one_name_are_both_named(plugins: Plugins) -> None:
    plugins.commands("one")
    plugins.distribution("dist-1", {"vans": "one"})
    plugins.distribution("dist-2", {"vans": "one"})
    message = refusal()
    assert "two plugins are named 'vans'" in message
    assert "dist-1" in message
    assert "dist-2" in message


def test_no_plugin_may_have_the_name_of_a_default(plugins: Plugins) -> None:
    plugins.commands("mine")
    plugins.distribution("acme-realtime", {"memory": "mine"})
    message = refusal()
    assert "two plugins are named 'memory'" in message
    assert "default" in message
    assert "acme-realtime" in message


@pytest.mark.parametrize("path", ["dispatch/rules.py", "./dispatch/rules.py", "dispatch/rules"])
def test_a_path_is_no_module(path: str) -> None:
    with pytest.raises(PluginError) as error:
        host_of(path)
    assert error.value.message == (
        f"extra_plugins: {path!r} is a path; write the module as Python imports it, such as "
        "'dispatch.rules'"
    )


def test_settings_in_a_dictionary_are_no_configuration() -> None:
    settings: Any = {"port": 1}
    with pytest.raises(ConfigurationError, match="must be a RealtimeConfig, not dict"):
        RealtimeExtension(settings).install(Starlette())

"""The sources of settings, their precedence, and the masking of secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from atriz_realtime import EntitySettings, RealtimeConfig
from atriz_realtime.api import ConfigurationError, Resources
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.plugin_system.checks import mask_url
from atriz_realtime.plugin_system.config import load_config
from atriz_realtime.plugin_system.plugins import PluginHost
from atriz_realtime.plugin_system.settings_view import SettingsView, describe

NOTHING: dict[str, str] = {}
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# -- the settings --------------------------------------------------------------------------


def test_the_documented_defaults() -> None:
    config = RealtimeConfig()
    assert (config.redis_url, config.cors_origin, config.jwt_secret) == (None, (), None)
    assert (config.host, config.port) == ("127.0.0.1", 3001)
    assert (config.ping_interval, config.ping_timeout) == (25_000, 20_000)
    assert (config.max_payload, config.auth_timeout, config.connect_timeout) == (65_536, 10, 10)
    assert (config.throttle_interval, config.cache_ttl) == (1_000, 300)
    assert config.last_known_ttl == 7 * 86_400
    assert (config.max_subscriptions, config.max_events_per_second) == (1_000, 50)
    assert config.max_events_burst == 500
    assert (config.max_connections_per_user, config.max_connections_per_address) == (0, 0)
    assert (config.disabled_plugins, config.disabled_hooks) == ((), ())


@pytest.mark.parametrize("settings_class", [RealtimeConfig, EntitySettings])
def test_every_setting_has_its_help(settings_class: type[Any]) -> None:
    for field in attrs.fields(settings_class):
        assert field.metadata["help"].endswith("."), field.name
        assert field.kw_only


def test_the_constructor_reads_neither_file_nor_environment(
    working_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(working_directory / "atriz.toml", "port = 1")
    monkeypatch.setenv("PORT", "2")
    assert RealtimeConfig().port == 3001


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("port", -1),
        ("ping_interval", 0),
        ("ping_interval", 499),
        ("ping_timeout", -5),
        ("ping_timeout", 499),
        ("max_payload", 0),
        ("max_body", 0),
        ("max_batch", 0),
        ("auth_timeout", -0.1),
        ("token_notice", -1),
        ("connect_timeout", float("nan")),
        ("max_subscriptions", 0),
        ("max_events_per_second", -1),
        ("max_events_burst", 0),
        ("max_connections_per_user", -1),
        ("max_connections_per_address", -1),
        ("max_pending_frames", 0),
        ("max_lag", -1),
        ("max_clock_skew", -1),
        ("max_metadata", 1),
        ("cache_ttl", 0.5),
        ("cache_ttl", float("inf")),
        ("last_known_ttl", -1),
        ("last_known_ttl", float("nan")),
        ("throttle_interval", -1),
        ("throttle_interval", float("inf")),
        ("plugin_timeout", 0),
        ("port", True),
        ("ping_interval", "25000"),
        ("cors_origin", "localhost:5173"),
        ("cors_origin", "https://app.example.com/path"),
        ("cors_origin", ["https://good.example", "ftp://bad.example"]),
        ("cors_origin", 7),
        ("cors_origin", [7]),
        ("redis_url", "localhost:6379"),
        ("redis_url", "http://localhost"),
        ("redis_url", "redis://"),
        ("redis_url", "redis://localhost:port"),
        ("redis_url", "redis://[::1"),
    ],
)
def test_an_invalid_setting_is_named(setting: str, value: Any) -> None:
    settings: dict[str, Any] = {setting: value}
    with pytest.raises(ConfigurationError) as error:
        RealtimeConfig(**settings)
    assert error.value.field == setting
    assert setting in error.value.message


@pytest.mark.parametrize("setting", ["cache_ttl", "last_known_ttl", "throttle_interval"])
def test_an_invalid_setting_of_an_entity_type_is_named(setting: str) -> None:
    settings: dict[str, Any] = {setting: -1}
    with pytest.raises(ConfigurationError, match=setting):
        EntitySettings(**settings)


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        (None, ()),
        ("*", ("*",)),
        ("https://a.example/", ("https://a.example",)),
        (
            "https://a.example, http://localhost:5173",
            ("https://a.example", "http://localhost:5173"),
        ),
        (["https://a.example", "null"], ("https://a.example", "null")),
    ],
)
def test_the_forms_of_an_origin(given: Any, origins: tuple[str, ...]) -> None:
    assert RealtimeConfig(cors_origin=given).cors_origin == origins


@pytest.mark.parametrize(
    "url",
    ["redis://localhost", "rediss://:p@h:6380/1", "unix:///run/redis.sock", "redis://[::1]:1"],
)
def test_the_forms_of_a_redis_url(url: str) -> None:
    assert RealtimeConfig(redis_url=url).redis_url == url


def test_an_empty_value_is_none() -> None:
    config = RealtimeConfig(redis_url="", jwt_secret="")
    assert config.redis_url is None
    assert config.jwt_secret is None


# -- sources, and which one wins -----------------------------------------------------------


def test_the_environment_wins_over_the_file_and_the_caller_over_both(
    working_directory: Path,
) -> None:
    file = write(working_directory / "atriz.toml", "host = 'a'\nport = 1\nping_interval = 5000\n")
    environ = {"PORT": "2", "WS_PING_INTERVAL": "6000"}
    loaded = load_config(None, environ, ping_interval=7_000, ping_timeout=None)
    assert (loaded.config.host, loaded.config.port) == ("a", 2)
    assert (loaded.config.ping_interval, loaded.config.ping_timeout) == (7_000, 20_000)
    assert dict(loaded.sources) == {
        "host": file.name,
        "port": "environment variable PORT",
        "ping_interval": "command line",
    }
    assert RealtimeConfig.load(None, environ, ping_interval=7_000) == loaded.config


def test_the_process_s_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "4321")
    assert RealtimeConfig.load().port == 4321


def test_the_documented_variables() -> None:
    config = RealtimeConfig.load(
        environ={
            "REDIS_URL": "redis://localhost:6379",
            "WS_CORS_ORIGIN": "http://localhost:5173, https://app.example.com",
            "WS_PING_INTERVAL": "1000",
            "WS_PING_TIMEOUT": " 500 ",
            "JWT_SECRET": "s",
            "HOST": "0.0.0.0",
            "PORT": "80",
            "UNRELATED": "x",
        }
    )
    assert config == RealtimeConfig(
        redis_url="redis://localhost:6379",
        cors_origin=("http://localhost:5173", "https://app.example.com"),
        ping_interval=1_000,
        ping_timeout=500,
        jwt_secret="s",
        host="0.0.0.0",
        port=80,
    )


def test_documented_names_for_one_setting() -> None:
    both = {"CORS_ORIGIN": "http://a.example", "WS_CORS_ORIGIN": "http://b.example"}
    assert RealtimeConfig.load(environ=both).cors_origin == ("http://b.example",)
    del both["WS_CORS_ORIGIN"]
    assert RealtimeConfig.load(environ=both).cors_origin == ("http://a.example",)
    own = both | {"ATRIZ_REALTIME_CORS_ORIGIN": "http://c.example"}
    assert RealtimeConfig.load(environ=own).cors_origin == ("http://c.example",)


def test_an_empty_documented_variable_is_ignored(working_directory: Path) -> None:
    write(working_directory / "atriz.toml", "redis_url = 'redis://localhost'")
    assert RealtimeConfig.load(environ={"REDIS_URL": ""}).redis_url == "redis://localhost"
    assert RealtimeConfig.load(environ={"ATRIZ_REALTIME_REDIS_URL": ""}).redis_url is None


@pytest.mark.parametrize(
    ("text", "setting", "value"),
    [
        ("0", "throttle_interval", 0.0),
        ("2.5", "auth_timeout", 2.5),
        ("9", "max_events_burst", 9),
        ("true", "require_handshake_auth", True),
        ("1", "require_handshake_auth", True),
        ("Yes", "require_handshake_auth", True),
        ("on", "require_handshake_auth", True),
        ("off", "require_handshake_auth", False),
        ("", "require_handshake_auth", False),
        ("delivery, vehicle,", "disabled_plugins", ("delivery", "vehicle")),
        ("", "disabled_plugins", ()),
        ("a:b,c:d", "disabled_hooks", ("a:b", "c:d")),
        ("latest", "throttle", "latest"),
        ("memory", "cache", "memory"),
    ],
)
def test_every_setting_has_a_variable(text: str, setting: str, value: Any) -> None:
    config = RealtimeConfig.load(environ={f"ATRIZ_REALTIME_{setting.upper()}": text})
    assert getattr(config, setting) == value


@pytest.mark.parametrize(
    ("variable", "text", "problem"),
    [
        ("PORT", "http", "PORT must be a whole number, not 'http'"),
        ("PORT", "80.5", "PORT must be a whole number, not '80.5'"),
        ("PORT", "65536", "PORT: port must be from 0 to 65535, not 65536"),
        ("PORT", "-1", "PORT: port must be from 0 to 65535, not -1"),
        ("ATRIZ_REALTIME_AUTH_TIMEOUT", "soon", "ATRIZ_REALTIME_AUTH_TIMEOUT must be a number"),
        ("ATRIZ_REALTIME_AUTH_TIMEOUT", "nan", "auth_timeout must be"),
        ("ATRIZ_REALTIME_REQUIRE_HANDSHAKE_AUTH", "maybe", "must be true or false"),
        (
            "ATRIZ_REALTIME_THROTLE_INTERVAL",
            "1",
            "did you mean 'ATRIZ_REALTIME_THROTTLE_INTERVAL'",
        ),
        ("ATRIZ_REALTIME_PLUGINS", "x", "unknown environment variable ATRIZ_REALTIME_PLUGINS"),
        ("ATRIZ_REALTIME_PORT__X", "1", "unknown environment variable ATRIZ_REALTIME_PORT__X"),
        ("ATRIZ_REALTIME_", "1", "unknown environment variable ATRIZ_REALTIME_"),
        ("ATRIZ_REALTIME_SERVICE_HOST", "10.96.0.7", "enableServiceLinks: false"),
        ("ATRIZ_REALTIME_SERVICE_PORT_HTTP", "80", "enableServiceLinks: false"),
        ("ATRIZ_REALTIME_PORT", "tcp://10.96.0.7:80", "enableServiceLinks: false"),
        ("ATRIZ_REALTIME_PORT_80_TCP", "tcp://10.96.0.7:80", "enableServiceLinks: false"),
        ("ATRIZ_REALTIME_WEB_PORT_80_TCP_ADDR", "10.96.0.7", "enableServiceLinks: false"),
        ("WS_PING_INTERVAL", "0", "environment variable WS_PING_INTERVAL"),
        ("WS_PING_INTERVAL", "25", "ping_interval is in milliseconds and must be 500 or more"),
        ("WS_PING_TIMEOUT", "20", "ping_timeout is in milliseconds and must be 500 or more"),
    ],
)
def test_an_invalid_variable_is_named(variable: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        RealtimeConfig.load(environ={variable: text})


def test_two_underscores_separate_the_keys_of_tables(working_directory: Path) -> None:
    write(
        working_directory / "atriz.toml",
        """
        [realtime.plugins.jwt_auth]
        issuer = "us"
        audience = "file"
        [realtime.entities.vehicle]
        cache_ttl = 60
        """,
    )
    config = RealtimeConfig.load(
        environ={
            "ATRIZ_REALTIME_PLUGINS__JWT_AUTH__AUDIENCE": "environment",
            "ATRIZ_REALTIME_PLUGINS__JWT_AUTH__LEEWAY": "2.5",
            "ATRIZ_REALTIME_PLUGINS__JWT_AUTH__ALGORITHMS": '["HS256", "HS512"]',
            "ATRIZ_REALTIME_ENTITIES__VEHICLE__THROTTLE_INTERVAL": "250",
            "ATRIZ_REALTIME_ENTITIES__DELIVERY__THROTTLE": "none",
            "ATRIZ_REALTIME_ENTITIES__DELIVERY__THROTTLE_OPTIONS__EVERY": "2",
        }
    )
    assert config.plugins == {
        "jwt_auth": {
            "issuer": "us",
            "audience": "environment",
            "leeway": 2.5,
            "algorithms": ["HS256", "HS512"],
        }
    }
    assert config.entities == {
        "vehicle": EntitySettings(cache_ttl=60, throttle_interval=250),
        "delivery": EntitySettings(throttle="none", throttle_options={"every": 2}),
    }


@pytest.mark.parametrize("text", ["exp,iat", " exp , iat ", '["exp", "iat"]', '"exp,iat"'])
def test_a_list_of_a_plugin_may_be_one_string(text: str) -> None:
    variable = "ATRIZ_REALTIME_PLUGINS__JWT_AUTH__REQUIRED_CLAIMS"
    host = PluginHost(RealtimeConfig.load(environ={variable: text}))
    assert host.settings["jwt_auth"].required_claims == ("exp", "iat")


# -- the file ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("atriz.toml", "port = 9"),
        ("atriz.toml", "[realtime]\nport = 9"),
        ("atriz.toml", "[database]\nurl = 'x'\n[realtime]\nport = 9"),
        ("pyproject.toml", "[tool.atriz.realtime]\nport = 9\n[tool.other]\nhost = 'x'"),
    ],
)
def test_the_tables_of_the_file(working_directory: Path, name: str, text: str) -> None:
    file = write(working_directory / name, text)
    assert RealtimeConfig.load(environ=NOTHING).port == 9
    assert RealtimeConfig.load(file, NOTHING).port == 9


def test_atriz_toml_hides_pyproject(working_directory: Path) -> None:
    write(working_directory / "atriz.toml", "")
    write(working_directory / "pyproject.toml", "[tool.atriz.realtime]\nport = 9")
    assert RealtimeConfig.load(environ=NOTHING) == RealtimeConfig()


def test_a_pyproject_without_a_table_is_ignored(working_directory: Path) -> None:
    write(working_directory / "pyproject.toml", "[project]\nname = 'x'\nport = 9")
    assert load_config(None, NOTHING).sources == {}


@pytest.mark.parametrize(
    ("name", "text", "key", "meant"),
    [
        ("atriz.toml", "[claims]\ntrack = 'vehicles'", "claims", "realtime.plugins.claims"),
        ("atriz.toml", "[jwt-auth]\naudience = 'a'", "jwt-auth", "realtime.plugins.jwt_auth"),
        ("atriz.toml", "[plugin.claims]\ntrack = 'vehicles'", "plugin", "realtime.plugins"),
        ("atriz.toml", "[entites.vehicle]\ncache_ttl = 60", "entites", "realtime.entities"),
        ("atriz.toml", "throtle_interval = 5", "throtle_interval", "throttle_interval"),
        (
            "atriz.toml",
            "[realtime]\nextra_plugins = ['dispatch_rules']\n[dispatch_rules]\nzone = 1",
            "dispatch_rules",
            "realtime.plugins.dispatch_rules",
        ),
        (
            "pyproject.toml",
            "[tool.atriz.claims]\ntrack = 'vehicles'",
            "tool.atriz.claims",
            "tool.atriz.realtime.plugins.claims",
        ),
        (
            "pyproject.toml",
            "[tool.atriz.plugins.claims]\ntrack = 'vehicles'",
            "tool.atriz.plugins",
            "tool.atriz.realtime.plugins",
        ),
        (
            "pyproject.toml",
            "[tool.atriz.realtme]\nport = 9",
            "tool.atriz.realtme",
            "tool.atriz.realtime",
        ),
    ],
)
def test_a_setting_in_a_wrong_place_stops_the_start(
    working_directory: Path, name: str, text: str, key: str, meant: str
) -> None:
    write(working_directory / name, text)
    with pytest.raises(ConfigurationError) as error:
        RealtimeConfig.load(environ=NOTHING)
    assert error.value.message == f"{name}: unknown key {key!r}; did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("atriz.toml", "tool.atriz.realtime", "realtime"),
        ("pyproject.toml", "realtime", "tool.atriz.realtime"),
    ],
)
def test_the_table_of_the_other_file_stops_the_start(
    working_directory: Path, name: str, wrong: str, right: str
) -> None:
    write(working_directory / name, f"[{wrong}]\nport = 9")
    with pytest.raises(ConfigurationError) as error:
        RealtimeConfig.load(environ=NOTHING)
    problem = f"[{wrong}] is not read in this file; write [{right}]"
    assert error.value.message == f"{name}: {problem}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("atriz.toml", "name = 'shop'\ntool = 1\n[database]\nurl = 'x'\n[redis]\n[delivery]"),
        ("atriz.toml", "[metrics]\nport = 9090\n[claims]\nlanguage = 'en'"),
        ("pyproject.toml", "[tool.atriz]\nport = 8000\n[tool.atriz.web]\nport = 1"),
    ],
)
def test_keys_of_other_packages_are_theirs(working_directory: Path, name: str, text: str) -> None:
    write(working_directory / name, text)
    assert RealtimeConfig.load(environ=NOTHING) == RealtimeConfig()


@pytest.mark.parametrize("wrong", ["3", "[3]"])
def test_what_is_no_list_of_plugins_is_refused_as_such(working_directory: Path, wrong: str) -> None:
    write(working_directory / "atriz.toml", f"[other]\n[realtime]\nextra_plugins = {wrong}")
    with pytest.raises(ConfigurationError, match="extra_plugins"):
        RealtimeConfig.load(environ=NOTHING)


def test_a_file_may_begin_with_a_byte_order_mark(working_directory: Path) -> None:
    write(working_directory / "atriz.toml", "\ufeff[realtime]\nport = 9")
    assert RealtimeConfig.load(environ=NOTHING).port == 9


def test_each_setting_of_a_plugin_has_its_source(working_directory: Path) -> None:
    text = "[realtime.plugins.jwt_auth]\nissuer = 'us'\naudience = 'file'"
    write(working_directory / "atriz.toml", text)
    variable = "ATRIZ_REALTIME_PLUGINS__JWT_AUTH__AUDIENCE"
    deep = "ATRIZ_REALTIME_PLUGINS__JWT_AUTH__KEYS__K1"
    assert load_config(None, {variable: "tracking", deep: "file:k.pem"}).sources == {
        "plugins": f"environment variable {deep}",
        "plugins.jwt_auth.issuer": "atriz.toml",
        "plugins.jwt_auth.audience": f"environment variable {variable}",
        "plugins.jwt_auth.keys": f"environment variable {deep}",
    }


def test_any_file_can_be_named(tmp_path: Path) -> None:
    file = write(tmp_path / "server.toml", "[realtime]\ncors_origin = 'http://a.example'")
    config = RealtimeConfig.load(file, NOTHING)
    assert config.cors_origin == ("http://a.example",)


def test_lists_and_tables_in_a_file(tmp_path: Path) -> None:
    file = write(
        tmp_path / "server.toml",
        """
        [realtime]
        cors_origin = ["http://a.example", "http://b.example"]
        disabled_plugins = "delivery"
        extra_plugins = ["shop.van:plugin"]
        auth_timeout = 3
        [realtime.entities.vehicle]
        throttle = "latest"
        throttle_options = {interval = 200}
        """,
    )
    config = RealtimeConfig.load(file, NOTHING)
    assert config.cors_origin == ("http://a.example", "http://b.example")
    assert config.disabled_plugins == ("delivery",)
    assert config.extra_plugins == ("shop.van:plugin",)
    assert config.auth_timeout == 3.0
    assert config.entities["vehicle"].throttle_options == {"interval": 200}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("port = ", "not TOML"),
        ("\xff", "not TOML"),
        ("realtime = 5", "realtime must be a table"),
        ("port = 1\n[realtime]\nport = 2", "port is set twice"),
        ("[realtim]\nport = 1", "unknown key 'realtim'; did you mean 'realtime'"),
        (
            "[realtime.claims]\ntrack = 'watch'",
            "unknown key 'realtime.claims'; did you mean 'realtime.plugins.claims'",
        ),
        ("[realtime]\nprot = 1", "unknown key 'prot'; did you mean 'port'"),
        ("[realtime]\nport = '1'", "port: must be a whole number, not a string"),
        ("[realtime]\nport = 1.0", "port: must be a whole number, not one with a decimal point"),
        ("[realtime]\nport = nan", "port: must be a whole number, not nan"),
        ("[realtime]\nport = true", "port: must be a whole number, not true or false"),
        ("[realtime]\nport = 1000000", "port must be from 0 to 65535, not 1000000"),
        ("[realtime]\nrequire_handshake_auth = 1", "must be true or false"),
        (
            "[realtime]\ndisabled_plugins = [1]",
            "disabled_plugins: must be a list of strings; it holds a whole number",
        ),
        ("[realtime.entities]\nvehicle = 5", "entities: vehicle: must be a table"),
        ("[realtime.entities.vehicle]\nthrottel = 'x'", "did you mean 'throttle'"),
        ("[realtime.entities.vehicle]\ncache_ttl = 0", "cache_ttl must be 1 or more"),
        ("[realtime]\nplugins = []", "plugins"),
        ("[realtime.plugins]\njwt_auth = 1", "plugins"),
    ],
)
def test_an_invalid_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "server.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=problem) as error:
        RealtimeConfig.load(file, NOTHING)
    assert str(file) in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        (
            "host = '::'",
            {"JWT_SECRET": SECRET, "ATRIZ_REALTIME_MAX_BATCH": "-4"},
            "environment variable ATRIZ_REALTIME_MAX_BATCH: max_batch must be 1 or more, not -4",
        ),
        (
            "[realtime]\nmax_bacth = 3",
            {"JWT_SECRET": SECRET},
            "atriz.toml: unknown key 'max_bacth'; did you mean 'max_batch'?",
        ),
        (
            "[realtime]\ncors_origin = 'x'",
            {"REDIS_URL": "redis://localhost"},
            "atriz.toml: cors_origin: 'x' is not an origin such as https://app.example.com",
        ),
    ],
)
def test_an_error_names_its_source_alone(
    working_directory: Path, text: str, environ: dict[str, str], message: str
) -> None:
    write(working_directory / "atriz.toml", text)
    with pytest.raises(ConfigurationError) as error:
        RealtimeConfig.load(environ=environ)
    assert error.value.message == message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.toml: No such file"):
        RealtimeConfig.load(tmp_path / "missing.toml", NOTHING)


def test_a_name_like_no_setting_does_not_list_all_of_them() -> None:
    with pytest.raises(ConfigurationError) as error:
        RealtimeConfig.load(None, NOTHING, xylophone=1)
    count = len(attrs.fields(RealtimeConfig))
    problem = f"unknown key 'xylophone'; the page configuration.md lists all {count}"
    assert error.value.message == f"command line: {problem}"


def test_an_unknown_override_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'port'"):
        RealtimeConfig.load(None, NOTHING, prot=1)


def test_overrides_accept_the_values_of_the_constructor() -> None:
    config = RealtimeConfig.load(
        None,
        NOTHING,
        cors_origin="*",
        disabled_plugins="delivery",
        entities={"vehicle": EntitySettings(throttle="none")},
        auth_timeout=1,
    )
    assert config.cors_origin == ("*",)
    assert config.disabled_plugins == ("delivery",)
    assert config.entities == {"vehicle": EntitySettings(throttle="none")}


# -- secrets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://localhost:6379/1", "redis://localhost:6379/1"),
        (f"redis://:{SECRET}@localhost", "redis://:***@localhost"),
        (f"rediss://user:{SECRET}@h:1/2?db=3", "rediss://user:***@h:1/2?db=3"),
        (f"redis://user:p@{SECRET}@h", "redis://user:***@h"),
        (f"redis://h/0?password={SECRET}&db=1", "redis://h/0?password=***&db=1"),
        (f"unix://:{SECRET}@/run/redis.sock", "unix://:***@/run/redis.sock"),
    ],
)
def test_a_url_without_its_password(url: str, masked: str) -> None:
    assert mask_url(url) == masked


@pytest.mark.parametrize(
    "url",
    [f"redis://:{SECRET}@h:1", f"redis://h?password={SECRET}", f"redis://user:{SECRET}@[::1]:1"],
)
def test_secrets_are_masked_wherever_settings_are_shown(url: str) -> None:
    config = RealtimeConfig(
        redis_url=url, jwt_secret=SECRET, plugins={"jwt_auth": {"issuer": SECRET}}
    )
    described = describe(config)
    assert SECRET not in f"{config!r} {described}"
    assert described["jwt_secret"] == "***"
    assert described["plugins"] == {"jwt_auth": "***"}
    assert set(described) == {field.name for field in attrs.fields(RealtimeConfig)}


def test_unset_values_are_shown_as_none() -> None:
    described = describe(RealtimeConfig(entities={"vehicle": EntitySettings(throttle="none")}))
    assert described["jwt_secret"] is None
    assert described["redis_url"] is None
    assert described["entities"]["vehicle"]["throttle"] == "none"


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}/x@h:1",
        f"redis://user:{SECRET}@h:port",
        f"http://user:{SECRET}@h",
        f"redis://user:{SECRET}@[::1",
        f"localhost?password={SECRET}",
    ],
)
def test_a_refused_url_does_not_show_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        RealtimeConfig(redis_url=url)
    assert SECRET not in error.value.message


@pytest.mark.parametrize("password", ["p@/:%", "12/x", "x/y", "1#2", "a?b", "[a"])
@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster"])
def test_a_password_that_ends_the_host_is_asked_about(scheme: str, password: str) -> None:
    with pytest.raises(ConfigurationError, match="does the password need %-escapes"):
        RealtimeConfig(redis_url=f"{scheme}://u:{password}@h:6379")


def test_a_secret_of_a_wrong_type_is_not_shown(tmp_path: Path) -> None:
    file = write(tmp_path / "server.toml", "[realtime]\njwt_secret = 987654321")
    with pytest.raises(ConfigurationError, match="jwt_secret") as error:
        RealtimeConfig.load(file, NOTHING)
    assert "987654321" not in error.value.message


def test_plugins_see_the_settings_but_not_each_other_s_tables() -> None:
    config = RealtimeConfig(port=1, plugins={"jwt_auth": {"issuer": "us"}})
    settings: Any = SettingsView(config)
    assert settings["port"] == 1
    assert "plugins" not in settings
    with pytest.raises(TypeError):
        settings["port"] = 2


def test_what_plugins_are_given_shows_no_secret() -> None:
    config = RealtimeConfig(
        redis_url=f"redis://:{SECRET}@h:1",
        jwt_secret=SECRET,
        plugins={"jwt_auth": {"issuer": SECRET}},
    )
    given = PluginHost(config).view("jwt_auth")
    resources = Resources(clock=SystemClock(), redis=None, settings=given.settings)
    assert given.settings["jwt_secret"] == SECRET
    assert SECRET not in f"{given!r} {given.settings} {resources!r}"
    assert "'port': 3001" in repr(given)

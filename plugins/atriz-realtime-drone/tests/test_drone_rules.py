"""A drone's fixes, fleets and settings, without a server."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import pytest
from starlette.applications import Starlette

from atriz_realtime import EntityRef, Identity, LocationEvent, RealtimeConfig, RealtimeServer
from atriz_realtime.api import PASS, ConfigurationError, InvalidLocation, Resources
from atriz_realtime.testing import FakeClock, event
from atriz_realtime_drone.recall import MemoryRecalls
from atriz_realtime_drone.rules import DroneSettings, FleetRule, flight_check

INSTALLED = "drone" in entry_points(group="atriz_realtime").names
README = Path(__file__).parents[1] / "README.md"


def server(settings: Mapping[str, Any] | None = None, **table: Any) -> RealtimeServer:
    """A server, not started, with the plugin, its table, and further settings."""
    plugins = {} if INSTALLED else {"extra_plugins": ("atriz_realtime_drone.drone",)}
    config = {"plugins": {"drone": table}, **plugins, **(settings or {})}
    return RealtimeServer(Starlette(), RealtimeConfig(**config))


def fix(**fields: Any) -> LocationEvent:
    """A valid fix of a drone, with some fields changed."""
    good: dict[str, Any] = {"altitude": 80, "metadata": {"battery": 64}}
    return event("DR-0001", kind="drone", **good | fields)


# -- what a fix must say -------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"altitude": 120},
        {"altitude": 120.0},
        {"altitude": -2.5},
        {"metadata": {"battery": 0}},
        {"metadata": {"battery": 100}},
        {"metadata": {"battery": 99.5, "payload": "camera"}},
    ],
)
def test_a_good_fix_passes(fields: dict[str, Any]) -> None:
    flight_check(120)(fix(**fields))


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"altitude": None}, "altitude", "altitude is required"),
        ({"altitude": 120.1}, "altitude", "altitude must be at most 120 m"),
        *(
            (
                {"metadata": metadata},
                "metadata.battery",
                "metadata.battery must be a number from 0 to 100",
            )
            for metadata in (
                None,
                {},
                {"charge": 64},
                {"battery": None},
                {"battery": "64"},
                {"battery": True},
                {"battery": [64]},
                {"battery": -0.1},
                {"battery": 100.1},
            )
        ),
    ],
)
def test_a_bad_fix_is_refused_by_field(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidLocation) as refusal:
        flight_check(120)(fix(**fields))
    assert refusal.value.to_wire() == {
        "success": False,
        "code": "invalid_location",
        "message": message,
        "field": field,
    }


# -- whose drone it is ---------------------------------------------------------------------

FLEETS = {"DR-0": "north", "DR-1": "south", "DR-17": "survey"}


@pytest.mark.parametrize(
    ("claims", "drone", "allowed"),
    [
        ({"fleets": ["north"]}, "DR-0001", True),
        ({"fleet": "north"}, "DR-0001", True),
        ({"fleets": ["south"], "fleet": "north"}, "DR-0001", True),
        ({"fleets": ["south", "north"]}, "DR-0001", True),
        ({"fleets": ["north"]}, "DR-1001", False),
        ({"fleets": ["south"]}, "DR-1700", False),
        ({"fleets": ["survey"]}, "DR-1700", True),
        ({"fleets": ["survey"]}, "DR-1699", False),
        ({}, "DR-0001", False),
        ({"fleets": []}, "DR-0001", False),
        ({"fleets": "north"}, "DR-0001", False),
        ({"fleets": "north-west"}, "DR-0001", False),
        ({"fleets": {"north": True}}, "DR-0001", False),
        ({"fleets": [["north"], None, 7]}, "DR-0001", False),
        ({"fleet": ["north"]}, "DR-0001", False),
        ({"fleets": [None], "fleet": None}, "DR-9001", False),
    ],
)
async def test_a_drone_is_visible_to_users_of_its_fleet(
    claims: dict[str, Any], drone: str, allowed: bool
) -> None:
    rule = FleetRule(FLEETS)
    assert await rule.allows(Identity(user_id="u", claims=claims), EntityRef("drone", drone)) is (
        allowed
    )


async def test_other_entities_are_not_restricted() -> None:
    assert await FleetRule(FLEETS).allows(Identity(user_id="u"), EntityRef("vehicle", "DR-0001"))


# -- settings, and what they make of the type ----------------------------------------------


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"fleets": {"dr-0": "north"}}, "fleets: 'dr-0' does not begin an id such as DR-0001"),
        ({"fleets": {"": "north"}}, "fleets: '' does not begin an id"),
        ({"fleets": {"DR-00001": "north"}}, "fleets: 'DR-00001' does not begin an id"),
        ({"fleets": {"DR-0": ""}}, "fleets: 'DR-0' has no fleet"),
        ({"fleets": {"DR-0": 7}}, "fleets: DR-0: must be a string"),
        ({"ceiling": 0}, "'ceiling' must be > 0"),
        ({"ceiling": float("nan")}, "'ceiling' must be > 0"),
        ({"ceiling": "120"}, "ceiling: must be a number"),
        ({"recall_ttl": 0.5}, "'recall_ttl' must be >= 1"),
        ({"recall_ttl": 1e9}, "'recall_ttl' must be <= 86400"),
        ({"cieling": 90}, "unknown key 'cieling'"),
    ],
)
def test_a_bad_setting_stops_the_start(table: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        server(**table)
    assert refusal.value.message.startswith(f"[realtime.plugins.drone]: {reason}")


def test_without_fleets_the_log_warns(caplog: pytest.LogCaptureFixture) -> None:
    said = (
        "atriz_realtime.drone",
        logging.WARNING,
        "no fleets are configured: nobody may track or publish a drone",
    )
    server(fleets={"DR-": "all"})
    assert said not in caplog.record_tuples
    server()
    assert said in caplog.record_tuples


async def test_five_fixes_a_second_pass() -> None:
    registry = server(fleets=FLEETS).registry
    kind, clock = registry.kinds["drone"], FakeClock()
    throttle = registry.throttles[kind.throttle]
    assert throttle.options is not None
    policy = throttle.create(
        throttle.options(**kind.throttle_options), Resources(clock=clock, redis=None, settings={})
    )
    passed = 0
    for _ in range(100):
        passed += await policy.admit(fix().entity, fix().location) == PASS
        clock.advance(0.01)
    assert passed == 5


async def test_a_single_server_drops_a_recall_when_it_ends() -> None:
    clock = FakeClock()
    recalls = MemoryRecalls(clock, 60)
    assert await recalls.add("DR-0001", b"first") is None
    clock.advance(59)
    assert await recalls.add("DR-0002", b"second") is None
    assert await recalls.add("DR-0001", b"third") == b"first"
    clock.advance(1)
    assert await recalls.find("DR-0001") is None
    assert await recalls.find("DR-0002") == b"second"
    assert await recalls.add("DR-0001", b"fourth") is None
    assert await recalls.find("DR-0001") == b"fourth"


# -- the documentation ---------------------------------------------------------------------


def test_the_documented_configuration_is_complete_and_works() -> None:
    own, of_the_type = (
        tomllib.loads(block.partition("```")[0])["realtime"]
        for block in README.read_text().split("```toml\n")[1:]
    )
    assert set(own["plugins"]["drone"]) == {field.name for field in attrs.fields(DroneSettings)}
    documented = server(own).registry.kinds["drone"]
    assert (documented.throttle_options, documented.cache_ttl) == ({"interval": 200}, 60)
    overridden = server(of_the_type).registry.kinds["drone"]
    assert (overridden.throttle_options, overridden.cache_ttl) == ({"interval": 500}, 300)

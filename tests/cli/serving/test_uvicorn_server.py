"""Serving with a companion, and the tuning of the garbage collector."""

from __future__ import annotations

import gc
import warnings

import pytest

from atriz_realtime import create_app
from atriz_realtime.cli.addresses import listen
from atriz_realtime.cli.serving import uvicorn_server
from tests.support.servers.serving import config


@pytest.fixture(autouse=True)
def collected() -> None:
    """Collect what earlier tests have left: it is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_a_companion_that_fails_stops_the_server_and_says_why() -> None:
    async def companion() -> None:
        raise ValueError("no more")

    sockets = listen("127.0.0.1", 0)
    with pytest.raises(ValueError, match="no more"):
        uvicorn_server.run(create_app(config()), sockets, ready=lambda: None, companion=companion)


def test_a_companion_that_returns_stops_the_server() -> None:
    said = []

    async def companion() -> None:
        said.append("done")

    sockets = listen("127.0.0.1", 0)
    uvicorn_server.run(
        create_app(config()), sockets, ready=lambda: said.append("ready"), companion=companion
    )
    assert said == ["ready", "done"]


def test_the_garbage_collector_is_tuned_while_the_server_runs() -> None:
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    seen = []

    async def companion() -> None:
        seen.append((gc.get_threshold(), gc.get_freeze_count()))

    uvicorn_server.run(
        create_app(config()), listen("127.0.0.1", 0), ready=lambda: None, companion=companion
    )
    [(meanwhile, count)] = seen
    assert meanwhile[0] > thresholds[0]
    assert count > frozen
    assert (gc.get_threshold(), gc.get_freeze_count()) == (thresholds, 0)

"""The scenarios: loads on a server, and the figures that are measured."""

from __future__ import annotations

from tests.benchmarks.scenarios.connections import (
    CONNECT,
    CONNECT_POLLING,
    CONNECT_WEBSOCKET,
    DASHBOARD,
    IDLE,
    POLLING,
)
from tests.benchmarks.scenarios.days import MIXED, STORM
from tests.benchmarks.scenarios.deliveries import FAN_OUT, FLEET, FLEET_RATE, INGEST, NEIGHBOUR
from tests.benchmarks.scenarios.disturbances import HOSTILE, STALLED
from tests.benchmarks.scenarios.workers import WORKERS

SCENARIOS = (
    FAN_OUT,
    FLEET,
    FLEET_RATE,
    NEIGHBOUR,
    INGEST,
    CONNECT,
    CONNECT_WEBSOCKET,
    CONNECT_POLLING,
    DASHBOARD,
    POLLING,
    IDLE,
    STORM,
    MIXED,
    WORKERS,
    STALLED,
    HOSTILE,
)

"""Guards are asked about every socket, without holding the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from atriz_realtime.api import Identity
from atriz_realtime.core.clients import permissions
from atriz_realtime.core.clients.permissions import BATCH, Permissions
from atriz_realtime.testing import until
from tests.core.parts import UNUSED, Hub, user


class Guarded:
    """Counts what it is asked; refuses one user."""

    def __init__(self) -> None:
        self.asked = 0

    def add_guard(self, _: Any) -> None:
        """Unused."""

    def is_accepted(self, identity: Identity) -> bool:
        self.asked += 1
        return identity.user_id != "revoked"


async def test_enforcing_again_and_again_asks_about_a_few_sockets_in_a_turn(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(permissions, "ENFORCE_PAUSE", 0)
    hub, access = Hub(), Guarded()
    for _ in range(BATCH + 50):
        await hub.sign_in(user("u1"))
    await hub.sign_in(user("revoked"))
    signals: Any = type("Signals", (), {"listen": lambda *_: None, "on_gap": lambda *_: None})()
    guarding: Any = access
    made = Permissions(guarding, hub.gateway, UNUSED, signals, hub.incidents, UNUSED, 1.0)
    for _ in range(100):
        made.enforce()
    await asyncio.sleep(0)
    assert access.asked == BATCH
    for _ in range(100):
        made.enforce()
    await until(lambda: not made._tasks)
    assert access.asked <= 2 * (BATCH + 51)
    assert len(hub.sockets) == BATCH + 50
    assert hub.incidents.counts["identity withdrawn"] >= 1
    await made.aclose()

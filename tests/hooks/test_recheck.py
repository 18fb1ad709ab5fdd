"""``Authenticator.still_holds``: sockets whose identity no longer holds are closed."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType
from typing import Any

import attrs
import pytest

from atriz_realtime.api import Authenticator, Credentials, Identity, Unavailable, hookimpl
from tests.support.servers.serving import Live, Watcher, serving, until, watching

INTERVAL = 0.02


@attrs.define
class Door:
    """Lets everybody in who says a name; knows whom to let stay."""

    gone: set[str] = attrs.field(factory=set)
    asked: list[str] = attrs.field(factory=list)
    away: bool = False

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        token = credentials.token or ""
        return Identity(user_id=token) if token.isalpha() else None

    async def still_holds(self, identity: Identity) -> bool:
        assert identity.authenticator == "door"
        self.asked.append(identity.user_id)
        if self.away:
            raise Unavailable
        if identity.user_id == "cause":
            raise ZeroDivisionError
        return identity.user_id not in self.gone


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    """An authenticator, in the plugin ``doors``."""
    door = Door()
    record = Authenticator("door", door.authenticate, order=-1, still_holds=door.still_holds)
    module = ModuleType("doors")
    vars(module)["register_authenticators"] = hookimpl(lambda: record)
    monkeypatch.setitem(sys.modules, "doors", module)
    return door


def tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


def server(**settings: Any) -> Any:
    return serving(extra_plugins=["doors"], recheck_interval=INTERVAL, **settings)


async def enter(live: Live, watcher: Watcher, user: str) -> None:
    assert await watcher.call("authenticate", user) == {"success": True}
    assert await watcher.call("track:vehicle", "v1") == {"success": True}


async def test_a_socket_whose_identity_no_longer_holds_is_closed(door: Door) -> None:
    async with (
        server() as live,
        watching(live, user=None) as ann,
        watching(live, user=None) as bob,
        watching(live, "v1") as jwt,
    ):
        await enter(live, ann, "ann")
        await enter(live, bob, "bob")
        door.gone.add("ann")
        await until(lambda: not ann.client.connected)
        asked = len(door.asked)
        await until(lambda: len(door.asked) > asked + 1)
        await live.publish("v1")
        await until(lambda: bob.updates)
        await until(lambda: jwt.updates)
        assert ann.updates == []
        assert set(door.asked[asked:]) == {"bob"}
        assert live.server.incidents.counts["identity withdrawn"] == 1


@pytest.mark.parametrize("user", ["cause", "ann"], ids=["raises", "away"])
async def test_a_socket_stays_while_nobody_can_say(door: Door, user: str) -> None:
    async with server() as live, watching(live, user=None) as watcher:
        door.away = user == "ann"
        await enter(live, watcher, user)
        await until(lambda: door.asked.count(user) >= 3)
        await live.publish("v1")
        await until(lambda: watcher.updates)


async def test_a_socket_that_became_somebody_else_stays(door: Door) -> None:
    async with server() as live, watching(live, user=None) as watcher:
        await enter(live, watcher, "ann")
        await enter(live, watcher, "bob")
        door.gone.add("ann")
        asked = len(door.asked)
        await until(lambda: len(door.asked) > asked + 2)
        assert watcher.client.connected


async def test_it_runs_only_where_somebody_can_be_asked(door: Door) -> None:
    async with server():
        assert "identity revalidator" in tasks()
    assert "identity revalidator" not in tasks()
    async with serving():
        assert "identity revalidator" not in tasks()


async def test_an_identity_says_whose_it_is(door: Door) -> None:
    async with server() as live:
        access = live.server.permissions._access
        identity = await access.authenticate(Credentials(token="ann"))
        assert identity == Identity(user_id="ann", authenticator="door")

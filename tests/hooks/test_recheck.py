"""``Authenticator.still_holds``: sockets with an identity that is no longer valid are closed."""

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
class FakeAuthenticator:
    """Accepts any name as a token, and withdraws identities when the test says so."""

    gone: set[str] = attrs.field(factory=set)
    asked: list[str] = attrs.field(factory=list)
    away: bool = False

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        token = credentials.token or ""
        return Identity(user_id=token) if token.isalpha() else None

    async def still_holds(self, identity: Identity) -> bool:
        assert identity.authenticator == "authenticator"
        self.asked.append(identity.user_id)
        if self.away:
            raise Unavailable
        if identity.user_id == "cause":
            raise ZeroDivisionError
        return identity.user_id not in self.gone


@pytest.fixture
def authenticator(monkeypatch: pytest.MonkeyPatch) -> FakeAuthenticator:
    """An authenticator that the plugin ``fake_plugin`` registers."""
    authenticator = FakeAuthenticator()
    record = Authenticator(
        "authenticator", authenticator.authenticate, order=-1, still_holds=authenticator.still_holds
    )
    module = ModuleType("fake_plugin")
    vars(module)["register_authenticators"] = hookimpl(lambda: record)
    monkeypatch.setitem(sys.modules, "fake_plugin", module)
    return authenticator


def tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


def server(**settings: Any) -> Any:
    return serving(extra_plugins=["fake_plugin"], recheck_interval=INTERVAL, **settings)


async def enter(live: Live, watcher: Watcher, user: str) -> None:
    assert await watcher.call("authenticate", user) == {"success": True}
    assert await watcher.call("track:vehicle", "v1") == {"success": True}


async def test_a_socket_with_an_invalid_identity_is_closed(
    authenticator: FakeAuthenticator,
) -> None:
    async with (
        server() as live,
        watching(live, user=None) as ann,
        watching(live, user=None) as bob,
        watching(live, "v1") as jwt,
    ):
        await enter(live, ann, "ann")
        await enter(live, bob, "bob")
        authenticator.gone.add("ann")
        await until(lambda: not ann.client.connected)
        asked = len(authenticator.asked)
        await until(lambda: len(authenticator.asked) > asked + 1)
        await live.publish("v1")
        await until(lambda: bob.updates)
        await until(lambda: jwt.updates)
        assert ann.updates == []
        assert set(authenticator.asked[asked:]) == {"bob"}
        assert live.server.incidents.counts["identity withdrawn"] == 1


@pytest.mark.parametrize("user", ["cause", "ann"], ids=["raises", "away"])
async def test_a_socket_stays_while_its_identity_cannot_be_checked(
    authenticator: FakeAuthenticator, user: str
) -> None:
    async with server() as live, watching(live, user=None) as watcher:
        authenticator.away = user == "ann"
        await enter(live, watcher, user)
        await until(lambda: authenticator.asked.count(user) >= 3)
        await live.publish("v1")
        await until(lambda: watcher.updates)


async def test_a_socket_that_authenticated_anew_stays(authenticator: FakeAuthenticator) -> None:
    async with server() as live, watching(live, user=None) as watcher:
        await enter(live, watcher, "ann")
        await enter(live, watcher, "bob")
        authenticator.gone.add("ann")
        asked = len(authenticator.asked)
        await until(lambda: len(authenticator.asked) > asked + 2)
        assert watcher.client.connected


async def test_it_runs_only_with_an_authenticator_to_ask(authenticator: FakeAuthenticator) -> None:
    async with server():
        assert "identity revalidator" in tasks()
    assert "identity revalidator" not in tasks()
    async with serving():
        assert "identity revalidator" not in tasks()


async def test_an_identity_names_its_authenticator(authenticator: FakeAuthenticator) -> None:
    async with server() as live:
        access = live.server.permissions._access
        identity = await access.authenticate(Credentials(token="ann"))
        assert identity == Identity(user_id="ann", authenticator="authenticator")

"""The credentials that authenticators get, and the options of their records."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from atriz_realtime.api import Credentials
from atriz_realtime.testing import Live, serving, token, until, watching
from tests.cli.processes import environment, finished, only_line
from tests.support.plugins.files import Plugins

LISTENING = """
    SEEN = []

    @hookimpl
    def register_authenticators():
        async def authenticate(credentials):
            SEEN.append(credentials)

        return Authenticator("listening", authenticate, order=-1)
    """

WEAK = """
    @hookimpl
    def register_authenticators():
        async def authenticate(credentials):
            return None

        return Authenticator("weak", authenticate, weakness="the secret is public")
    """


AT_ONCE = """
    @hookimpl
    def register_authenticators():
        async def authenticate(credentials):
            raise AssertionError("the plain function is asked instead")

        def at_once(credentials):
            match credentials.token:
                case "good":
                    return Identity(user_id="g")
                case "bad":
                    raise AuthenticationRejected("as planned")
                case "broken":
                    raise LookupError("as planned")
            return None

        return Authenticator("quick", authenticate, at_once=at_once)
    """


async def seen(live: Live, credentials: list[Credentials]) -> dict[str, Credentials]:
    """The credentials of a caller, by the way it authenticates."""
    headers = {"Authorization": f"Bearer {token('http')}", "X-Device": "d1"}
    await live.get("/api/tracking/vehicle", headers=headers)
    async with watching(live, user="shakes-hands") as watcher:
        await watcher.call("authenticate", token("says"))
        await until(lambda: len(credentials) == 3)
    return {each.source: each for each in credentials}


async def test_credentials_have_their_source_and_address(plugins: Plugins) -> None:
    plugins.module("listening", LISTENING)
    async with serving(extra_plugins=["listening"]) as live:
        by_source = await seen(live, import_module("listening").SEEN)
    assert {source: each.token for source, each in by_source.items()} == {
        "http": token("http"),
        "handshake": token("shakes-hands"),
        "event": token("says"),
    }
    assert {each.address for each in by_source.values()} == {"127.0.0.1"}
    assert by_source["http"].headers["x-device"] == "d1"
    assert by_source["handshake"].auth == {"token": token("shakes-hands")}
    assert all(str(each.token) not in repr(each) for each in by_source.values())


async def test_a_weak_authenticator_is_refused_beyond_loopback(
    plugins: Plugins, tmp_path: Path
) -> None:
    plugins.module("weak", WEAK)
    path = str(tmp_path)
    variables = environment(
        ATRIZ_REALTIME_EXTRA_PLUGINS="weak", PYTHONPATH=path, HOST="0.0.0.0", JWT_SECRET="k" * 40
    )
    refused = await finished("check", env=variables)
    assert refused.status == 1
    assert only_line(refused.err).startswith("error: the secret is public; fix that before")
    for allowed in ({"HOST": "127.0.0.1"}, {"ATRIZ_REALTIME_ALLOW_WEAK_SECRET": "true"}):
        assert (await finished("check", env={**variables, **allowed})).status == 0


@pytest.mark.parametrize(
    ("offered", "status", "code"),
    [
        ("good", 404, "not_found"),
        ("bad", 401, "invalid_token"),
        ("broken", 401, "invalid_token"),
        ("nobody's", 401, "not_authenticated"),
    ],
)
async def test_an_authenticator_that_never_waits_is_called_without_a_coroutine(
    plugins: Plugins, offered: str, status: int, code: str
) -> None:
    plugins.module("quick", AT_ONCE)
    async with serving(extra_plugins=["quick"], disabled_plugins=["jwt_auth"]) as live:
        headers = {"Authorization": f"Bearer {offered}"}
        answered, answer = await live.get("/api/tracking/vehicle/v1", headers=headers)
        assert (answered, answer["code"]) == (status, code)
        async with watching(live, user=None) as watcher:
            said = await watcher.call("authenticate", offered)
            assert said["success"] is (offered == "good")
        failed = live.server.incidents.counts.get("plugin quick failed", 0)
        assert failed == (2 if offered == "broken" else 0)

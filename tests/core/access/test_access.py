"""Authentication and authorization."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from atriz_realtime.api import (
    AuthenticationRejected,
    Authenticator,
    Authorizer,
    Credentials,
    EntityRef,
    Identity,
    LocationEvent,
    LocationNotFound,
    NotAuthenticated,
    NotAuthorized,
    PluginError,
    RateLimited,
    RealtimeError,
    Unavailable,
    View,
)
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.access.auth_backoff import AuthBackoff
from atriz_realtime.core.hub.views import Views
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.testing import FakeClock, payload

ME = Identity(user_id="u1")
VEHICLE = EntityRef("vehicle", "v1")
TOKEN = Credentials(token="a-secret-token")

Make = Callable[..., AccessControl]


async def test_keys_in_any_header_count_as_attempts(incidents: Incidents, clock: FakeClock) -> None:
    async def by_key(credentials: Credentials) -> Identity | None:
        key = credentials.headers.get("x-api-key")
        if key is None:
            return None
        if key != "right":
            raise AuthenticationRejected("a wrong key")
        return ME

    registered: Any = Registered([Authenticator("keys", by_key)], [], [])
    access = AccessControl(
        registered,
        PluginRunner(incidents, clock, limit=0.05),
        incidents,
        clock,
        backoff=AuthBackoff(clock, incidents.report, limit=2, window=60, max_backoff=60),
    )

    def caller(**headers: str) -> Credentials:
        return Credentials(headers=headers, address="192.0.2.1")

    for _ in range(3):
        with pytest.raises(AuthenticationRejected):
            await access.authenticate(caller(**{"x-api-key": "wrong"}))
    for key in ("wrong", "right"):  # which one it is does not show
        with pytest.raises(RateLimited):
            await access.authenticate(caller(**{"x-api-key": key}))
    with pytest.raises(NotAuthenticated):
        await access.authenticate(caller())
    clock.advance(1)
    assert await access.authenticate(caller(**{"x-api-key": "right"})) is not None


def with_good_and_bad_tokens(
    incidents: Incidents, clock: FakeClock, *, limit: int
) -> AccessControl:
    """Accepts the token ``good``; an address may offer so many others in a minute."""

    async def by_token(credentials: Credentials) -> Identity | None:
        if credentials.token != "good":
            raise AuthenticationRejected("a bad token")
        return ME

    registered: Any = Registered([Authenticator("tokens", by_token)], [], [])
    backoff = AuthBackoff(clock, incidents.report, limit=limit, window=60, max_backoff=60)
    runner = PluginRunner(incidents, clock, limit=0.05)
    return AccessControl(registered, runner, incidents, clock, backoff=backoff)


async def test_a_client_that_guesses_does_not_lock_out_a_device_behind_its_address(
    incidents: Incidents, clock: FakeClock
) -> None:
    """The device fixes its position once a second; the other tries again as soon as it may."""

    access = with_good_and_bad_tokens(incidents, clock, limit=100)
    guesses = 0

    async def guess() -> None:
        nonlocal guesses
        with pytest.raises((AuthenticationRejected, RateLimited)) as refusal:
            await access.authenticate(Credentials(token="bad", address="192.0.2.1"))
        guesses += refusal.type is AuthenticationRejected

    await guess()
    for _ in range(600):
        good = Credentials(token="good", address="192.0.2.1")
        assert (await access.authenticate(good)).user_id == "u1"
        for _ in range(200):
            await guess()
        clock.advance(1)
    assert guesses < 2_000  # of 120,001


@attrs.frozen
class Registered:
    """Stands in for the registry."""

    authenticators: list[Authenticator]
    authorizers: list[Authorizer]
    views: list[View]

    @staticmethod
    def owner(record: Any) -> str:
        return f"plugin-of-{record.name}"


@pytest.fixture
def make(incidents: Incidents, clock: FakeClock) -> Make:
    def make(*records: Any) -> AccessControl:
        registered: Any = Registered(
            [record for record in records if isinstance(record, Authenticator)],
            [record for record in records if isinstance(record, Authorizer)],
            [record for record in records if isinstance(record, View)],
        )
        runner = PluginRunner(incidents, clock, limit=0.05)
        views = Views(registered, runner, incidents) if registered.views else None
        return AccessControl(registered, runner, incidents, clock, views)

    return make


def answering(result: Any, asked: list[Any] | None = None) -> Any:
    """A coroutine function that returns something, or raises it."""

    async def answer(*arguments: Any) -> Any:
        if asked is not None:
            asked.append(arguments)
        if isinstance(result, BaseException):
            raise result
        return result

    return answer


# -- authentication ------------------------------------------------------------------------


async def test_the_first_authenticator_that_returns_an_identity_decides(make: Make) -> None:
    asked: list[Any] = []
    access = make(
        Authenticator("abstains", answering(None, asked)),
        Authenticator("knows", answering(ME, asked)),
        Authenticator("never asked", answering(Identity(user_id="other"), asked)),
    )
    identity = await access.authenticate(TOKEN)
    assert identity == attrs.evolve(ME, authenticator="knows")
    assert asked == [(TOKEN,)] * 2


async def test_an_identity_carries_the_name_of_its_authenticator(make: Make) -> None:
    pretender = Identity(user_id="u1", authenticator="another authenticator")
    identity = await make(Authenticator("knows", answering(pretender))).authenticate(TOKEN)
    assert identity.authenticator == "knows"


@pytest.mark.parametrize("authenticators", [0, 2])
async def test_nobody_is_authenticated_when_all_abstain(make: Make, authenticators: int) -> None:
    access = make(*(Authenticator(f"a{n}", answering(None)) for n in range(authenticators)))
    with pytest.raises(NotAuthenticated):
        await access.authenticate(TOKEN)


async def test_a_refusal_names_its_client(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    access = make(Authenticator("tokens", answering(AuthenticationRejected("it has expired"))))
    with pytest.raises(AuthenticationRejected):
        await access.authenticate(Credentials(token="x", address="203.0.113.7"))
    line = "refused credentials: authenticator 'tokens': it has expired; client 203.0.113.7"
    assert any(message.startswith(line) for message in caplog.messages)


async def test_a_refusal_is_final_and_its_reason_is_logged(
    make: Make, incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    access = make(
        Authenticator("tokens", answering(AuthenticationRejected("it has expired"))),
        Authenticator("knows", answering(ME)),
    )
    with pytest.raises(AuthenticationRejected) as refusal:
        await access.authenticate(TOKEN)
    assert "expired" not in refusal.value.message
    assert dict(incidents.counts) == {"refused credentials": 1}
    assert caplog.messages == ["refused credentials: authenticator 'tokens': it has expired"]
    assert "a-secret-token" not in caplog.text


async def test_an_authenticator_that_fails_refuses(
    make: Make, incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    access = make(
        Authenticator("tokens", answering(LookupError("stuck"))),
        Authenticator("knows", answering(ME)),
    )
    with pytest.raises(AuthenticationRejected):
        await access.authenticate(TOKEN)
    assert dict(incidents.counts) == {"plugin plugin-of-tokens failed": 1}


async def test_an_authenticator_whose_store_is_away_raises_unavailable(make: Make) -> None:
    access = make(
        Authenticator("tokens", answering(Unavailable("the key store is away"))),
        Authenticator("knows", answering(ME)),
    )
    with pytest.raises(Unavailable):
        await access.authenticate(TOKEN)


# -- authorization -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "allowed"),
    [
        ([], True),
        ([True], True),
        ([True, True], True),
        ([True, False], False),
        ([False, True], False),
        ([None], False),
        ([LookupError("a bug")], False),
        ([True, LookupError("a bug")], False),
    ],
    ids=repr,
)
async def test_any_refusal_wins_and_an_exception_refuses(
    make: Make, answers: list[Any], allowed: bool
) -> None:
    asked: list[Any] = []
    access = make(
        *(
            Authorizer(f"rule {number}", answering(answer, asked), answering(answer, asked))
            for number, answer in enumerate(answers)
        )
    )
    assert await access.may_track(ME, VEHICLE) is allowed
    assert await access.may_publish(ME, VEHICLE) is allowed
    assert all(arguments == (ME, VEHICLE) for arguments in asked)


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        (NotAuthorized("only crew"), 0),
        (RateLimited(retry_after=5), 0),
        (LocationNotFound("there is no such vehicle"), 0),
        (Unavailable("the rules are away"), 2),
    ],
    ids=repr,
)
async def test_an_error_that_an_authorizer_raises_is_its_answer(
    make: Make, incidents: Incidents, error: RealtimeError, failures: int
) -> None:
    rule = answering(error)
    access = make(Authorizer("first", rule, rule), Authorizer("second", answering(False)))
    for decide in (access.may_track, access.may_publish):
        with pytest.raises(RealtimeError) as raised:
            await decide(ME, VEHICLE)
        assert raised.value is error
    assert incidents.counts.get("plugin plugin-of-first failed", 0) == failures


@pytest.mark.parametrize("error", [NotAuthenticated(), AuthenticationRejected("who?")], ids=repr)
async def test_an_authorizer_refuses_no_token(make: Make, error: RealtimeError) -> None:
    """A client that is told so would authenticate again, and again."""
    access = make(Authorizer("first", answering(error)))
    with pytest.raises(NotAuthorized) as raised:
        await access.may_track(ME, VEHICLE)
    assert raised.value.message == error.message


async def test_an_authorizer_may_decide_about_one_action_or_none(make: Make) -> None:
    access = make(
        Authorizer("watching", may_track=answering(False)),
        Authorizer("publishing", may_publish=answering(True)),
        Authorizer("silent"),
    )
    assert not await access.may_track(ME, VEHICLE)
    assert await access.may_publish(ME, VEHICLE)


# -- revalidation --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "holds"),
    [(True, True), (False, False), (LookupError("a bug"), True), (Unavailable(), True)],
    ids=repr,
)
async def test_an_identity_holds_until_its_authenticator_says_otherwise(
    make: Make, answer: Any, holds: bool
) -> None:
    access = make(Authenticator("tokens", answering(ME), still_holds=answering(answer)))
    assert access.can_recheck
    identity = await access.authenticate(TOKEN)
    assert await access.still_holds(identity) is holds
    assert await access.still_holds(attrs.evolve(identity, authenticator="another"))


async def test_an_authenticator_that_cannot_be_asked_again_is_not(make: Make) -> None:
    access = make(Authenticator("tokens", answering(ME)))
    assert not access.can_recheck
    assert await access.still_holds(await access.authenticate(TOKEN))


async def test_a_single_entity_identity_is_accepted_only_if_narrow(
    make: Make,
) -> None:
    async def share_link(_: Credentials) -> Identity:
        return Identity(user_id="link", only=VEHICLE)

    async def refuse(*_: Any) -> bool:
        return False

    access = make(
        Authenticator("links", share_link), Authorizer("none", may_track=refuse, may_publish=refuse)
    )
    with pytest.raises(NotAuthorized):
        await access.authenticate(TOKEN)
    identity = await access.authenticate(TOKEN, narrow=True)
    assert await access.may_track(identity, VEHICLE)
    for entity in (EntityRef("vehicle", "v2"), EntityRef("delivery", "v1")):
        assert not await access.may_track(identity, entity)
    assert not await access.may_publish(identity, VEHICLE)
    assert not await make().may_publish(identity, VEHICLE)


async def test_a_view_of_an_entity_shows_many_locations(make: Make) -> None:
    async def applies(identity: Identity, _: EntityRef) -> bool:
        return identity.user_id != "whole"

    def coarse(event: LocationEvent) -> LocationEvent | None:
        if event.location.latitude < 0:
            return None
        return attrs.evolve(event, location=attrs.evolve(event.location, latitude=52))

    access = make(View("coarse", applies, coarse))
    north, south = (payload(latitude=latitude).location for latitude in (52.5, -1))
    view = await access.view_of(ME, VEHICLE)
    assert view is not None
    assert [view(north), view(south)] == [
        await access.shown(ME, VEHICLE, location) for location in (north, south)
    ]
    assert view(north) == payload(latitude=52).location
    assert view(south) is None
    assert await access.view_of(Identity(user_id="whole"), VEHICLE) is None
    with pytest.raises(AuthenticationRejected):
        await access.view_of(Identity(user_id="whole", expires_at=1), VEHICLE)


async def test_an_identity_sees_no_more_where_all_views_of_the_other_apply(
    make: Make,
) -> None:
    def view_for(*users: str) -> View:
        async def applies(identity: Identity, _: EntityRef) -> bool:
            if identity.user_id == "broken":
                raise RuntimeError
            return identity.user_id in users

        return View("-".join(users), applies, lambda event: event)

    access = make(view_for("coarse", "both"), view_for("anonymous", "both"))

    async def no_more(one: str, other: str) -> bool:
        return await access.sees_no_more(Identity(user_id=one), Identity(user_id=other), VEHICLE)

    for one, other in [("both", "coarse"), ("both", "u1"), ("coarse", "coarse"), ("u1", "u1")]:
        assert await no_more(one, other)
    for one, other in [("u1", "coarse"), ("coarse", "both"), ("coarse", "anonymous")]:
        assert not await no_more(one, other)
    assert not await no_more("u1", "broken")  # a view that fails may hide anything
    assert await make().sees_no_more(ME, Identity(user_id="broken"), VEHICLE)


# -- guards and attempts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guard", "problem"),
    [
        (answering(True), "must be a plain function: remove `async`"),
        (None, "must be a function that takes (Identity), not NoneType"),
        (lambda: True, "must take (Identity), not ()"),
    ],
)
def test_a_guard_that_cannot_be_called_is_refused(make: Make, guard: Any, problem: str) -> None:
    with pytest.raises(PluginError) as error:
        make().add_guard(guard)
    assert error.value.message == f"the function for permissions.guard {problem}"


async def test_a_guard_that_raises_refuses(
    make: Make, incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    class Guard:
        def holds(self, reason: str, _: Identity) -> bool:
            raise LookupError(reason)

    guard = functools.partial(Guard().holds, "a bug")

    access = make(Authenticator("tokens", answering(ME)))
    access.add_guard(guard)
    with pytest.raises(AuthenticationRejected):
        await access.authenticate(TOKEN)
    assert not access.is_accepted(ME)
    assert incidents.counts["guard failed"] == 2
    name = f"{__name__}.{Guard.holds.__qualname__}"
    assert f"guard failed: {name}: LookupError" in caplog.messages


async def test_good_tokens_of_an_address_make_up_for_bad_ones(
    incidents: Incidents, clock: FakeClock
) -> None:
    access = with_good_and_bad_tokens(incidents, clock, limit=2)
    for _ in range(10):
        with pytest.raises(AuthenticationRejected):
            await access.authenticate(Credentials(token="bad", address="192.0.2.1"))
        await access.authenticate(Credentials(token="good", address="192.0.2.1"))

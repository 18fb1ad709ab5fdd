"""Exponential backoff for addresses that fail to authenticate."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atriz_realtime.api import Credentials, RateLimited
from atriz_realtime.core.access import auth_backoff as module
from atriz_realtime.core.access.auth_backoff import MAX_ADDRESSES, AuthBackoff, network
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.testing import FakeClock

LIMIT = "limit core.access.auth_backoff.MAX_ADDRESSES reached"


def at(address: str, token: str | None = "a-token", **headers: str) -> Credentials:
    return Credentials(token=token, headers=headers, address=address)


def test_the_wait_doubles_up_to_its_maximum(clock: FakeClock, incidents: Incidents) -> None:
    backoff = AuthBackoff(clock, incidents.report, limit=2, window=10, max_backoff=8)
    assert [backoff.failed(at("a")) for _ in range(2)] == [False, False]
    waits = []
    for _ in range(5):
        while not backoff.failed(at("a")):
            pass
        with pytest.raises(RateLimited) as refused:
            backoff.check(at("a"))
        wait = refused.value.retry_after
        assert wait is not None
        waits.append(wait)
        backoff.check(at("b"))
        clock.advance(wait)
        backoff.check(at("a"))
    assert waits == [1, 2, 4, 8, 8]
    clock.advance(100)
    assert [backoff.failed(at("a")) for _ in range(3)] == [False, False, True]
    with pytest.raises(RateLimited) as refused:
        backoff.check(at("a"))
    assert refused.value.retry_after == 1


def test_a_success_cancels_a_failure(clock: FakeClock, incidents: Incidents) -> None:
    backoff = AuthBackoff(clock, incidents.report, limit=5, window=60, max_backoff=60)
    for _ in range(1_000):
        assert not backoff.failed(at("nat"))
        backoff.succeeded(at("nat"))


def refused(backoff: AuthBackoff, *callers: Credentials) -> list[bool]:
    """Whether each caller is refused before its credentials are looked at."""
    found = []
    for caller in callers:
        try:
            backoff.check(caller)
        except RateLimited:
            found.append(True)
        else:
            found.append(False)
    return found


@pytest.fixture
def backoff(clock: FakeClock, incidents: Incidents) -> AuthBackoff:
    """A backoff with one address that has failed once."""
    backoff = AuthBackoff(clock, incidents.report, limit=2, window=60, max_backoff=60)
    backoff.failed(at("nat", "a-guess"))
    return backoff


def test_credentials_that_were_accepted_are_looked_at_while_others_are_refused(
    backoff: AuthBackoff,
) -> None:
    """A device behind the address of a client that guesses is not locked out."""
    key = at("nat", None, **{"x-api-key": "a-key", "content-length": "99", "date": "today"})
    for good in (at("nat", "good"), key):
        backoff.succeeded(good)
    while not backoff.failed(at("nat", "a-guess")):
        pass
    same_key = at("nat", None, **{"x-api-key": "a-key", "content-length": "100"})
    assert refused(backoff, at("nat", "good"), key, same_key) == [False] * 3
    other_key = at("nat", None, **{"x-api-key": "another-key"})
    others = [at("nat", "a-guess"), at("nat", "new"), at("nat", None), other_key]
    assert refused(backoff, *others) == [True] * 4
    while not backoff.failed(at("elsewhere", "a-guess")):
        pass
    assert refused(backoff, at("elsewhere", "good")) == [True]  # it was never used from there


@pytest.mark.parametrize(
    "header",
    [
        "content-length",
        "via",
        "sec-websocket-key",
        "traceparent",
        "x-request-id",
        "x-correlation-id",
        "x-forwarded-for",
        "x-real-ip",
        "x-amzn-trace-id",
        "cf-ray",
        "x-cloud-trace-context",
        "x-b3-traceid",
        "x-datadog-trace-id",
    ],
)
def test_what_proxies_and_tracing_add_to_each_request_makes_no_other_key(
    backoff: AuthBackoff, header: str
) -> None:
    def call(number: int, key: str = "a-key") -> Credentials:
        return at("nat", None, **{"x-api-key": key, header: f"value-{number}"})

    for number in range(3):
        backoff.succeeded(call(number))
    assert len(backoff._headers) == 1
    while not backoff.failed(call(4, "a-guess")):
        pass
    assert refused(backoff, call(5), call(6, "a-guess")) == [False, True]


@pytest.mark.parametrize(
    "header", ["x-forwarded-client-cert", "x-forwarded-access-token", "cf-access-jwt-assertion"]
)
def test_what_a_proxy_says_about_who_calls_is_a_key(backoff: AuthBackoff, header: str) -> None:
    backoff.succeeded(at("nat", None, **{header: "mine"}))
    while not backoff.failed(at("nat", "a-guess")):
        pass
    callers = [at("nat", None, **{header: whose}) for whose in ("mine", "another's")]
    assert refused(backoff, *callers) == [False, True]


def test_credentials_that_are_refused_after_all_are_as_new(backoff: AuthBackoff) -> None:
    """A token that was accepted covers no guesses at a key that is sent with it."""
    backoff.succeeded(at("nat", "good"))
    while not backoff.failed(at("nat", "a-guess")):
        pass
    assert refused(backoff, at("nat", "good", **{"x-api-key": "a-guess"})) == [False]
    backoff.failed(at("nat", "good", **{"x-api-key": "a-guess"}))
    assert refused(backoff, at("nat", "good")) == [True]


def test_nothing_is_remembered_of_addresses_without_failures(
    clock: FakeClock, backoff: AuthBackoff
) -> None:
    backoff.succeeded(at("quiet", "good"))
    clock.advance(121)
    backoff.succeeded(at("nat", "good"))  # its failure is long ago
    backoff.succeeded(by_headers("a-key"))
    assert not backoff._tokens
    assert not backoff._headers
    assert not backoff._by_network


def by_token(name: str, address: str = "nat") -> Credentials:
    return at(address, name)


def by_headers(name: str, address: str = "nat") -> Credentials:
    return at(address, None, **{"x-api-key": name})


@pytest.mark.parametrize(
    ("limit", "call"), [("MAX_ACCEPTED_TOKENS", by_token), ("MAX_ACCEPTED_HEADERS", by_headers)]
)
def test_what_is_remembered_is_bounded(
    clock: FakeClock,
    incidents: Incidents,
    backoff: AuthBackoff,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    call: Callable[..., Credentials],
) -> None:
    monkeypatch.setattr(module, limit, 2)
    for good in ("first", "second", "first", "third"):
        backoff.succeeded(call(good))
    while not backoff.failed(at("nat", "a-guess")):
        pass
    callers = [call(good) for good in ("first", "second", "third")]
    assert refused(backoff, *callers) == [False, True, False]
    counted = {f"limit core.access.auth_backoff.{limit} reached": 1}
    assert incidents.counts == counted
    clock.advance(1_000)
    backoff.failed(at("other"))
    for good in ("fourth", "fifth"):  # what they replace is needed no more
        backoff.succeeded(call(good, "other"))
    assert incidents.counts == counted


def test_headers_that_differ_each_time_push_out_no_token(
    backoff: AuthBackoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy may add a header that this server does not know as its own."""
    monkeypatch.setattr(module, "MAX_ACCEPTED_TOKENS", 2)
    monkeypatch.setattr(module, "MAX_ACCEPTED_HEADERS", 2)
    backoff.succeeded(by_token("good"))
    for number in range(5):
        backoff.succeeded(at("nat", None, **{"x-api-key": "a-key", "x-unknown": str(number)}))
    while not backoff.failed(at("nat", "a-guess")):
        pass
    assert refused(backoff, by_token("good")) == [False]


def test_memory_is_bounded(clock: FakeClock, incidents: Incidents) -> None:
    backoff = AuthBackoff(clock, incidents.report, limit=1, window=60, max_backoff=60)
    for number in range(MAX_ADDRESSES + 500):
        backoff.failed(at(f"a{number}"))
    assert len(backoff._by_network) == MAX_ADDRESSES
    assert incidents.counts == {LIMIT: 500}


@pytest.mark.parametrize(("failures", "counts_for"), [(1, 30), (3, 121)])
def test_an_address_whose_failures_no_longer_count_makes_room(
    clock: FakeClock,
    incidents: Incidents,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    counts_for: int,
) -> None:
    """One failure expires; those that had the address refused make its next wait longer."""
    monkeypatch.setattr(module, "MAX_ADDRESSES", 1)
    backoff = AuthBackoff(clock, incidents.report, limit=2, window=60, max_backoff=60)
    for expected, elapsed in ((1, counts_for - 1), (0, counts_for + 1)):
        reported = sum(incidents.counts.values())
        for _ in range(failures):
            backoff.failed(at("a"))
        clock.advance(elapsed)
        backoff.failed(at("b"))
        clock.advance(1_000)
        assert sum(incidents.counts.values()) == reported + expected


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("a:b", "a:b"),
    ],
)
def test_an_ipv6_address_is_counted_by_its_network(address: str, counted: str) -> None:
    assert network(address) == counted

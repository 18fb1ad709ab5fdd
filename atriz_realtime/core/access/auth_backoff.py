"""Exponential backoff for addresses that fail to authenticate.

A successful authentication cancels one failure, so that an address which many clients share
is refused only while failures far outnumber successes.  A credential that was accepted is no guess:
those that an address with failures has used before are looked at while it is refused.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections import OrderedDict

import attrs

from atriz_realtime.api.contracts import Clock, Report, limit_reached
from atriz_realtime.api.errors import RateLimited
from atriz_realtime.api.model import Credentials

MAX_ADDRESSES = 10_000
"""Addresses with recorded failures; beyond, the one that failed longest ago is dropped."""

MAX_ACCEPTED_TOKENS = 100_000
"""Tokens that addresses with failures have used with success; beyond, the one that was used
longest ago is no longer looked at while its address is refused."""

MAX_ACCEPTED_HEADERS = 100_000
"""The same for headers without a token.  They have room of their own, because a client whose
headers differ each time would fill that of the tokens."""

FIRST_BACKOFF = 1.0
"""Seconds that an address is refused for at first; doubled with each further failure."""

PER_REQUEST = frozenset(
    (
        # HTTP: RFC 9110, RFC 6455 (websockets), RFC 7239, RFC 8586
        *("content-length", "date", "max-forwards", "via"),
        *("sec-websocket-key", "forwarded", "cdn-loop"),
        # Proxies by custom.  Not all of x-forwarded-*: -client-cert and -access-token are keys.
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"),
        *("x-forwarded-proto", "x-forwarded-server", "x-real-ip", "true-client-ip"),
        *("x-correlation-id", "x-request-id", "x-request-start"),
        # Tracing: W3C Trace Context and Baggage, Zipkin B3, Datadog, Jaeger, Sentry
        *("traceparent", "tracestate", "baggage"),
        *("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"),
        *("x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority"),
        *("x-datadog-origin", "x-datadog-tags", "uber-trace-id", "sentry-trace"),
        # AWS: Application Load Balancer, CloudFront
        *("x-amzn-trace-id", "x-amz-cf-id", "cloudfront-viewer-address"),
        # Cloudflare
        *("cf-ray", "cf-connecting-ip", "cf-connecting-ipv6", "cf-pseudo-ipv4"),
        *("cf-ipcountry", "cf-visitor", "cf-ew-via"),
        # Google Cloud; Azure: Front Door, Application Gateway
        *("x-cloud-trace-context", "x-azure-ref", "x-azure-clientip", "x-azure-socketip"),
        *("x-appgw-trace-id",),
        # Envoy
        *("x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms", "x-envoy-external-address"),
    )
)
"""Headers that may differ from one request of a client to the next, and hold no key."""


@attrs.define(eq=False)
class _Failures:
    """The failures of one address."""

    last: float
    """When it failed last, in seconds of the monotonic clock."""
    count: float = 0.0
    """How many failures are left after time and successes have cancelled some."""
    backoff: float = 0.0
    """Seconds that it was last refused for."""
    refused_until: float = 0.0


class AuthBackoff:
    """Counts failures by address, in bounded memory.

    :param limit: failures that an address may have within the window; 0: no limit.
    :param window: seconds in which ``limit`` failures expire.
    :param max_backoff: seconds that an address is refused for at most.
    """

    def __init__(
        self, clock: Clock, report: Report, limit: int, window: float, max_backoff: float
    ) -> None:
        self._clock = clock
        self._report = report
        self._limit = limit
        self._window = window
        self._max_backoff = max_backoff
        self._by_network: OrderedDict[str, _Failures] = OrderedDict()
        self._tokens: OrderedDict[bytes, str] = OrderedDict()  # networks by digest
        self._headers: OrderedDict[bytes, str] = OrderedDict()

    def check(self, credentials: Credentials) -> None:
        """Check that a caller may try to authenticate now.

        :raises RateLimited: while its address is refused, unless what it offers was accepted there.
        """
        if not self._by_network or not credentials.address:
            return
        key = network(credentials.address)
        failures = self._by_network.get(key)
        wait = 0.0 if failures is None else failures.refused_until - self._clock.monotonic()
        if wait > 0 and digest(key, credentials) not in self._accepted(credentials):
            raise RateLimited("Too many failed authentications", retry_after=math.ceil(wait))

    def failed(self, credentials: Credentials) -> bool:
        """Count a failure; returns whether the address is refused from now on."""
        if not self._limit or not credentials.address:
            return False
        key, now = network(credentials.address), self._clock.monotonic()
        accepted = self._accepted(credentials)
        if accepted:  # a known token does not cover guesses at another key
            accepted.pop(digest(key, credentials), None)
        failures = self._by_network.get(key)
        if failures is None or self._is_over(failures, now):
            failures = self._by_network[key] = _Failures(now)
            if len(self._by_network) > MAX_ADDRESSES:
                self._drop_oldest(now)
        failures.count = self._left(failures, now) + 1
        failures.last = now
        self._by_network.move_to_end(key)
        if failures.count <= self._limit:
            return False
        failures.backoff = min(self._max_backoff, failures.backoff * 2 or FIRST_BACKOFF)
        failures.refused_until = now + failures.backoff
        return True

    def _left(self, failures: _Failures, now: float) -> float:
        """How many failures time has left."""
        expired = (now - failures.last) * self._limit / self._window
        return max(0.0, failures.count - expired)

    def _is_over(self, failures: _Failures, now: float) -> bool:
        """Whether the address was quiet for so long that it begins anew."""
        quiet_since = max(failures.last, failures.refused_until)
        return now > quiet_since + self._window + self._max_backoff

    def _drop_oldest(self, now: float) -> None:
        _, dropped = self._by_network.popitem(last=False)
        counts = dropped.backoff or self._left(dropped, now)
        if counts and not self._is_over(dropped, now):
            message = f"more than {MAX_ADDRESSES} addresses fail: one begins anew"
            limit_reached(self._report, f"{__name__}.MAX_ADDRESSES", message)

    def succeeded(self, credentials: Credentials) -> None:
        """Cancel one failure of an address that has some, and remember what was accepted."""
        if not self._by_network or not credentials.address:
            return
        key = network(credentials.address)
        failures = self._by_network.get(key)
        if failures is None:
            return
        now = self._clock.monotonic()
        if self._is_over(failures, now):
            del self._by_network[key]
            return
        failures.count = max(0.0, failures.count - 1)
        accepted, found = self._accepted(credentials), digest(key, credentials)
        accepted[found] = key
        accepted.move_to_end(found)
        if len(self._tokens) > MAX_ACCEPTED_TOKENS and self._forget_oldest(self._tokens, now):
            message = f"more than {MAX_ACCEPTED_TOKENS} accepted tokens: one is as new"
            limit_reached(self._report, f"{__name__}.MAX_ACCEPTED_TOKENS", message)
        if len(self._headers) > MAX_ACCEPTED_HEADERS and self._forget_oldest(self._headers, now):
            message = f"more than {MAX_ACCEPTED_HEADERS} accepted keys in headers: one is as new"
            limit_reached(self._report, f"{__name__}.MAX_ACCEPTED_HEADERS", message)

    def _accepted(self, credentials: Credentials) -> OrderedDict[bytes, str]:
        """What was accepted of the kind that a caller offers."""
        return self._headers if credentials.token is None else self._tokens

    def _forget_oldest(self, accepted: OrderedDict[bytes, str], now: float) -> bool:
        """Drop what was used longest ago; returns whether its address may still be refused."""
        _, key = accepted.popitem(last=False)
        failures = self._by_network.get(key)
        return failures is not None and not self._is_over(failures, now)


def digest(key: str, credentials: Credentials) -> bytes:
    """What stands for the credentials of a caller.

    It is made of the token, or without one of all that may hold a key.

    :param key: the :func:`network` of its address.
    """
    offered = credentials.token
    if offered is None:
        headers = credentials.headers.items()
        named = sorted(header for header in headers if header[0] not in PER_REQUEST)
        offered = repr((named, credentials.auth))
    text = f"{key}\0{offered}".encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def network(address: str) -> str:
    """The key that an address is counted by: for IPv6 its /64, which one client can own."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))

"""``atriz-realtime bench``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import click

from atriz_realtime.api.durations import parse_duration
from atriz_realtime.api.errors import InvalidRequest
from atriz_realtime.cli.client.connection import Target, run_interruptibly, target_argument
from atriz_realtime.cli.client.load import PREFIX, Load, LoadRun
from atriz_realtime.cli.client.measurement import DECIDED_BY, Measurement, percentile
from atriz_realtime.cli.options import json_option, type_option
from atriz_realtime.cli.output import print_json, warn

MAX_SECONDS = 600
"""The longest run."""

MAX_DELIVERIES = 5_000
"""Most deliveries per second; with more, this process could become slower than the server."""

BUSY = 0.7
"""The part of a core from which on this process may itself cause the latencies."""

PERCENTILES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9}

STEPS = {"connect": "connecting", "track": "tracking", "publish": "publishing"}


def read_seconds(_: click.Context, __: click.Parameter, value: str) -> int:
    """Parse the duration of a run."""
    try:
        seconds = parse_duration(value)
    except InvalidRequest as error:
        raise click.BadParameter(error.message) from None
    if not 1 <= seconds <= MAX_SECONDS:
        raise click.BadParameter(f"{value!r} is not between 1s and {MAX_SECONDS // 60}m")
    return seconds


@click.command(
    short_help="Put a bounded load on a server, and measure it.",
    epilog="\b\nExample:\n"
    "  atriz-realtime bench http://127.0.0.1:3001 --watchers 100 --publishers 100 --rate 50",
)
@type_option
@click.option(
    "--watchers",
    metavar="N",
    type=click.IntRange(1, 500),
    default=20,
    show_default=True,
    help="Clients that track entities.",
)
@click.option(
    "--publishers",
    metavar="N",
    type=click.IntRange(1, 200),
    default=20,
    show_default=True,
    help="Devices; each publishes an entity of its own.",
)
@click.option(
    "--tracks",
    metavar="N",
    type=click.IntRange(1, 200),
    default=5,
    show_default=True,
    help="Entities that each watcher tracks, if there are so many.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 1_000),
    default=10.0,
    show_default=True,
    help="Fixes per second, of all devices together.",
)
@click.option(
    "--duration",
    "seconds",
    default="10s",
    show_default=True,
    callback=read_seconds,
    help="How long to publish, such as 30s or 5m; 1s to 10m.",
)
@json_option
@target_argument
def bench(
    target: Target,
    kind: str,
    watchers: int,
    publishers: int,
    tracks: int,
    rate: float,
    seconds: int,
    as_json: bool,
) -> None:
    """Put a bounded load on the server at URL, and measure how it does.

    Watchers connect and track entities, devices publish fixes at a fixed rate.  The entities
    are the command's own: their ids begin with "bench-", and they disappear after cache_ttl.  Until
    then whoever lists entities sees them, and observers get their fixes like all others.  They stay
    in listings of last known locations for last_known_ttl.

    A load may cause 5,000 deliveries a second at most: rate x watchers x tracks / publishers.
    Ctrl-C ends the run and prints what was measured.  The exit status is 1 when a delivery was
    lost, the server refused something, or a watcher was disconnected.
    """
    load = Load(
        kind=kind,
        watchers=watchers,
        publishers=publishers,
        tracks=min(tracks, publishers),
        rate=rate,
        seconds=seconds,
    )
    if load.deliveries > MAX_DELIVERIES:
        raise click.UsageError(
            f"that is a load of {load.deliveries:,.0f} deliveries a second, more than "
            f"{MAX_DELIVERIES:,}: lower --rate, --watchers or --tracks, or use more --publishers"
        )
    measured = Measurement()
    one_token = target.token()
    run = LoadRun(attrs.evolve(target, token=lambda: one_token), load, measured)
    click.echo(
        f"publishing {kind} {load.ids[0]} to {PREFIX}…-{publishers} on {target.url} for "
        f"{seconds} s; they disappear after cache_ttl, and from last known locations after "
        "last_known_ttl",
        err=True,
    )
    done = run_interruptibly(run.run())
    if as_json:
        print_json(as_record(target.url, measured) | {"interrupted": not done})
    else:
        for title, text in lines(measured):
            click.echo(f"{title:<11} {text}")
    for text in remarks(measured, rate):
        warn(text)
    if not done:
        raise KeyboardInterrupt
    if not measured.flawless:
        raise click.exceptions.Exit(1)


def as_record(url: str, measured: Measurement) -> dict[str, Any]:
    """The figures for ``--json``: seconds, latencies in milliseconds, CPU as a part of a core."""
    arrived = measured.all_latencies()
    return {
        "url": url,
        "seconds": round(measured.seconds, 3),
        "connects": {
            "asked": measured.asked,
            "connected": measured.connected,
            "perSecond": _rounded(measured.connected, measured.connecting),
            "disconnected": measured.disconnected,
        },
        "fixes": {
            "planned": measured.planned,
            "sent": measured.sent,
            "published": measured.published,
            "throttled": measured.throttled,
            "perSecond": _rounded(measured.sent, measured.seconds),
        },
        "deliveries": {
            "expected": measured.expected,
            "arrived": len(arrived),
            "lost": measured.missing,
            "perSecond": _rounded(len(arrived), measured.seconds),
        },
        "latency": {
            name: None if value is None else round(value * 1_000, 3)
            for name, value in _latencies(arrived)
        },
        "refusals": measured.by_code(),
        "cpu": _rounded(measured.cpu, measured.seconds),
    }


def _latencies(arrived: list[float]) -> Iterator[tuple[str, float | None]]:
    for name, percent in PERCENTILES.items():
        yield name, percentile(arrived, percent)


def _rounded(amount: float, seconds: float) -> float:
    return round(amount / seconds, 3) if seconds else 0.0


def lines(measured: Measurement) -> Iterator[tuple[str, str]]:
    """The figures for people: titles and texts."""
    rate = _rounded(measured.connected, measured.connecting)
    yield "connects", f"{measured.connected:,} of {measured.asked:,} ({rate:,.0f}/s)"
    rate = _rounded(measured.sent, measured.seconds)
    yield (
        "fixes",
        f"{measured.sent:,} in {measured.seconds:.1f} s ({rate:,.1f}/s): "
        f"{measured.published:,} published, {measured.throttled:,} throttled",
    )
    arrived = measured.all_latencies()
    rate = _rounded(len(arrived), measured.seconds)
    yield (
        "deliveries",
        f"{len(arrived):,} of {measured.expected:,} ({rate:,.1f}/s), {measured.missing:,} lost",
    )
    if arrived:
        shown = (f"{name} {value * 1_000:.2f} ms" for name, value in _latencies(arrived) if value)
        yield "latency", ", ".join(shown)
    refused = [f"{code} {count:,}" for code, count in measured.by_code().items()]
    yield "refusals", ", ".join(refused) or "none"


def remarks(measured: Measurement, rate: float) -> Iterator[str]:
    """What held the load back or failed, with the setting of the server that decides."""
    if measured.throttled:
        yield (
            f"{measured.throttled:,} fixes were throttled, so watchers were not sent them at once: "
            "throttle_interval, or the throttle of the entity type, decides how often one entity's "
            "fixes are sent; use more --publishers or a lower --rate"
        )
    for (step, code), count in measured.refusals.items():
        setting = DECIDED_BY.get((step, code))
        decides = f": {setting} decides" if setting else ""
        yield f"{count:,} times {code} while {STEPS[step]}{decides}"
    if measured.disconnected:
        early = ", and the run ended early" if measured.deserted else ""
        yield (
            f"{measured.disconnected:,} watchers were disconnected{early}; the server's log may "
            "say why"
        )
    if measured.missing:
        yield (
            f"{measured.missing:,} deliveries were lost: the server or this machine was too slow "
            "(a client that lags is sent only the newest fix of each entity), a watcher was "
            "disconnected, or a filter of a plugin dropped the fixes"
        )
    if unsent := measured.planned - measured.sent:
        yield f"{unsent:,} fixes were not sent: answers came too slowly for {rate:g} fixes a second"
    if measured.cpu > BUSY * measured.seconds > 0:
        yield (
            f"this command used {measured.cpu / measured.seconds:.0%} of a core: it may be slower "
            "than the server, and the latencies its own; use a smaller load"
        )

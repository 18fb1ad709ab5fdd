"""What ``atriz-realtime check`` finds wrong with a configuration and with what it depends on."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs
import click
from redis.exceptions import NoPermissionError, RedisError

from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.cli.addresses import bind
from atriz_realtime.cli.logs import redact
from atriz_realtime.cli.redis_rights import missing_rights
from atriz_realtime.core.runtime import open_files
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.redis_link import make_link
from atriz_realtime.server import RealtimeServer

ANSWER_LIMIT = 3.0
"""Seconds that Redis has to answer ``check``."""

MAX_CLOCK_DIFFERENCE = 1.0
"""Seconds that this machine's clock may differ from that of Redis before ``check`` warns.  Tokens
and links expire by it, and servers order the fixes of an entity by their timestamps."""

FEW_OPEN_FILES = 4_096
"""Open files below which ``check`` warns; it is the limit that Linux sets for a process."""

PUBLISHED_SECRETS: Final = frozenset(
    {
        "a-secret-of-more-than-thirty-two-bytes",
        "at-least-thirty-two-bytes-of-random-text",
        "another secret of more than thirty-two bytes",
        "the-new-secret-of-thirty-two-bytes",
        "the-old-secret-of-thirty-two-bytes",
        "your-secret-key",
    }
)
"""Secrets that the documentation prints: long enough, but anybody can sign tokens with them."""


@attrs.define
class Verdict:
    """What is wrong, each in one sentence."""

    problems: list[str] = attrs.field(factory=list)
    """What keeps a server from its work."""
    warnings: list[str] = attrs.field(factory=list)
    """What works, but should not stay so; or works once another process has ended."""

    def is_ok(self, *, strict: bool) -> bool:
        """Whether nothing is wrong; not strictly: nothing that keeps a server from its work."""
        return not self.problems and not (strict and self.warnings)

    def lines(self) -> Iterator[str]:
        """The verdict as text."""
        for kind, findings in (("problem", self.problems), ("warning", self.warnings)):
            for finding in findings:
                yield f"{kind}: {finding}"
        if not self.problems:
            yield "ok" if not self.warnings else "ok, with warnings"

    def ask_configuration(self, config: RealtimeConfig, environment: Mapping[str, str]) -> None:
        """Check what needs nothing but the configuration."""
        if config.jwt_secret in PUBLISHED_SECRETS:
            self.warnings.append(
                "the JWT secret is printed in the documentation, so anybody can sign tokens with it"
            )
        workers = environment.get("WEB_CONCURRENCY", "")
        if config.redis_url is None and workers.isdigit() and int(workers) > 1:
            self.problems.append(
                f"WEB_CONCURRENCY={workers} makes uvicorn start {workers} workers, and without "
                "REDIS_URL each knows only its own clients; set REDIS_URL, or run "
                "`atriz-realtime serve --workers`"
            )

    def ask_policies(self, server: RealtimeServer) -> None:
        """Check whether every throttling policy takes the interval that is set for it."""
        for name, settings in server.config.entities.items():
            kind = server.registry.kinds[name]
            if settings.throttle_interval is not None and "interval" not in kind.throttle_options:
                self.warnings.append(
                    f"[realtime.entities.{name}]: throttle_interval has no effect, because the "
                    f"policy {kind.throttle!r} has no option `interval`"
                )

    def ask_system(self) -> None:
        """Check how many files a server could have open, and so how many clients."""
        most = open_files.most()
        if 0 < most < FEW_OPEN_FILES:
            self.warnings.append(
                f"the limit on open files is {most}, and each connection is one; raise it "
                "(LimitNOFILE of systemd, ulimit -n)"
            )

    def try_port(self, config: RealtimeConfig) -> None:
        """Check whether a server could listen on its port."""
        try:
            sockets = bind(config.host, config.port)
        except click.ClickException as error:
            self.warnings.append(
                f"{error.format_message()}; if it is this server that runs there, `check --running`"
            )
        else:
            for each in sockets:
                each.close()

    async def ask_redis(self, url: str) -> None:
        """Check whether Redis answers, and what time it has."""
        link = make_link(url, lambda *_, **__: None)
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                await link.client.ping()
                asked = time.time()
                answer: Any = await link.client.time()
                took = time.time() - asked
        except NoPermissionError as error:  # nothing that a server does needs TIME
            if "'time'" in str(error):  # on a cluster, redis-py needs COMMAND before
                self.warnings.append(
                    "the clock of Redis cannot be compared with this machine's: "
                    "its user needs +time"
                )
            return
        except TimeoutError:
            self.problems.append(f"Redis does not answer within {ANSWER_LIMIT:g} s")
            return
        except Exception as error:  # redis-py raises its own, those of the system and of TLS
            reason = str(error) or type(error).__name__
            self.problems.append(redact(f"Redis does not answer: {reason}"))
            return
        finally:
            await link.client.aclose()
        for seconds, microseconds in answer.values() if isinstance(answer, dict) else [answer]:
            difference = seconds + microseconds / 1e6 - asked
            if not -MAX_CLOCK_DIFFERENCE < difference < took + MAX_CLOCK_DIFFERENCE:
                self.warnings.append(
                    f"the clock of Redis differs by {difference:+.1f} s from this machine's; "
                    "synchronise both"
                )
                break

    async def ask_rights(self, server: RealtimeServer, url: str) -> None:
        """Check whether Redis lets a server do what it does there."""
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                missing = await missing_rights(server, url)
        except TimeoutError:
            self.problems.append(f"Redis does not answer within {ANSWER_LIMIT:g} s")
        except (RealtimeError, RedisError) as error:
            self.problems.append(redact(f"Redis refuses what a server does there: {error}"))
        else:
            if missing:
                self.problems.append(
                    "the user of redis_url lacks rights that the servers need: " + " ".join(missing)
                )


@contextmanager
def warnings_collected() -> Iterator[Sequence[str]]:
    """Collect what the package and its plugins log as a warning or worse, instead of logging it."""
    collected: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            collected.append(redact(record.getMessage()))

    logger, collector = logging.getLogger("atriz_realtime"), Collector(logging.WARNING)
    before = logger.propagate
    logger.addHandler(collector)
    logger.propagate = False
    try:
        yield collected
    finally:
        logger.propagate = before
        logger.removeHandler(collector)


def verdict(
    server: RealtimeServer, warned: Sequence[str], *, offline: bool, running: bool
) -> Verdict:
    """Find what is wrong with the configuration of a server, which has not been started.

    :param warned: what plugins said when they were configured.
    :param offline: do not ask Redis.
    :param running: do not try the port, which the server has already.
    """
    config, found = server.config, Verdict()
    weak = {each.weakness for each in server.registry.authenticators if each.weakness is not None}
    found.problems += [each for each in warned if each not in weak]
    if not config.allow_weak_secret:
        found.warnings += sorted(weak)
    found.ask_configuration(config, os.environ)
    found.ask_policies(server)
    found.ask_system()
    if not running:
        found.try_port(config)
    if not offline and config.redis_url is not None:
        before = len(found.problems)
        asyncio.run(found.ask_redis(config.redis_url))
        if len(found.problems) == before:
            asyncio.run(found.ask_rights(server, config.redis_url))
    return found

"""What ``atriz-realtime check`` finds wrong with a configuration and with what it depends on."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import attrs
import click
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import NoPermissionError

from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.api.records import Check
from atriz_realtime.cli.addresses import bind
from atriz_realtime.cli.logs import redact
from atriz_realtime.core.runtime import cancellation, open_files
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.plugin_system.discovery import DEFAULT_PLUGINS
from atriz_realtime.plugin_system.failures import named
from atriz_realtime.plugin_system.published_secrets import PUBLISHED_SECRETS
from atriz_realtime.plugin_system.registry import Registry
from atriz_realtime.redis_link import Link, make_link
from atriz_realtime.redis_link.single import SingleLink
from atriz_realtime.server import RealtimeServer

ANSWER_LIMIT = 3.0
"""Seconds that Redis has to answer ``check``."""

MAX_CLOCK_DIFFERENCE = 1.0
"""Seconds that this machine's clock may differ from that of Redis before ``check`` warns.  Tokens
and links expire by it, and servers order the fixes of an entity by their timestamps."""

FEW_OPEN_FILES = 4_096
"""Open files below which ``check`` warns; it is the limit that Linux sets for a process."""


@attrs.define
class Verdict:
    """What is wrong, each in one sentence."""

    problems: list[str] = attrs.field(factory=list)
    """What keeps a server from its work."""
    warnings: list[str] = attrs.field(factory=list)
    """What works, but should not stay so; or works once another process has ended."""
    _is_refused: bool = attrs.field(default=False, init=False)
    """Whether Redis answers, but refuses what a server does there."""

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
            self._is_refused = True
            return
        except TimeoutError:
            primary = _of_primary(link)
            self.problems.append(f"Redis does not answer within {ANSWER_LIMIT:g} s{primary}")
            return
        except MasterNotFoundError:  # whose text holds redis-py's objects
            self.problems.append(redact(f"Redis does not answer: {await _unnamed(link)}"))
            return
        except Exception as error:  # redis-py raises its own, those of the system and of TLS
            reason = str(error) or type(error).__name__
            self.problems.append(redact(f"Redis does not answer: {reason}{_of_primary(link)}"))
            return
        finally:
            await link.disconnect()
        for seconds, microseconds in answer.values() if isinstance(answer, dict) else [answer]:
            difference = seconds + microseconds / 1e6 - asked
            if not -MAX_CLOCK_DIFFERENCE < difference < took + MAX_CLOCK_DIFFERENCE:
                self.warnings.append(
                    f"the clock of Redis differs by {difference:+.1f} s from this machine's; "
                    "synchronise both"
                )
                break

    async def ask_plugins(self, server: RealtimeServer, lacking: Collection[str]) -> None:
        """Run the checks of the plugins, all at the same time.

        :param lacking: those that need one of these are left out.
        """
        async with AsyncExitStack() as stack:
            link = server.link
            if link is not None and "redis" not in lacking:
                await link.start(lambda: None)
                stack.push_async_callback(link.aclose)
                status = link.status()
                if status.state == "disconnected":
                    does = "refuses its user" if self._is_refused else "does not answer"
                    self.problems.append(redact(f"Redis {does}: {status.detail}"))
                    lacking = {*lacking, "redis"}
            registry = server.registry
            checks = [each for each in registry.checks if each.needs not in lacking]
            found = await asyncio.gather(*(_found(registry, each) for each in checks))
            for check, problems in zip(checks, found, strict=True):
                primary = _of_primary(link) if check.needs == "redis" else ""
                named = [f"{problem}{primary}" for problem in problems]
                self.problems = list(dict.fromkeys([*self.problems, *named]))


async def _found(registry: Registry, check: Check) -> list[str]:
    """What a check finds, or why it fails."""
    limit = asyncio.timeout(check.timeout)
    try:
        async with limit:
            found = await check.run()
        problems = [found] if isinstance(found, str) else list(found or ())
        owner = registry.owner(check)
        if owner not in DEFAULT_PLUGINS:  # whose sentences name what they are about
            problems = [named(owner, str(each)) for each in problems]
    except (Exception, SystemExit, asyncio.CancelledError) as error:  # a plugin may raise anything
        if cancellation.is_own(error):
            raise
        reason = f"{type(error).__name__}: {error}" if str(error) else repr(error)
        if isinstance(error, RealtimeError):
            reason = error.message
        elif isinstance(error, TimeoutError) and limit.expired():
            reason = f"no result within {check.timeout:g} s"
        problems = [f"{registry.where(check)}: {reason}"]
    return [redact(" ".join(str(each).split())) for each in problems]


def _of_primary(link: Link | None) -> str:
    """Which Redis that was, if Sentinels name it."""
    primary = link.primary if isinstance(link, SingleLink) else ""
    return f" (the primary is {primary})" if primary else ""


async def _unnamed(link: Link) -> str:
    """Why no Sentinel names a primary."""
    try:
        stream = await link.connect(lambda _: None)
    except Exception as error:
        return str(error)
    await stream.aclose()
    return "the Sentinels did not name the primary at first"


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
    :param offline: use no network.
    :param running: do not try the port, which the server has already.
    """
    config, found = server.config, Verdict()
    weak = {each.weakness for each in server.registry.authenticators if each.weakness is not None}
    found.problems += [each for each in warned if each not in weak]
    if not config.allow_weak_secret:
        found.warnings += sorted(weak)
    if not server.registry.authenticators:
        found.warnings.append(
            "no authenticator is active, so every caller that needs a token is refused with 401; "
            "is jwt_auth in disabled_plugins?"
        )
    found.ask_configuration(config, os.environ)
    found.ask_policies(server)
    found.ask_system()
    if not running:
        found.try_port(config)
    asyncio.run(_ask(found, server, offline=offline))
    return found


async def _ask(found: Verdict, server: RealtimeServer, *, offline: bool) -> None:
    """Ask Redis, then the plugins."""
    url = server.config.redis_url
    lacking: set[str] = set()
    if offline:
        lacking = {"redis", "network"}
    elif url is None:
        lacking = {"redis"}
    else:
        before = len(found.problems)
        await found.ask_redis(url)
        if len(found.problems) > before:
            lacking = {"redis"}
    await found.ask_plugins(server, lacking)

"""Failures that the server survives, and refusals: counted, and logged once per burst.

A host that configures no logging shows only warnings.  Refusals are an everyday matter, but the
first one of each reason usually means that something is set up wrongly; it is a warning.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from redis.exceptions import RedisError

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import RealtimeError, Unavailable
from atriz_realtime.engine.request.errors import by

logger = logging.getLogger("atriz_realtime")

QUIET_SECONDS = 60.0
"""After an incident is logged, others of its kind and cause are only counted for this many
seconds."""

MAX_LINE = 500
"""Characters of a message that are logged: part of it may come from a client."""

MAX_KINDS = 1_000
"""Kinds that are counted separately; any further kind is counted as ``other``."""

MAX_CODES = 100
"""Error codes that are counted separately; any further code is counted as ``other``."""

MAX_REASONS = 20
"""Reasons or causes of one kind that are told apart; any further one counts as ``other``."""

MAX_REASON = 100
"""Characters by which two reasons or causes are told apart."""

SHOWN_REASONS = 5
"""Reasons that a line lists of the refusals that were not logged: the most frequent ones."""

PLUGIN_PROBLEM = "plugin {plugin} {problem}"
"""A plugin did something that its caller had to be protected from."""

REFUSED = "refused {code}"
"""A client was refused something, with an error code."""

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""


class Refusals:
    """Counts how often clients are refused, over HTTP and sockets, by error code."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, code: str) -> None:
        """Count one refusal."""
        if code not in self._counts and len(self._counts) >= MAX_CODES:
            code = "other"  # plugins define codes of their own
        self._counts[code] += 1

    def statistics(self) -> dict[str, float]:
        """How often each code was given."""
        return dict(self._counts)


class Incidents:
    """Counts incidents by kind and labels, and logs the first of each burst.

    A kind is a name out of a small set.  With labels it is a template, and their values fill
    it in wherever people read it; without labels it is used as it is, braces included.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.refusals = Refusals()
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._logged_at: dict[tuple[tuple[str, Labels], str], float] = {}
        self._suppressed: Counter[tuple[tuple[str, Labels], str]] = Counter()
        self._reasons: dict[tuple[str, Labels], set[str]] = {}
        self._unlogged: dict[tuple[str, Labels], Counter[str]] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each kind has happened since the start, with its labels filled in."""
        counts: Counter[str] = Counter()
        for (kind, labels), count in self._counts.items():
            counts[_filled_in(kind, labels)] += count
        return MappingProxyType(counts)

    def labelled_counts(self) -> list[tuple[str, dict[str, str], int]]:
        """How often each kind has happened since the start, apart from its labels."""
        return [(kind, dict(labels), count) for (kind, labels), count in self._counts.items()]

    def report(
        self,
        kind: str,
        message: str,
        *,
        level: int = logging.WARNING,
        labels: Mapping[str, str] | None = None,
        reason: str | None = None,
        cause: str = "",
        error: BaseException | None = None,
    ) -> None:
        """Count an incident, and log it unless the same was logged recently.

        :param message: what happened, without secrets; control characters are escaped.
        :param labels: values for the placeholders of ``kind``.
        :param reason: of a refusal.  The first one for each reason is logged as a warning, which
            every server shows, and the others as information.
        :param cause: of a failure.  The same failure for another cause is no repetition.
        :param error: an exception that nobody expected; each line that is logged has its traceback.
        """
        key: tuple[str, Labels] = (kind, tuple(sorted(labels.items())) if labels else ())
        if key not in self._counts and len(self._counts) >= MAX_KINDS:
            kind = "other"
            key = (kind, ())
        self._counts[key] += 1
        suffix = ""
        is_first = False
        if reason is not None:
            reason, is_first = self._known_reason(key, reason)
            level = logging.WARNING if is_first else logging.INFO
        if cause:
            cause, _ = self._known_reason(key, cause)
        now = self._clock.monotonic()
        since = self._logged_at.get((key, cause), -QUIET_SECONDS)
        if now - since < QUIET_SECONDS and not is_first:
            self._suppressed[key, cause] += 1
            if reason:
                self._unlogged.setdefault(key, Counter())[reason] += 1
            return
        suppressed = self._suppressed.pop((key, cause), 0)
        self._logged_at[key, cause] = now
        if suppressed:
            reasons = _summary(self._unlogged.pop(key, Counter()))
            suffix = f" ({suppressed} more since the last such line{reasons})"
        if is_first and not logger.isEnabledFor(logging.INFO):
            suffix += f"; later ones are INFO lines of the logger {logger.name!r}"
        name = _filled_in(*key)
        logger.log(
            level,
            "%s: %s%s",
            name,
            _one_line(message),
            suffix,
            exc_info=error,
            extra={"incident": name, "count": self._counts[key]},
        )

    def _known_reason(self, key: tuple[str, Labels], reason: str) -> tuple[str, bool]:
        """The reason or cause as it is counted, and whether it is new."""
        known = self._reasons.setdefault(key, set())
        reason = reason[:MAX_REASON]
        if reason not in known and len(known) >= MAX_REASONS:
            reason = "other"
        is_first = reason not in known
        known.add(reason)
        return reason, is_first

    def plugin_problem(
        self,
        plugin: str,
        problem: Literal["failed", "timed out", "blocked the loop", "too slow"],
        what: str,
        how: str = "",
        error: BaseException | None = None,
    ) -> None:
        """Report what a plugin did wrong; each thing that it is asked for is logged by itself.

        :param what: what the plugin was asked for.
        :param how: how that ended, unless ``error`` tells it.
        :param error: what the plugin raised unexpectedly.
        """
        how = how or (_shown(error) if error is not None else "")
        message = f"{what}: {how}" if how else what
        labels = {"plugin": plugin, "problem": problem}
        self.report(PLUGIN_PROBLEM, message, labels=labels, cause=what, error=error)

    def refused(self, what: str, error: RealtimeError, address: str | None) -> None:
        """Count and report a refusal.

        :param what: what the client asked for.
        :param address: the client's, where it is known.
        """
        self.refusals.count(error.code)
        line = f"{what}: {explained(error)}{by(address)}"
        self.report(REFUSED, line, labels={"code": error.code}, reason="")

    def refused_by_redis(self, kind: str, error: RedisError) -> Unavailable:
        """Count that Redis has refused a command; for callers it is as if Redis were away.

        :returns: the error to answer with.
        """
        self.report(kind, reason(error))
        return Unavailable(f"Redis: {error}")

    def failed(self, kind: str, what: str, error: BaseException, cause: str = "") -> RealtimeError:
        """Count and report what has failed through no fault of the client.

        :param what: what the client asked for.
        :param cause: what failed; each is logged by itself.
        :returns: the error to answer with.
        """
        answer = RealtimeError()
        self.refusals.count(answer.code)
        self.report(kind, f"{what}: {_shown(error)}", cause=cause, error=error)
        return answer


def _filled_in(kind: str, labels: Labels) -> str:
    return kind.format(**dict(labels)) if labels else kind


def _summary(reasons: Counter[str]) -> str:
    """How often each reason was given, for the log; empty without reasons."""
    shown = reasons.most_common(SHOWN_REASONS)
    others = reasons.total() - sum(count for _, count in shown)
    parts = [f"{count} {reason}" for reason, count in shown]
    if others:
        parts.append(f"{others} for other reasons")
    return _one_line(": " + ", ".join(parts)) if parts else ""


def _one_line(message: str) -> str:
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in message[:MAX_LINE])
    return f"{shown}…" if len(message) > MAX_LINE else shown


def reason(error: BaseException) -> str:
    """Why a backend failed, for the log; with the notes of the exception, such as its address."""
    shown = error.message if isinstance(error, Unavailable) else _shown(error)
    notes = ", ".join(getattr(error, "__notes__", ()))
    return f"{shown} ({notes})" if notes else shown


def explained(error: RealtimeError) -> str:
    """The message of an error, for the log; if the caller is not at fault, with its cause."""
    cause = error.__cause__
    if cause is None or error.status < RealtimeError.status:
        return error.message
    return f"{error.message} ({_shown(cause)})"


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

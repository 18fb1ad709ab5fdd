"""A history put in order: what became of each fix, and what each socket did and was sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import attrs

from tests.simulation.history import Event, Fix, History
from tests.simulation.plan import Plan

PROMPT = 1.0
"""Seconds after which every server knows of a revocation, while Redis is well."""

RECOVERY = 6.0
"""Seconds after a fault in which connections to Redis may still be coming back."""

HELD_BACK = 2.0
"""Seconds in which nothing older follows the current location."""

HELD_TOO_LONG = 0.1
"""Seconds after the end of its window by which a held fix must be on its way, if nothing fails."""

FOREVER = float("inf")

Key = tuple[str, int]
"""What makes a fix newer than another: its timestamp, then its number."""


@attrs.define
class Publish:
    """A fix and what became of it."""

    fix: Fix
    server: str
    sent: float
    answered: float = FOREVER
    status: int = 0
    throttled: bool = False
    cached: float = FOREVER
    published: float = FOREVER
    publications: list[float] = attrs.field(factory=list)

    @property
    def is_accepted(self) -> bool:
        return self.status == 200 and not self.fix.is_bad

    @property
    def is_live(self) -> bool:
        """Whether watchers are to see it: ``latest`` sends what it holds."""
        return not self.throttled or self.fix.entity.startswith("vehicle:")


@attrs.define
class Tracked:
    """A time in which a session tracked an entity."""

    asked: float
    confirmed: float
    end: float = FOREVER


class Session:
    """What one socket of a watcher did and was sent, in order."""

    def __init__(self, first: Event) -> None:
        self.name = first.who
        self.user: str = first["user"]
        self.events = [first]

    def of(self, kind: str, entity: str = "") -> list[Event]:
        return [
            event
            for event in self.events
            if event.kind == kind
            and entity in ("", event.data.get("entity"), *event.data.get("entities", ()))
        ]

    def open_asks(self, entity: str, at: float) -> list[Event]:
        """The answers to what was asked before a moment and answered after it."""
        asked = {event["ask"] for event in self.of("track asked", entity) if event.at < at}
        answers = self.of("track answered", entity)
        return [event for event in answers if event["ask"] in asked and event.at > at]

    @property
    def end(self) -> float:
        ends = (event.at for event in self.events if event.kind in ("left", "cut off"))
        return next(ends, FOREVER)


class Evidence:
    """One history, as the oracle needs it."""

    def __init__(self, plan: Plan, history: History) -> None:
        self.plan = plan
        self.history = history
        self.publishes: dict[int, Publish] = {}
        self.sessions: dict[str, Session] = {}
        for event in history.events:
            self._take(event)
        self.lost = [event.at for event in history.of("data lost")]
        self.killed = [(event.who, event.at) for event in history.of("killed")]
        self.stopping = [(event.who, event.at) for event in history.of("stopping")]
        self.stopped = [(event.who, event.at) for event in history.of("stopped")]
        self.faults = [(event.at, event["until"]) for event in history.of("fault")]
        self.ended = self.killed + [each for each in self.stopped if self._is_cut_off(each[1])]
        """When servers were killed, or stopped while Redis was away."""
        self.refusals = [
            (event.at, event["until"]) for event in history.of("fault") if event["what"] == "refuse"
        ]
        self.gaps = [
            event.at
            for event in history.of("fault")
            if event["what"] in ("cut subscribers", "cut both")
        ]
        """When every server was cut off from what others publish."""
        self.settled = next((event.at for event in history.of("settled")), FOREVER)
        devices: defaultdict[str, set[str]] = defaultdict(set)
        for device, entity, *_ in plan.devices:
            devices[entity].add(device)
        self.single = {entity for entity, names in devices.items() if len(names) == 1}
        self.entities = sorted(devices)

    def _take(self, event: Event) -> None:
        match event.kind:
            case "sent":
                fix = self.history.fixes[event["fix"]]
                self.publishes[fix.number] = Publish(fix, event["server"], event.at)
            case "answered":
                made = self.publishes[event["fix"]]
                made.answered, made.status = event.at, event["status"]
                made.throttled = event["throttled"]
            case "cached" | "published":
                made = self.publishes[event["fix"]]
                setattr(made, event.kind, min(getattr(made, event.kind), event.at))
                if event.kind == "published":
                    made.publications.append(event.at)
            case "connecting":
                self.sessions[event.who] = Session(event)
            case _:
                if event.who in self.sessions:
                    self.sessions[event.who].events.append(event)

    def _is_cut_off(self, at: float) -> bool:
        """Whether a server that closes then may not reach Redis in the time that it has."""
        return any(start <= at and at - 1.0 <= end + RECOVERY for start, end in self.faults)

    def key(self, fix: Fix) -> Key:
        """Two devices' fixes of one moment are equally new, and after a fault one device's too."""
        is_ordered = fix.entity in self.single and self.plan.is_calm
        return (fix.timestamp, fix.number if is_ordered else 0)

    def newest_of(self, publishes: Iterator[Publish]) -> Publish | None:
        return max(publishes, key=lambda each: self.key(each.fix), default=None)

    def is_kept(self, made: Publish) -> bool:
        """Whether an accepted fix must still be known: no fault that excuses its loss came."""
        if any(made.sent <= at for at in self.lost):
            return False  # Redis has lost it, or may have
        if any(start <= made.answered and made.sent <= end for start, end in self.refusals):
            return False  # accepted, not cached
        return not any(
            server == made.server and made.sent <= at < made.cached for server, at in self.ended
        )

    def is_kept_live(self, made: Publish) -> bool:
        return self.is_kept(made) and not any(
            server == made.server and made.sent <= at < made.published for server, at in self.ended
        )

    def may_follow(self, fix: Fix, newer: int, at: float) -> bool:
        """Whether nobody could know at a moment that a fix was not the newest of its device."""
        made, later = self.publishes[fix.number], self.publishes[newer]
        if not made.status:
            return True  # the device did not wait for its answer
        if later.fix.timestamp == fix.timestamp:  # only the order of publishing tells them apart
            return later.throttled or not self.plan.is_calm
        unknown = later.cached > at or any(later.sent <= lost <= at for lost in self.lost)
        return unknown and self.was_late(made, later, at)

    def is_newest_again(self, fix: Fix) -> bool:
        """Whether an interruption may bring a fix again: another device reports with its clock."""
        return fix.entity not in self.single and not self.plan.is_calm

    @staticmethod
    def was_late(made: Publish, later: Publish, at: float) -> bool:
        """Whether a fix was published after a newer one."""
        return any(later.published < each < at for each in made.publications)

    def may_be_last(self, made: Publish, seen: float, newer: Publish) -> bool:
        """Whether a watcher may end with a fix, though a newer one is known.

        It may if it came later, of a device whose clock is behind, and no gap has brought the
        newer one since.

        :param seen: when it was sent it.
        """
        return made.answered > newer.sent and not any(gap > seen for gap in self.gaps)

    def was_cached_late(self, made: Publish, tracked: Tracked) -> bool:
        """Whether a watcher read the cache before a fix was written that it could not have live."""
        at = made.published
        if at == made.cached == FOREVER:  # a newer one took its place
            return any(
                each.fix.entity == made.fix.entity
                and each.fix.timestamp > made.fix.timestamp
                and each.cached < FOREVER
                and self.was_cached_late(each, tracked)
                for each in self.publishes.values()
            )
        is_missed = (
            not made.is_live
            or at < tracked.confirmed
            or any(start <= at <= end + RECOVERY for start, end in self.faults)
        )
        is_late = made.cached > tracked.confirmed and (not made.is_live or made.cached > at)
        return not self.plan.is_calm and is_missed and is_late

    def is_overtaken(self, made: Publish) -> bool:
        """Whether it was not published because a newer one, which is not to be seen, was cached."""
        return made.published == FOREVER and any(
            each.fix.entity == made.fix.entity
            and each.fix.timestamp > made.fix.timestamp
            and not each.is_live
            and each.cached < FOREVER
            for each in self.publishes.values()
        )

    def stopped_with(self, made: Publish) -> bool:
        return any(
            server == made.server and at - 3 <= made.answered and made.sent <= at + 5
            for server, at in self.stopping
        )

    def known_by(self, began: float) -> float:
        """When every server must know of something that began then."""
        recovery = RECOVERY + 16 * self.plan.latency
        by = began + PROMPT
        for start, end in sorted(self.faults):
            if start - RECOVERY <= by and began <= end + recovery:
                by = max(by, end + recovery)
        return by

    @staticmethod
    def is_asking(session: Session, entity: str, at: float) -> bool:
        """Whether what a client is sent at a moment may be the current location it asked for."""
        answers = {e["ask"]: e.at for e in session.of("track answered", entity)}
        tokens = {e["token"]: e.at for e in session.of("authenticated")}
        return any(
            ask.at <= at <= answers.get(ask["ask"], FOREVER)
            for ask in session.of("track asked", entity)
        ) or any(
            ask.at <= at <= tokens.get(ask["token"], FOREVER)
            for ask in session.of("authenticating")
        )

    @staticmethod
    def began_anew(session: Session, entity: str, first: float, second: float) -> bool:
        """Whether the client left an entity between two moments, and tracked it again."""
        done = {event["ask"]: event.at for event in session.of("untrack answered", entity)}
        return any(
            left.at <= second and first <= done.get(left["ask"], FOREVER)
            for left in session.of("untrack asked", entity)
        )

    @staticmethod
    def asked_again(session: Session, fix: Fix, first: float, second: float) -> bool:
        """Whether the client asked between two moments for what it may be sent again."""
        answers = {event["ask"]: event.at for event in session.of("track answered", fix.entity)}
        for number, ask in enumerate(session.of("track asked", fix.entity)):
            until = answers.get(ask["ask"], FOREVER)
            if ask.at <= second and (ask.at >= first or (number and first <= until)):
                return True
        for ask in session.of("authenticating"):
            ends = [e.at for e in session.of("authenticated") if e["token"] == ask["token"]]
            if ask.at <= second and first <= min(ends, default=second):
                return True
        return False

    def tracked(self, session: Session, entity: str) -> list[Tracked]:
        """When a session has tracked an entity; events are handled in the order they are sent."""
        found: list[Tracked] = []
        good = {e["ask"]: e.at for e in session.of("track answered", entity) if e["good"]}
        for event in session.events:
            mine = entity in (event.data.get("entity"), *event.data.get("entities", ()))
            if event.kind == "track asked" and mine and event["ask"] in good:
                if not found or found[-1].end < FOREVER:
                    found.append(Tracked(event.at, good[event["ask"]]))
            elif (
                (event.kind == "untrack asked" and mine)
                or (event.kind == "told revoked" and mine and found and event.at > found[-1].asked)
                or event.kind in ("left", "cut off")
            ) and found:
                found[-1].end = min(found[-1].end, event.at)
        return found

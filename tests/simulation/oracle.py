"""The judge: what ``docs/operate/promises.md`` and ``docs/security.md`` say, and nothing else.

It sees a run from outside: what devices were answered, what watchers were sent, what reads
gave; of the inside only what Redis took, since what a server dies with is not promised.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import attrs

from tests.simulation.history import Event, Fix, History
from tests.simulation.loop import EPOCH
from tests.simulation.plan import Plan

PROMPT = 1.0
"""Seconds after which every server knows of a revocation, while Redis is well."""

RECOVERY = 6.0
"""Seconds after a fault in which connections to Redis may still be coming back."""

FOREVER = float("inf")

Key = tuple[str, int]
"""What makes a fix newer than another: its timestamp, then its number."""


@attrs.frozen
class Violation:
    """A promise that was not kept."""

    kind: str
    """The same for all that look alike."""
    at: float
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} (at {self.at:.3f})"


@attrs.define
class _Publish:
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

    def republished(self, at: float) -> bool:
        """Whether Redis was told to send it on shortly before."""
        return any(at - 1.2 < each < at for each in self.publications)

    @property
    def is_live(self) -> bool:
        """Whether watchers are to see it: ``latest`` sends what it holds."""
        return not self.throttled or self.fix.entity.startswith("vehicle:")


@attrs.define
class _Tracked:
    """A time in which a session tracked an entity."""

    asked: float
    confirmed: float
    end: float = FOREVER


class _Session:
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


class Oracle:
    """Judges one history."""

    def __init__(self, plan: Plan, history: History) -> None:
        self.plan = plan
        self.history = history
        self.publishes: dict[int, _Publish] = {}
        self.sessions: dict[str, _Session] = {}
        for event in history.events:
            self._take(event)
        self.lost = [event.at for event in history.of("data lost")]
        self.killed = [(event.who, event.at) for event in history.of("killed")]
        self.stopping = [(event.who, event.at) for event in history.of("stopping")]
        self.faults = [(event.at, event["until"]) for event in history.of("fault")]
        self.refusals = [
            (event.at, event["until"]) for event in history.of("fault") if event["what"] == "refuse"
        ]
        self.settled = next((event.at for event in history.of("settled")), FOREVER)
        devices: defaultdict[str, set[str]] = defaultdict(set)
        for _, entity, *__ in [(device[0], device[1]) for device in plan.devices]:
            devices[entity].add(_)
        self.single = {entity for entity, names in devices.items() if len(names) == 1}
        self.entities = sorted(devices)

    def _take(self, event: Event) -> None:
        match event.kind:
            case "sent":
                fix = self.history.fixes[event["fix"]]
                self.publishes[fix.number] = _Publish(fix, event["server"], event.at)
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
                self.sessions[event.who] = _Session(event)
            case _:
                if event.who in self.sessions:
                    self.sessions[event.who].events.append(event)

    def violations(self) -> list[Violation]:
        """Everything that was promised and not kept, the first of each kind."""
        found: dict[str, Violation] = {}
        for judge in (
            self._answers,
            self._current_locations,
            self._order,
            self._newest,
            self._completeness,
            self._one_order,
            self._permissions,
            self._revocations,
            self._redaction,
            self._bounds,
        ):
            for violation in judge():
                found.setdefault(violation.kind, violation)
        return list(found.values())

    # -- helpers

    def _key(self, fix: Fix) -> Key:
        """Two devices' fixes of one moment are equally new."""
        return (fix.timestamp, fix.number if fix.entity in self.single else 0)

    def _newest_of(self, publishes: Iterator[_Publish]) -> _Publish | None:
        return max(publishes, key=lambda each: self._key(each.fix), default=None)

    def _is_kept(self, made: _Publish) -> bool:
        """Whether an accepted fix must still be known: no fault that excuses its loss came."""
        if any(made.sent <= at for at in self.lost):
            return False  # Redis has lost it, or may have
        if any(start <= made.answered and made.sent <= end for start, end in self.refusals):
            return False  # accepted, not cached
        return not any(
            server == made.server and made.sent <= at < made.cached for server, at in self.killed
        )

    def _is_kept_live(self, made: _Publish) -> bool:
        return self._is_kept(made) and not any(
            server == made.server and made.sent <= at < made.published for server, at in self.killed
        )

    def _stopped_with(self, made: _Publish) -> bool:
        return any(
            server == made.server and at - 3 <= made.answered and made.sent <= at + 5
            for server, at in self.stopping
        )

    def _known_by(self, began: float) -> float:
        """When every server must know of something that began then."""
        recovery = RECOVERY + 16 * self.plan.latency
        by = began + PROMPT
        for start, end in sorted(self.faults):
            if start - RECOVERY <= by and began <= end + recovery:
                by = max(by, end + recovery)
        return by

    # -- devices

    def _answers(self) -> Iterator[Violation]:
        limit = 1.2 + self.plan.filtering
        for made in self.publishes.values():
            took = made.answered - made.sent
            if made.status and took > limit:
                yield Violation("late answer", made.sent, f"fix {made.fix.number}: {took:.2f} s")
            if made.answered == FOREVER:
                yield Violation("no answer", made.sent, f"fix {made.fix.number}")
            if made.status == 500:
                yield Violation("internal error", made.answered, f"fix {made.fix.number}")

    def _current_locations(self) -> Iterator[Violation]:
        """The current location is the newest by its timestamp; throttled fixes count."""
        for got in self.history.of("got"):
            entity, last = got["entity"], got.at > self.settled
            if not (last or (self.plan.is_calm and entity in self.single)):
                continue
            accepted = (
                made
                for made in self.publishes.values()
                if made.fix.entity == entity and made.is_accepted and self._is_kept(made)
            )
            due = self._newest_of(each for each in accepted if each.answered < got["started"])
            if due is None:
                continue
            what = f"{entity} on {got.who} is {got['fix']} ({got['status']}), not {due.fix.number}"
            if got["status"] not in (200, 404):
                yield Violation("unreadable", got.at, what)
            elif got["status"] == 404 or self._key(due.fix) > self._key(
                self.history.fixes[got["fix"]]
            ):
                yield Violation(f"lost: {self._why(due)}", got.at, what)

    def _why(self, made: _Publish) -> str:
        if self._stopped_with(made):
            return "answered by a server that was stopping"
        if not made.throttled:
            return "published"
        if not made.is_live:
            return "throttled"
        others = [other for other in self.publishes.values() if other.fix.entity == made.fix.entity]
        if any(each.fix.is_bad and 0 < each.sent - made.sent < 1.5 for each in others):
            return "held, and the filter dropped the next"
        if made.fix.entity not in self.single:
            return "held, of several devices"
        return "held"

    # -- watchers

    def _order(self) -> Iterator[Violation]:
        """None after a newer one of its device, and none twice."""
        for session in self.sessions.values():
            newest: dict[str, tuple[int, float]] = {}
            seen_at: dict[int, float] = {}
            for event in session.of("seen"):
                fix = self.history.fixes[event["fix"]]
                if fix.is_bad:
                    yield Violation("filtered fix seen", event.at, f"{fix.number}")
                again = self._asked_again(session, fix, seen_at.get(fix.number, FOREVER), event.at)
                number, at = newest.get(fix.device, (0, 0.0))
                what = f"{session.name} was sent {fix.number} of {fix.device} after {number}"
                if fix.number < number:
                    kind = self._path(session, fix, at, event.at)
                    yield Violation(f"older after newer, {kind}", event.at, what)
                elif fix.number in seen_at and not again:
                    several = "" if fix.entity in self.single else ", of several devices"
                    yield Violation(f"twice{several}", event.at, what)
                newest[fix.device] = max(newest.get(fix.device, (0, 0.0)), (fix.number, event.at))
                seen_at[fix.number] = event.at

    def _path(self, session: _Session, fix: Fix, newer_at: float, at: float) -> str:
        """How a fix came that should not have."""
        made = self.publishes[fix.number]
        if made.throttled and made.is_live and made.republished(at):
            return "held"
        if self._asked_again(session, fix, newer_at, at):
            new = any(newer_at <= e.at for e in session.of("authenticated"))
            return "on authenticating again" if new else "on tracking again"
        return "after a fault" if self.faults else "published"

    @staticmethod
    def _asked_again(session: _Session, fix: Fix, first: float, second: float) -> bool:
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

    def _tracked(self, session: _Session, entity: str) -> list[_Tracked]:
        """When a session has tracked an entity; events are handled in the order they are sent."""
        found: list[_Tracked] = []
        good = {e["ask"]: e.at for e in session.of("track answered", entity) if e["good"]}
        for event in session.events:
            mine = entity in (event.data.get("entity"), *event.data.get("entities", ()))
            if event.kind == "track asked" and mine and event["ask"] in good:
                if not found or found[-1].end < FOREVER:
                    found.append(_Tracked(event.at, good[event["ask"]]))
            elif (
                (event.kind == "untrack asked" and mine)
                or (event.kind == "told revoked" and mine and found and event.at > found[-1].asked)
                or event.kind in ("left", "cut off")
            ) and found:
                found[-1].end = min(found[-1].end, event.at)
        return found

    def _newest(self) -> Iterator[Violation]:
        """Whatever was missed, a watcher that is connected ends with the newest position."""
        for session in self.sessions.values():
            for entity in self.entities:
                tracked = self._tracked(session, entity)
                if not tracked or tracked[-1].end < self.settled:
                    continue
                since = tracked[-1].asked
                seen = [
                    self._key(self.history.fixes[event["fix"]])
                    for event in session.of("seen", entity)
                    if event.at >= since
                ]
                accepted = [
                    made
                    for made in self.publishes.values()
                    if made.fix.entity == entity and made.is_accepted
                ]
                live = self._newest_of(
                    each for each in accepted if each.is_live and self._is_kept_live(each)
                )
                first = self._newest_of(
                    each for each in accepted if each.answered < since and self._is_kept(each)
                )
                for due, kind in ((first, "no snapshot"), (live, "newest missed")):
                    if due is not None and self._key(due.fix) > max(seen, default=("", 0)):
                        what = f"{session.name} has no {due.fix.number} of {entity}"
                        why = self._why(due)
                        if why == "published" and seen and max(seen)[0] == due.fix.timestamp:
                            why = "of the same second"
                        yield Violation(f"{kind}: {why}", self.settled, what)

    def _completeness(self) -> Iterator[Violation]:
        """With no fault, a client that keeps up gets every fix that the throttle passes."""
        if not self.plan.is_calm:
            return
        touched = {event.who for event in self.history.of("denied", "revoked user")}
        if any(self.history.of("revoked", "rechecked")):
            return
        for session in self.sessions.values():
            slow = session.of("slow") or session.of("authenticating")
            if slow or session.user in touched or session.name.startswith("holder"):
                continue
            for made in self.publishes.values():
                entity = made.fix.entity
                if not made.is_accepted or made.throttled or entity not in self.single:
                    continue
                if not any(
                    each.confirmed < made.sent and made.answered + 0.5 < each.end
                    for each in self._tracked(session, entity)
                ):
                    continue
                if not any(e["fix"] == made.fix.number for e in session.of("seen", entity)):
                    what = f"{session.name} was never sent {made.fix.number}"
                    yield Violation("missing without a fault", made.sent, what)

    def _one_order(self) -> Iterator[Violation]:
        """All watchers see an entity's fixes in one order."""
        if not self.plan.is_calm:
            return
        places: dict[tuple[str, str], dict[int, int]] = {}
        for session in self.sessions.values():
            for entity in self.entities:
                numbers = dict.fromkeys(event["fix"] for event in session.of("seen", entity))
                places[session.name, entity] = {n: i for i, n in enumerate(numbers)}
        for (name, entity), mine in places.items():
            for (other, same), theirs in places.items():
                if same != entity or other <= name:
                    continue
                both = sorted(mine.keys() & theirs.keys(), key=mine.__getitem__)
                for a, b in zip(both, both[1:], strict=False):
                    if theirs[a] > theirs[b]:
                        what = f"{name} saw {a} before {b}, {other} after"
                        yield Violation("two orders", self.settled, what)

    # -- who sees what

    def _permissions(self) -> Iterator[Violation]:
        allowed = [(event.who, event["entity"], event.at) for event in self.history.of("allowed")]
        for session in self.sessions.values():
            yield from self._after_notice(session)
        for denied in self.history.of("denied"):
            user, entity, began = denied.who, denied["what"], denied["began"]
            until = min(
                (at for who, what, at in allowed if (who, what) == (user, entity) and at >= began),
                default=FOREVER,
            )
            by = self._known_by(began)
            for session in self.sessions.values():
                if session.user != user:
                    continue
                for event in session.of("seen", entity):
                    sent = self.publishes[event["fix"]].sent
                    asked = [e.at for e in session.of("track asked", entity) if e.at < event.at]
                    new = sent > by or (bool(asked) and max(asked) > by and len(asked) == 1)
                    if new and event.at < until:
                        what = f"{session.name} was sent {event['fix']} of {entity}"
                        yield Violation("seen without permission", event.at, what)

    @staticmethod
    def _after_notice(session: _Session) -> Iterator[Violation]:
        """Nothing of an entity comes after the notice that it may no longer be watched."""
        told: dict[str, float] = {}
        for event in session.events:
            if event.kind == "told revoked":
                told[event["entity"]] = event.at
                open_asks = session.open_asks(event["entity"], event.at)
                if any(answer["good"] for answer in open_asks):
                    what = f"{session.name} was told yes after the notice about {event['entity']}"
                    yield Violation("tracked after tracking:revoked", event.at, what)
            elif event.kind == "track asked":
                for entity in event["entities"]:
                    told.pop(entity, None)
            elif event.kind == "seen" and event["entity"] in told:
                what = f"{session.name} was sent {event['fix']} after the notice"
                yield Violation("seen after tracking:revoked", event.at, what)

    def _revocations(self) -> Iterator[Violation]:
        for revoked in self.history.of("revoked", "revoked user"):
            if revoked["error"] not in ("", "Unavailable", "503"):
                continue
            by = self._known_by(revoked["began"])
            ended = [at for _, at in (*self.killed, *self.stopping) if at >= revoked["began"]]
            if ended and any(at >= revoked["began"] for at in self.lost):
                continue  # nobody may be left to write it again
            for session in self.sessions.values():
                yield from self._after_revocation(session, revoked, by)

    def _after_revocation(
        self, session: _Session, revoked: Event, by: float
    ) -> Iterator[Violation]:
        holds = [e for e in session.events if e.kind in ("connecting", "authenticating")]
        confirmed = {e["token"] for e in session.of("authenticated")}
        for number, hold in enumerate(holds):
            if not self._concerns(revoked, hold):
                continue
            if hold.kind == "authenticating" and hold["token"] not in confirmed:
                continue
            if len(holds) > number + 1:
                continue  # another token may have taken its place
            asks = {e["ask"]: e.at for e in session.of("track asked")}
            for event in session.events:
                seen = event.kind == "seen" and self.publishes[event["fix"]].sent > by
                good = event.kind == "track answered" and event["good"] and asks[event["ask"]] > by
                if seen or good:
                    what = f"{session.name} goes on with what was revoked at {revoked['began']:.3f}"
                    how = "while it authenticated" if hold.kind == "authenticating" else "before"
                    yield Violation(f"revoked {how}, still served", event.at, what)
            if session.end > self.settled > by and session.of("connected"):
                accepted = any(e["good"] for e in session.of("track answered"))
                if hold.kind == "authenticating" or accepted:
                    how = "while it authenticated" if hold.kind == "authenticating" else "before"
                    yield Violation(f"revoked {how}, still connected", self.settled, session.name)

    def _concerns(self, revoked: Event, hold: Event) -> bool:
        if revoked.kind == "revoked":
            return str(hold["token"]) == revoked.who
        if revoked.who != hold["user"]:
            return False
        skew = self.plan.skews[self.plan.servers.index(revoked["server"])]
        return int(EPOCH + hold["issued"]) < int(EPOCH + revoked["began"] + skew)

    def _redaction(self) -> Iterator[Violation]:
        """Who may not see everything is never sent everything."""
        for session in self.sessions.values():
            role, pending = session.events[0]["role"], 0
            for event in session.events:
                if event.kind == "authenticating":
                    pending += event["role"] == "staff"
                elif event.kind == "authenticated":
                    role = event["role"]
                    pending -= role == "staff"
                elif event.kind == "seen" and event["whole"] and role != "staff" and not pending:
                    what = f"{session.name} ({role}) was sent all of {event['fix']}"
                    yield Violation("not redacted", event.at, what)

    # -- bounds

    def _bounds(self) -> Iterator[Violation]:
        for event in self.history.of("over bounds"):
            yield Violation("over bounds", event.at, f"{event.who}: {event['what']}")
        for event in self.history.of("left over"):
            words = event["what"].split(" ", 1)
            kind = words[1] if words[0].isdecimal() else words[0]
            yield Violation(f"not empty: {kind}", event.at, f"{event.who}: {event['what']}")
        for event in self.history.of("escaped"):
            yield Violation("exception in a callback", event.at, event["what"])
        for event in self.history.of("revocations"):
            if event["members"] > event["distinct"]:
                what = f"{event['members']} members for {event['distinct']} revocations"
                yield Violation("revocation set grows", event.at, what)


def judge(plan: Plan, history: History) -> list[Violation]:
    """What a run did not keep."""
    return Oracle(plan, history).violations()

"""The judge: what ``docs/operate/promises.md`` and ``docs/security.md`` say, and nothing else.

It sees a run from outside: what devices were answered, what watchers were sent, what reads
gave; of the inside only what Redis took, since what a server dies with is not promised.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import attrs

from tests.simulation.evidence import FOREVER, HELD_BACK, HELD_TOO_LONG, Evidence, Publish, Session
from tests.simulation.history import Event, Fix, History
from tests.simulation.loop import EPOCH
from tests.simulation.plan import Plan


@attrs.frozen
class Violation:
    """A promise that was not kept."""

    kind: str
    """The same for all that look alike."""
    at: float
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} (at {self.at:.3f})"


class Oracle(Evidence):
    """Judges one history."""

    def violations(self) -> list[Violation]:
        """Everything that was promised and not kept, the first of each kind."""
        found: dict[str, Violation] = {}
        for judge in (
            self._answers,
            self._current_locations,
            self._order,
            self._newest,
            self._completeness,
            self._held,
            self._one_order,
            self._permissions,
            self._revocations,
            self._redaction,
            self._bounds,
        ):
            for violation in judge():
                found.setdefault(violation.kind, violation)
        return list(found.values())

    # -- devices

    def _answers(self) -> Iterator[Violation]:
        limit = 1.0 + self.plan.filtering
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
                if made.fix.entity == entity and made.is_accepted and self.is_kept(made)
            )
            due = self.newest_of(each for each in accepted if each.answered < got["started"])
            if due is None:
                continue
            what = f"{entity} on {got.who} is {got['fix']} ({got['status']}), not {due.fix.number}"
            if got["status"] not in (200, 404):
                yield Violation("unreadable", got.at, what)
            elif got["status"] == 404 or self.key(due.fix) > self.key(
                self.history.fixes[got["fix"]]
            ):
                yield Violation(f"lost: {self._why(due)}", got.at, what)

    def _why(self, made: Publish) -> str:
        if self.stopped_with(made):
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
            newest: dict[str, int] = {}
            seen_at: dict[int, float] = {}
            for event in session.of("seen"):
                fix = self.history.fixes[event["fix"]]
                if fix.is_bad:
                    yield Violation("filtered fix seen", event.at, f"{fix.number}")
                again = self.asked_again(session, fix, seen_at.get(fix.number, FOREVER), event.at)
                number = newest.get(fix.device, 0)
                what = f"{session.name} was sent {fix.number} of {fix.device} after {number}"
                if fix.number < number:
                    anew = self.began_anew(session, fix.entity, seen_at[number], event.at)
                    if not anew and not self.may_follow(fix, number, event.at):
                        kind = self._path(session, fix, number, event.at)
                        yield Violation(f"older after newer, {kind}", event.at, what)
                elif (
                    fix.number in seen_at
                    and not again
                    and not self.is_newest_again(fix)
                    and not self._follows(session, fix, seen_at[fix.number], event.at)
                ):
                    yield Violation("twice", event.at, what)
                newest[fix.device] = max(number, fix.number)
                seen_at[fix.number] = event.at

    def _follows(self, session: Session, fix: Fix, since: float, until: float) -> bool:
        """Whether an older fix, or one of the same second, came after the current location."""
        for event in session.of("seen", fix.entity):
            other = self.history.fixes[event["fix"]]
            if since <= event.at <= until and other.number != fix.number:
                older = other.timestamp < fix.timestamp and event.at > since + HELD_BACK
                if older or other.timestamp == fix.timestamp:
                    return True
        return False

    def _path(self, session: Session, fix: Fix, newer: int, at: float) -> str:
        """How a fix came that should not have."""
        made, later = self.publishes[fix.number], self.publishes[newer]
        if self.was_late(made, later, at):
            return "released by the throttle" if made.throttled else "sent on after a fault"
        newer_at = min(e.at for e in session.of("seen") if e["fix"] == newer)
        if self.asked_again(session, fix, newer_at, at):
            new = any(newer_at <= e.at for e in session.of("authenticated"))
            return "on authenticating again" if new else "on tracking again"
        return "sent on after a fault" if self.faults else "some other way"

    def _newest(self) -> Iterator[Violation]:
        """Whatever was missed, a watcher that is connected ends with the newest position."""
        for session in self.sessions.values():
            for entity in self.entities:
                if session.of("slow") and entity not in self.single:
                    continue  # of two devices it may be sent the one that came last
                tracked = self.tracked(session, entity)
                if not tracked or tracked[-1].end < self.settled:
                    continue
                since = tracked[-1].asked
                seen = [
                    (self.publishes[event["fix"]], event.at)
                    for event in session.of("seen", entity)
                    if event.at >= since
                ]
                newest = max((self.key(made.fix) for made, _ in seen), default=("", 0))
                accepted = [
                    made
                    for made in self.publishes.values()
                    if made.fix.entity == entity and made.is_accepted
                ]
                live = self.newest_of(
                    each
                    for each in accepted
                    if each.is_live and self.is_kept_live(each) and not self.is_overtaken(each)
                )
                first = self.newest_of(
                    each for each in accepted if each.answered < since and self.is_kept(each)
                )
                for due, kind in ((first, "no snapshot"), (live, "newest missed")):
                    if due is None or self.was_cached_late(due, tracked[-1]):
                        continue
                    if self.key(due.fix) > newest:
                        what = f"{session.name} has no {due.fix.number} of {entity}"
                        why = self._why(due)
                        if why == "published" and newest[0] == due.fix.timestamp:
                            why = "of the same second"
                        yield Violation(f"{kind}: {why}", self.settled, what)
                        continue
                    last, at = seen[-1]
                    if self.key(due.fix) > self.key(last.fix) and not self.may_be_last(
                        last, at, due
                    ):
                        what = f"{session.name} ends with {last.fix.number} of {entity}"
                        what += f", not with {due.fix.number}"
                        yield Violation("ends with an older one", self.settled, what)

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
                    for each in self.tracked(session, entity)
                ):
                    continue
                if not any(e["fix"] == made.fix.number for e in session.of("seen", entity)):
                    what = f"{session.name} was never sent {made.fix.number}"
                    yield Violation("missing without a fault", made.sent, what)

    def _held(self) -> Iterator[Violation]:
        """What the throttle holds, or something newer, goes out when its window ends.

        Whichever servers the fixes of a device come to: none waits for another one's window.
        """
        if not self.plan.is_calm:
            return
        for made in self.publishes.values():
            entity = made.fix.entity
            if not (made.is_accepted and made.throttled and made.is_live and entity in self.single):
                continue
            due = made.answered + self.plan.window + HELD_TOO_LONG
            if not any(
                other.fix.entity == entity
                and self.key(other.fix) >= self.key(made.fix)
                and other.published <= due
                for other in self.publishes.values()
            ):
                yield Violation("held too long", due, f"fix {made.fix.number} of {entity}")

    def _one_order(self) -> Iterator[Violation]:
        """All watchers see an entity's fixes in one order."""
        if not self.plan.is_calm:
            return
        places: dict[tuple[str, str], dict[int, int]] = {}
        for session in self.sessions.values():
            for entity in self.entities:
                mine = places[session.name, entity] = {}
                seen_at: dict[int, float] = {}
                for place, event in enumerate(session.of("seen", entity)):
                    fix = self.history.fixes[event["fix"]]
                    if entity not in self.single and self.is_asking(session, entity, event.at):
                        continue  # the current location may follow what came live meanwhile
                    first = seen_at.setdefault(fix.number, event.at)
                    if fix.number not in mine or self._follows(session, fix, first, event.at):
                        mine[fix.number] = place
        for (name, entity), mine in places.items():
            for (other, same), theirs in places.items():
                if same != entity or other <= name:
                    continue
                both = sorted(mine.keys() & theirs.keys(), key=mine.__getitem__)
                for a, b in itertools.pairwise(both):
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
            by = self.known_by(began)
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

    def _lost_at(self, user: str, entity: str, since: float, told: float) -> float:
        """When a permission was lost of which a notice tells; a slow client is told late.

        :param since: the notice before.
        """
        losses = (
            event["began"]
            for event in self.history.of("denied")
            if (event.who, event["what"]) == (user, entity) and since <= event["began"] <= told
        )
        return min(losses, default=told)

    def _is_granted(self, user: str, entity: str, since: float, until: float) -> bool:
        return any(
            (event.who, event["entity"]) == (user, entity) and since <= event.at <= until
            for event in self.history.of("allowed")
        )

    def _after_notice(self, session: Session) -> Iterator[Violation]:
        """Nothing of an entity comes after the notice that it may no longer be watched.

        Unless the permission comes back before what was asked for earlier is answered.
        """
        user = session.user
        lost: dict[str, float] = {}
        noticed: dict[str, float] = {}
        for event in session.events:
            if event.kind == "told revoked":
                entity = event["entity"]
                lost[entity] = self._lost_at(user, entity, noticed.get(entity, 0.0), event.at)
                noticed[entity] = event.at
                if any(
                    answer["good"] and not self._is_granted(user, entity, lost[entity], answer.at)
                    for answer in session.open_asks(entity, event.at)
                ):
                    what = f"{session.name} was told yes after the notice about {entity}"
                    yield Violation("tracked after tracking:revoked", event.at, what)
            elif event.kind == "track asked":
                for entity in event["entities"]:
                    lost.pop(entity, None)
            elif event.kind == "seen" and event["entity"] in lost:
                entity = event["entity"]
                if not self._is_granted(user, entity, lost[entity], event.at):
                    what = f"{session.name} was sent {event['fix']} after the notice"
                    yield Violation("seen after tracking:revoked", event.at, what)

    def _revocations(self) -> Iterator[Violation]:
        for revoked in self.history.of("revoked", "revoked user"):
            if revoked["error"] not in ("", "Unavailable", "503"):
                continue
            by = self.known_by(revoked["began"])
            ends = [each for each in (*self.killed, *self.stopping) if each[1] >= revoked["began"]]
            if ends and any(at >= revoked["began"] for at in self.lost):
                continue  # nobody may be left to write it again
            if revoked["error"] and any(server == revoked["server"] for server, _ in ends):
                continue  # the caller was told that it is not stored
            for session in self.sessions.values():
                yield from self._after_revocation(session, revoked, by)

    def _after_revocation(self, session: Session, revoked: Event, by: float) -> Iterator[Violation]:
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
            where = event["what"].rpartition(" ")[2] if event.who != "loop" else "task"
            yield Violation(f"not empty: {where}", event.at, f"{event.who}: {event['what']}")
        for event in self.history.of("escaped"):
            yield Violation("exception in a callback", event.at, event["what"])
        for event in self.history.of("revocations"):
            if event["members"] > event["distinct"]:
                what = f"{event['members']} members for {event['distinct']} revocations"
                yield Violation("revocation set grows", event.at, what)


def judge(plan: Plan, history: History) -> list[Violation]:
    """What a run did not keep."""
    return Oracle(plan, history).violations()

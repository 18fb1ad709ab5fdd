"""What happens in a run: a cast and a list of actions, both made from one seed.

Which kinds of actions a run has is chosen first, so that some runs are calm, some have one
fault over and over, and some have everything.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import attrs

ENTITIES = ("vehicle:v1", "vehicle:v2", "delivery:d1", "delivery:d2", "parcel:p1")
SERVERS = ("A", "B", "C")
CONNECTIONS = ("commands", "subscribers", "both")
USERS = ("ann", "bob", "cy")


@attrs.frozen
class Action:
    """One thing that somebody does, or that befalls somebody."""

    at: float
    kind: str
    who: str = ""
    what: tuple[Any, ...] = ()

    def __str__(self) -> str:
        what = " ".join(str(each) for each in self.what)
        return f"{self.at:7.3f}  {self.kind} {self.who} {what}".rstrip()


@attrs.frozen(kw_only=True)
class Plan:
    """A run, before it is made."""

    seed: int
    servers: tuple[str, ...]
    skews: tuple[float, ...]
    """Seconds that each server's clock is ahead."""
    devices: tuple[tuple[str, str, bool, int, float], ...]
    """Name, entity, whether it publishes over a socket, milliseconds that its clock counts in,
    seconds that it is ahead."""
    watchers: tuple[tuple[str, str, str], ...]
    """Name, user, role."""
    one_by_one: bool
    """Whether a watcher names each entity in an event of its own."""
    latency: float
    """Seconds that an authorizer takes."""
    filtering: float
    """Seconds that the filter takes."""
    window: float
    """Seconds of the throttle's window."""
    actions: tuple[Action, ...]
    end: float

    @property
    def is_calm(self) -> bool:
        """Whether nothing fails."""
        return not any(action.kind in FAULTS or action.kind in REFUSALS for action in self.actions)


FAULTS = {
    "kill": 1.0,
    "stop": 1.0,
    "pause": 2.0,
    "cut": 3.0,
    "late": 1.0,
    "lag": 1.0,
    "stall": 1.0,
    "refuse": 0.7,
    "fail over": 1.0,
    "flush": 0.5,
    "restart empty": 0.5,
}
"""Faults, and how often they come in a run that has them."""

REFUSALS = ("load", "busy", "forbid")
"""Faults in which Redis answers with an error: it was started again and loads its data, it runs a
script that does not end, it lets nobody subscribe."""

ACCESS = {
    "deny": 2.0,
    "allow": 1.5,
    "recheck": 0.5,
    "authenticate": 2.0,
    "revoke token": 1.0,
    "revoke user": 0.4,
    "share": 1.0,
    "end share": 1.5,
}

WATCHING = {
    "connect": 2.0,
    "leave": 1.0,
    "track": 5.0,
    "untrack": 2.0,
    "slow": 0.5,
    "quick": 0.5,
    "read": 1.0,
}


class _Maker:
    """Makes the actions of one run."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(f"plan {seed}")
        self.servers = SERVERS[: chance.choice([1, 2, 2, 3])]
        self.entities = chance.sample(ENTITIES, chance.choice([1, 1, 2, 3]))
        owners = [*self.entities, *chance.choices(self.entities, k=chance.choice([0, 0, 1, 2]))]
        clocks = random.Random(f"clocks {seed}")
        self.devices = tuple(
            (
                f"dev{number}",
                entity,
                chance.random() < 0.3,
                chance.choice([1, 1, 1, 1000]),
                clocks.choice([0, 0, 0.3, -0.3, -2, -5, 5]),
            )
            for number, entity in enumerate(owners, 1)
        )
        self.window = clocks.choice([1.0, 1.0, 1.0, 3.0, 6.0])
        self.watchers = tuple(
            (f"w{number}", chance.choice(USERS), chance.choice(["staff", "staff", "customer"]))
            for number in range(1, chance.choice([1, 2, 3, 4]) + 1)
        )

    def plan(self, seed: int) -> Plan:
        chance = self.chance
        end = chance.choice([3.0, 6.0, 12.0])
        weights = {"publish": chance.choice([1.0, 5.0, 20.0, 60.0]), "move": 3.0, **WATCHING}
        weights |= self._some(FAULTS, chance.choice([0, 0, 1, 2, 12]))
        weights |= self._some(ACCESS, chance.choice([0, 0, 3, 8]))
        size = chance.choice([20, 40, 80])
        times = sorted(round(chance.uniform(0.2, end), 3) for _ in range(size))
        if chance.random() < 0.5:  # things happen together
            times = [round(at + chance.choice([0, 0, 0.05, 0.2, 0.9]), 3) for at in times]
            grid = chance.choice([0.1, 0.5, 1.0])
            times = sorted(
                round(int(at / grid) * grid + chance.uniform(0, 0.01), 4) for at in times
            )
        kinds = chance.choices(list(weights), list(weights.values()), k=size)
        opening = [
            Action(round(0.05 + 0.01 * number, 3), "connect", name, (chance.choice(self.servers),))
            for number, (name, _, __) in enumerate(self.watchers)
        ]
        opening += [
            Action(0.15 + 0.01 * number, "track", name, self._several())
            for number, (name, _, __) in enumerate(self.watchers)
        ]
        actions = [
            action
            for at, kind in zip(times, kinds, strict=True)
            for action in self._with_what_it_meets(self._action(at, kind))
        ]
        if weights.keys() & FAULTS.keys():
            actions += _refusals(seed, end)
        actions += _turns(seed, end, self.servers, self.devices[0][0])
        return Plan(
            seed=seed,
            servers=self.servers,
            skews=tuple(chance.choice([0, 0, 0.4, -0.4, 3, -3, 20]) for _ in self.servers),
            devices=self.devices,
            watchers=self.watchers,
            one_by_one=seed % 8 > 4,
            latency=chance.choice([0, 0, 0.01, 0.1, 0.5]),
            filtering=chance.choice([0, 0, 0.02, 0.2]),
            window=self.window,
            actions=tuple(sorted([*opening, *actions], key=lambda action: action.at)),
            end=end + 1.0,
        )

    def _some(self, weights: dict[str, float], count: int) -> dict[str, float]:
        chosen = self.chance.sample(list(weights), min(count, len(weights)))
        return {kind: weights[kind] * self.chance.choice([0.5, 1, 3]) for kind in chosen}

    def _several(self) -> tuple[str, ...]:
        return tuple(self.chance.sample(self.entities, self.chance.randint(1, len(self.entities))))

    def _with_what_it_meets(self, action: Action) -> list[Action]:
        """What may withdraw something often comes while that is being asked for."""
        pause = self.chance.uniform(0, self.chance.choice([0.6, 0.02]))
        before = round(max(action.at - pause, 0.2), 4)
        if self.chance.random() < 0.5:
            if action.kind == "revoke token":
                return [Action(before, "authenticate", action.what[0], ("staff",)), action]
            if action.kind == "deny":
                user, entity = action.what
                theirs = [name for name, whose, _ in self.watchers if whose == user]
                again = [Action(before, "track", name, (entity,)) for name in theirs]
                return [*again, action]
        return [action]

    def _action(self, at: float, kind: str) -> Action:
        chance = self.chance
        server, entity = chance.choice(self.servers), chance.choice(self.entities)
        watcher, user, _ = chance.choice(self.watchers)
        seconds = chance.choice([0.05, 0.3, 1.0, 1.5, 3.0, 5.0])
        who, what = "", ()  # type: tuple[str, tuple[Any, ...]]
        match kind:
            case "publish":
                who = chance.choice(self.devices)[0]
                what = ("bad",) if chance.random() < 0.1 else ()
            case "move":
                who, what = chance.choice(self.devices)[0], (server,)
            case "connect":
                who, what = watcher, (server,)
            case "track" | "untrack":
                who, what = watcher, self._several()
            case "leave" | "slow" | "quick":
                who = watcher
            case "authenticate":
                who, what = watcher, (chance.choice(["staff", "customer"]),)
            case "read":
                who, what = server, (entity,)
            case "deny":
                who, what = server, (user, entity)
            case "allow":
                what = (user, entity)
            case "recheck":
                who = server
            case "revoke token":
                who, what = server, (watcher,)
            case "revoke user":
                who, what = server, (user,)
            case "share":
                who, what = server, (user, entity)
            case "end share":
                who, what = server, (chance.randint(0, 3), chance.choice([1, 1, 2, 5]))
            case "kill" | "stop":
                who, what = server, (chance.choice([0.5, 2.0, 4.0]),)
            case "pause" | "late" | "refuse":
                what = (seconds,)
            case "cut":
                what = (
                    chance.choice(["commands", "subscribers", "both"]),
                    chance.choice(["", server]),
                )
            case "lag" | "stall":
                what = (chance.choice(CONNECTIONS), seconds)
            case "fail over":
                lag = chance.choice([0, 0.1, 1.0])
                what = (seconds, lag, chance.choice(["lost", "demoted"]))
        return Action(at, kind, who, what)


def _refusals(seed: int, end: float) -> list[Action]:
    """The refusals of a run with faults, which one in four has; chance is their own."""
    if seed % 8 < 6:
        return []
    chance = random.Random(f"refusals {seed}")
    return [
        Action(
            round(chance.uniform(0.2, end), 3),
            chance.choice(REFUSALS),
            what=(chance.choice([0.3, 1.0, 1.5, 3.0, 5.0]),),
        )
        for _ in range(chance.choice([1, 2, 4]))
    ]


def _turns(seed: int, end: float, servers: tuple[str, ...], device: str) -> list[Action]:
    """The fixes that a device reports to the servers by turns, as it does in one of eight runs."""
    if seed % 16 not in (3, 4):
        return []
    chance = random.Random(f"turns {seed}")
    pause = chance.choice([0.05, 0.13, 0.3])
    actions, at = list[Action](), 0.3
    for server in itertools.cycle(servers):
        if at >= end or len(actions) >= 100:
            return actions
        actions += [Action(round(at, 3), "move", device, (server,))]
        actions += [Action(round(at + 0.001, 3), "publish", device)]
        at += pause * chance.uniform(0.5, 1.5)
    return actions


def make_plan(seed: int) -> Plan:
    """The plan of a seed."""
    return _Maker(seed).plan(seed)

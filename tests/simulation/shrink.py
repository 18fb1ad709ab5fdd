"""Makes a failing run as small as possible: fewer actions, fewer actors, nothing special."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from tests.simulation.oracle import judge
from tests.simulation.plan import Action, Plan
from tests.simulation.world import run


def fails(plan: Plan, kind: str) -> bool:
    """Whether a run breaks a promise in this way."""
    return any(violation.kind == kind for violation in judge(plan, run(plan)))


def shrunk(plan: Plan, kind: str) -> Plan:
    """A plan that breaks the promise in the same way, and no part of which can be left out."""

    def still(smaller: Plan) -> bool:
        return fails(smaller, kind)

    size = -1
    while size != len(plan.actions):
        size = len(plan.actions)
        plan = _fewer_actions(plan, still)
        for simpler in _simpler(plan):
            if still(attrs.evolve(plan, **simpler)):
                plan = attrs.evolve(plan, **simpler)
    return plan


def _fewer_actions(plan: Plan, still: Callable[[Plan], bool]) -> Plan:
    """Leave out halves, quarters and so on, down to single actions."""
    actions: Sequence[Action] = plan.actions
    step = max(len(actions) // 2, 1)
    while True:
        start = 0
        while start < len(actions):
            fewer = (*actions[:start], *actions[start + step :])
            if still(attrs.evolve(plan, actions=fewer)):
                actions = fewer
            else:
                start += step
        if step == 1:
            return attrs.evolve(plan, actions=tuple(actions))
        step = max(step // 2, 1)


def _simpler(plan: Plan) -> Iterator[dict[str, Any]]:
    yield {"skews": tuple(0.0 for _ in plan.skews)}
    yield {"filtering": 0.0}
    yield {"latency": 0.0}
    yield {"one_by_one": False}
    yield {"window": 1.0}
    named = {action.who for action in plan.actions}
    yield {"devices": tuple(each for each in plan.devices if each[0] in named)}
    yield {"watchers": tuple(each for each in plan.watchers if each[0] in named)}
    yield {"devices": tuple((*each[:4], 0.0) for each in plan.devices)}
    yield {"devices": tuple((*each[:2], False, 1, each[4]) for each in plan.devices)}
    mentioned = {str(each) for action in plan.actions for each in (action.who, *action.what)}
    servers = tuple(name for name in plan.servers if name in mentioned) or plan.servers[:1]
    yield {"servers": servers, "skews": tuple(0.0 for _ in servers)}
    last = plan.actions[-1].at if plan.actions else 0.0
    yield {"end": last + 1.0}

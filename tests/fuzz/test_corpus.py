"""Every input of the corpus, and variations by hypothesis, go through their target."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import CORPUS, MAX_SIZE
from tests.fuzz.targets import TARGETS, Target

INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name: str) -> None:
    inputs = [path for path in INPUTS if path.parent.name == name]
    assert inputs
    for path in inputs:
        TARGETS[name](path.read_bytes())


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in INPUTS) <= MAX_SIZE * len(TARGETS)
    assert {path.parent.name for path in INPUTS} == TARGETS.keys()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_variations(target: Target, data: st.DataObject) -> None:
    """Random bytes, and inputs of the corpus with a part replaced."""
    of_target = [path for path in INPUTS if TARGETS[path.parent.name] is target]
    base = data.draw(st.sampled_from(of_target).map(Path.read_bytes) | st.binary(max_size=300))
    start = data.draw(st.integers(0, len(base)))
    end = data.draw(st.integers(start, len(base)))
    target(base[:start] + data.draw(st.binary(max_size=40)) + base[end:])

"""The mutation run itself: which mutants there are, and what becomes of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.equivalent import EQUIVALENT, explained
from tests.mutation.operators import mutants
from tests.mutation.run import Work, run
from tests.mutation.scope import SCOPES, files, stages

ROOT = Path(__file__).parents[2]


def changes(folder: Path, source: str) -> list[str]:
    """What becomes of a source's only line, or of its last one."""
    (folder / "source.py").write_text(source)
    return [mutant.source.splitlines()[-1].strip() for mutant in mutants(folder, "source.py")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", ["x = (a <= b)"]),
        ("x = a is None", ["x = (a is not None)"]),
        ("x = a and b", ["x = (a or b)", "x = (b)", "x = (a)"]),
        ("x = not a", ["x = (a)"]),
        ("x = a if b else c", ["x = (c if b else a)"]),
        ("x = a + b", ["x = (a - b)"]),
        ("LIMIT = 100", ["LIMIT = 200"]),
        ("LIMIT = 1", ["LIMIT = 2"]),
        ("ON = True", ["ON = False"]),
        ("KEY = 'location'", ["KEY = 'locationx'"]),
        ("def f(): return a", ["def f(): return None"]),
        ("def f(a=1): ...", ["def f(a=2): ..."]),
        ("def f():\n  g()", ["pass"]),
        ("def f():\n  a = b", ["pass"]),
        ("async def f():\n  await g()", ["pass"]),
        ("def f():\n  if a: g()", ["if not (a): g()", "if a: pass"]),
        ("def f():\n  raise ValueError('no such thing')", ["pass"]),
        ("x: dict[str, 'int'] = {}", []),
        ("x = f'{a + 1}'", []),
        ("from a import b", []),
        ("'''What it does.'''", []),
        ("__all__ = ['a']", []),
        ("T = TypeVar('T')", []),
        ("x: str | None = None", []),
        ("x = 'Grüße' + a", ["x = 'Grüßex' + a"]),
    ],
)
def test_what_is_changed(tmp_path: Path, source: str, expected: list[str]) -> None:
    assert changes(tmp_path, source) == expected


def test_every_mutant_of_the_package_is_another_program() -> None:
    for scope in SCOPES.values():
        for path in files(scope, ROOT)[::8]:
            for mutant in [*mutants(ROOT, path)][::16]:
                compile(mutant.source, path, "exec")
                assert mutant.diff()


@pytest.mark.parametrize("name", SCOPES)
def test_every_part_has_its_modules_and_tests(name: str) -> None:
    scope = SCOPES[name]
    assert files(scope, ROOT)
    assert [path for path in (*scope.near, *scope.far) if not (ROOT / path).exists()] == []


def test_the_test_of_a_module_comes_first() -> None:
    first, *_ = stages(SCOPES["hub"], "atriz_realtime/core/hub/rooms.py", ROOT)
    assert first == ("tests/core/hub/test_rooms.py",)


def test_every_equivalent_mutant_is_still_one() -> None:
    found = [
        entry
        for path in {entry.path for entry in EQUIVALENT}
        for mutant in mutants(ROOT, f"atriz_realtime/{path}")
        if (entry := explained(mutant)) is not None
    ]
    assert [entry for entry in EQUIVALENT if entry not in found] == []


def test_a_mutant_is_noticed_or_survives(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (tmp_path / "module.py").write_text("def double(a):\n    return a + a\n\nUNUSED = 1\n")
    (tmp_path / "test_it.py").write_text(
        "import module\n\ndef test_double():\n    assert module.double(2) == 4\n"
    )
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    work: list[Work] = [
        (mutant, [("test_it.py",)])
        for mutant in mutants(tmp_path, "module.py")
        if mutant.operator != "nothing returned"
    ]
    outcomes = {outcome.mutant.operator: outcome.noticed_by for outcome in run(tmp_path, work, 1)}
    assert {operator: by and by.split()[1] for operator, by in outcomes.items()} == {
        "arithmetic changed": "test_it.py::test_double",
        "constant changed": None,
    }
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before

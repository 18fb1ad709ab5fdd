"""Which modules are changed, and which tests are run for each.

The tests of a module are its own file, those of its folder, and those that use it through a
server, in this order: most mutants are noticed by the first, which takes a second.
"""

from __future__ import annotations

from pathlib import Path

import attrs

PACKAGE = "atriz_realtime"


@attrs.frozen
class Scope:
    """A part of the package, and its tests.

    :param paths: its files and folders.
    :param near: tests of the part alone.
    :param far: tests of servers that contain it.
    """

    paths: tuple[str, ...]
    near: tuple[str, ...]
    far: tuple[str, ...]


THROUGH_A_SERVER = ("tests/hooks", "tests/e2e", "tests/security")

SCOPES = {
    "hub": Scope(("core/hub",), ("tests/core",), THROUGH_A_SERVER),
    "publish": Scope(("core/publish",), ("tests/core",), THROUGH_A_SERVER),
    "access": Scope(("core/access",), ("tests/core",), THROUGH_A_SERVER),
    "clients": Scope(("core/clients",), ("tests/core",), THROUGH_A_SERVER),
    "engine": Scope(
        ("engine",),
        ("tests/engine",),
        (
            "tests/http",
            "tests/e2e",
            "tests/cli/serving",
            "tests/security/test_edge.py",
            "tests/security/test_limits.py",
        ),
    ),
    "jwt": Scope(
        ("defaults/jwt_auth",),
        ("tests/defaults/test_jwt_auth.py", "tests/contracts/test_jwt_auth.py"),
        ("tests/security", "tests/cli/test_token.py", "tests/cli/test_check.py"),
    ),
    "redis": Scope(
        ("defaults/redis", "redis_link"),
        (
            "tests/defaults/test_redis.py",
            "tests/defaults/test_redis_cluster.py",
            "tests/redis_link",
            "tests/contracts/test_redis.py",
            "tests/contracts/test_same_answers.py",
        ),
        (
            "tests/e2e/test_redis.py",
            "tests/e2e/test_redis_refusals.py",
            "tests/operate/test_redis.py",
            "tests/simulation/test_model.py",
        ),
    ),
}


def files(scope: Scope, root: Path) -> list[str]:
    """The Python files of a scope, from the root of the tree."""
    folders = [root / PACKAGE / path for path in scope.paths]
    return sorted(
        file.relative_to(root).as_posix() for folder in folders for file in folder.rglob("*.py")
    )


def stages(scope: Scope, path: str, root: Path) -> list[tuple[str, ...]]:
    """The paths to give to pytest for a mutant, one call after the other."""
    module = Path(path).relative_to(PACKAGE)
    own = Path("tests") / module.with_name(f"test_{module.stem}.py")
    first = [(own.as_posix(),)] if (root / own).exists() else []
    return [*first, scope.near, scope.far]

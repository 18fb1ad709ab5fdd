"""Several workers of a host's own server: known where it says so, and nowhere else."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import ModuleType, SimpleNamespace

import pytest

from atriz_realtime.core.runtime.processes import workers
from tests.cli.processes import Command, environment, own_uvicorn, serve, started

WARNING = "workers in memory: this is one of 2 processes that serve one port without a Redis"


def test_a_process_of_its_own_has_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")  # for whoever starts processes
    assert workers() == 1


@asynccontextmanager
async def on_uvicorn(
    *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Command]:
    """Run a server with plain uvicorn, until its workers have ended too."""
    async with own_uvicorn(*arguments, env=env) as served:
        try:
            yield served.command
        finally:
            await served.command.ended(signal.SIGTERM)


@asynccontextmanager
async def on_hypercorn(*arguments: str) -> AsyncIterator[Command]:
    """Run a server with hypercorn, until its workers have ended too."""
    application = ("atriz_realtime.asgi:create_app()", "--bind", "127.0.0.1:0")
    program = (sys.executable, "-m", "hypercorn")
    async with started(*application, *arguments, program=program) as command:
        try:
            yield command
        finally:
            await command.ended(signal.SIGTERM)


async def test_several_workers_of_uvicorn_warn_without_redis() -> None:
    async with on_uvicorn("--workers", "2") as command:
        assert WARNING in await command.until_said("workers in memory")


async def test_uvicorn_may_be_told_of_workers_by_the_environment() -> None:
    async with on_uvicorn(env=environment(WEB_CONCURRENCY="2")) as command:
        assert WARNING in await command.until_said("workers in memory")


async def test_several_workers_of_hypercorn_warn_without_redis() -> None:
    async with on_hypercorn("--workers", "2") as command:
        assert WARNING in await command.until_said("workers in memory")


@pytest.mark.parametrize(
    ("arguments", "concurrency"),
    [([], None), (["--workers", "1"], "2"), (["--reload"], "2")],
    ids=["one", "one of its own", "reloaded"],
)
async def test_one_worker_does_not_warn(arguments: list[str], concurrency: str | None) -> None:
    async with on_uvicorn(*arguments, env=environment(WEB_CONCURRENCY=concurrency)) as command:
        await command.until_said("Application startup complete")
    assert "workers in memory" not in "".join(command.err)


async def test_several_workers_with_a_redis_warn_of_polling_alone(redis_url: str) -> None:
    env = environment(REDIS_URL=redis_url)
    async with on_uvicorn("--workers", "2", env=env) as command:
        said = await command.until_said("long polling fails with 2 workers")
        await command.until_said("Application startup complete")
    assert "['websocket']" in said
    assert "workers in memory" not in "".join(command.err)


async def test_the_own_workers_do_not_warn_of_polling(redis_url: str) -> None:
    async with serve("--workers", "2", env=environment(REDIS_URL=redis_url)) as served:
        await served.command.until_said('"event": "workers ready"')
        await served.command.ended(signal.SIGTERM)
    assert "long polling fails" not in "".join(served.command.err)


@pytest.mark.parametrize(("forked", "count"), [([], 1), ([1], 1), ([2], 2), ([3, 3], 3)])
def test_a_worker_of_gunicorn_knows_of_those_before_it(
    monkeypatch: pytest.MonkeyPatch, forked: list[int], count: int
) -> None:
    known = {pid: SimpleNamespace(cfg=SimpleNamespace(workers=n)) for pid, n in enumerate(forked)}
    module = ModuleType("gunicorn.arbiter")
    monkeypatch.setattr(module, "Arbiter", SimpleNamespace(WORKERS=known), raising=False)
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", module)
    assert workers() == count

"""Reports that workers exchange over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from atriz_realtime import RealtimeServer
from atriz_realtime.asgi import create_app
from atriz_realtime.cli.serving.reports import WorkerReports
from atriz_realtime.core.runtime.statistics import Reports
from atriz_realtime.testing import config, serving
from tests.support.plugins.files import Plugins, plugins_in


@pytest.fixture
def plugins(tmp_path: Path) -> Iterator[Plugins]:
    with plugins_in(tmp_path) as plugins:
        yield plugins


@asynccontextmanager
async def worker(number: int, directory: Path) -> AsyncIterator[Reports]:
    """The reports of a worker without clients, one of whose plugins has failed."""
    exchange = WorkerReports(directory, number)
    app = create_app(config(), worker=number, other_reports=exchange.others)
    server: RealtimeServer = app.state.realtime
    server.incidents.plugin_problem("shop", "failed", "filter 'x'")
    async with exchange.answering(server.reports.own):
        yield server.reports


def sockets_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_each_worker_has_the_reports_of_all(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker(number, tmp_path)) for number in range(3)]
        for each in workers:
            assert [report.worker for report in await each.all()] == [0, 1, 2]
        own = workers[1].own()
        (same,) = [report for report in await workers[2].all() if report.worker == 1]
        assert same.started_at == own.started_at
        assert same.deaths == own.deaths == 0
        assert same.statistics == own.statistics
        assert same.incidents == {"plugin shop failed": 1}
        ((_, labels, count),) = same.labelled_incidents
        assert (labels, count) == ({"plugin": "shop", "problem": "failed"}, 1)
        assert 0 < same.cpu <= time.process_time()
        assert same.memory > 1_000_000
    assert not sockets_in(tmp_path)


async def test_a_worker_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(os.fspath(tmp_path / "report-1.sock"))

    async def another(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"worker":2,"of":"another version"}')
        writer.close()

    other = await asyncio.start_unix_server(another, tmp_path / "report-2.sock")
    async with worker(0, tmp_path) as here:
        assert [report.worker for report in await here.all()] == [0]
    other.close()


async def test_a_socket_left_by_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "report-0.sock").touch()
    async with worker(0, tmp_path), worker(1, tmp_path) as there:
        assert [report.worker for report in await there.all()] == [0, 1]


async def test_plugins_can_ask_for_reports(plugins: Plugins) -> None:
    name = plugins.module(
        "asking",
        """
        from starlette.responses import JSONResponse
        from starlette.routing import Route

        @hookimpl
        def register_routes(server):
            async def ask(request):
                (report,) = await server.reports()
                return JSONResponse([report.worker, report.connected, dict(report.incidents)])
            return Route("/ask", ask)
        """,
    )
    async with serving(extra_plugins=[name]) as live:
        assert await live.get("/ask") == (200, [0, True, {}])

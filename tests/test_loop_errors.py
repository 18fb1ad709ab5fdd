"""An exception that ends in an event loop fails the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

CONFTEST = """
from tests.support.checks import loop_errors

def pytest_configure(config):
    loop_errors.watch(config)
"""

TESTS = """
import asyncio
import threading

from tests.support.checks.loop_errors import LOOP_ERRORS

def fails(*_):
    raise LookupError("nobody sees it")

async def work():
    fails()

async def test_a_callback():
    asyncio.get_running_loop().call_soon(fails)
    await asyncio.sleep(0)

async def test_a_callback_of_a_future():
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(fails)
    future.set_result(None)
    await asyncio.sleep(0)

async def test_a_task_that_is_not_retrieved():
    task = asyncio.create_task(work())
    await asyncio.sleep(0)

async def test_a_task_in_a_cycle():
    task = asyncio.create_task(work())
    task.add_done_callback(lambda _, cycle=[task]: None)
    cycle = [task]
    cycle.append(cycle)
    await asyncio.sleep(0)

def test_a_loop_of_its_own_in_a_thread():
    thread = threading.Thread(target=asyncio.run, args=(test_a_callback(),))
    thread.start()
    thread.join()

async def test_a_task_that_is_retrieved():
    await asyncio.gather(work(), return_exceptions=True)

async def test_that_expects_it():
    await test_a_callback()
    assert "nobody sees it" in LOOP_ERRORS.take()[0]
"""


def test_an_exception_that_nobody_sees_fails_the_test(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rE", "--tb=no", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("ERROR")]
    assert failed == [
        "test_it.py::test_a_callback",
        "test_it.py::test_a_callback_of_a_future",
        "test_it.py::test_a_task_that_is_not_retrieved",
        "test_it.py::test_a_task_in_a_cycle",
        "test_it.py::test_a_loop_of_its_own_in_a_thread",
    ], done.stdout
    assert "7 passed, 5 errors" in done.stdout

"""The tests of the package."""

from importlib.util import find_spec

if find_spec("pytest"):  # tests/run.py starts without it
    import pytest

    pytest.register_assert_rewrite("atriz_realtime.testing")

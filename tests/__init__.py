"""The tests of the package."""

import pytest

pytest.register_assert_rewrite("atriz_realtime.testing")

"""The process that fuzzes one target: ``python -m tests.fuzz.worker TARGET [option…]``.

The options are libFuzzer's.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["atriz_realtime", "jwt", "socketio.packet"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()

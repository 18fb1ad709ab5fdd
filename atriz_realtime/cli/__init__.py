"""The command line, ``atriz-realtime``: one module a command, none loaded before it is needed."""

from atriz_realtime.cli.program import main

__all__ = ["main"]

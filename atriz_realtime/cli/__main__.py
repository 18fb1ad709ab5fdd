"""The console script ``atriz-realtime``, and ``python -m atriz_realtime.cli``."""

from __future__ import annotations

import sys

from atriz_realtime.api.extras import install_hint


def main() -> None:
    """Run the command line, or say what to install when its libraries are missing."""
    try:
        from atriz_realtime.cli import main as cli  # noqa: PLC0415  # it needs the extra
    except ModuleNotFoundError as error:
        extra = "serve" if {"serve", "demo"}.intersection(sys.argv) else "cli"
        sys.exit(f"error: atriz-realtime needs {error.name}: {install_hint(extra)}")
    cli.main()


if __name__ == "__main__":
    main()

"""``python -m atriz_realtime.cli``."""

from atriz_realtime.cli.program import main

main()

"""``python -m atriz_realtime.cli``."""

from atriz_realtime.cli.main import main

main()

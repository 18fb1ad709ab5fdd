"""``serve --workers N``: several processes on one port, over one Redis."""

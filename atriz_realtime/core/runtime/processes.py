"""How many processes serve the application, as far as the program that started them says."""

from __future__ import annotations

import multiprocessing
import sys


def workers() -> int:
    """The number of workers of uvicorn, hypercorn or gunicorn that this process is one of; else 1.

    The first two start their workers with multiprocessing, and give each its configuration.
    gunicorn forks: a worker knows of those that were forked before it, and the first of none.
    """
    config = getattr(multiprocessing.current_process(), "_kwargs", {}).get("config")
    if type(config).__module__.partition(".")[0] in ("uvicorn", "hypercorn"):
        is_reloaded = getattr(config, "reload", False)  # uvicorn then starts only one
        return 1 if is_reloaded else getattr(config, "workers", 1)
    arbiter = getattr(sys.modules.get("gunicorn.arbiter"), "Arbiter", None)
    others = getattr(arbiter, "WORKERS", {}).values()
    return max((worker.cfg.workers for worker in others), default=1)

"""The metrics of one server process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import attrs

VERSION = version("atriz-realtime")
"""The version that this process runs: another may be installed by now."""


@attrs.frozen(kw_only=True)
class ProcessReport:
    """The numbers of one process at one moment."""

    worker: int
    """Its number among those that serve one port together; 0 when it is alone."""
    started_at: float
    """When it was started, in seconds since the epoch."""
    cpu: float
    """Seconds of processor time that it has used."""
    memory: float
    """Bytes of memory that it holds; 0 where the system does not say."""
    connections: int
    """Sockets connected to it."""
    rooms: int
    """Rooms with a member on it, each socket's own room included."""
    connected: bool
    """Whether no backend of it is away."""
    statistics: Mapping[str, Mapping[str, float]]
    """The numbers of each part that has some, by its name and theirs."""
    incidents: Mapping[str, int]
    """How often each kind of failure was survived since the start."""
    labelled_incidents: Sequence[tuple[str, Mapping[str, str], int]] = ()
    """The same counts as (kind, labels, count): the labels are values for the placeholders in
    ``kind``, such as ``{plugin}``; most kinds have none."""
    failed_tasks: Sequence[Mapping[str, str]] = ()
    """See :attr:`ServerHandle.failed_tasks`."""
    deaths: int = 0
    """How often the worker of this number has died since its parent started; 0 without
    ``--workers``."""
    hangs: int = 0
    """How many of these deaths were its parent's doing, because its event loop stood still."""
    workers: int = 1
    """How many workers were started to serve the port together."""
    open_files: int = 0
    """Files and connections that it has open; 0 where the system does not say."""
    max_open_files: int = 0
    """How many it may have open; 0 where the system does not say."""
    version: str = VERSION
    """The version of the package that it runs."""

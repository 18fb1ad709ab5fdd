"""Libraries that only some options need, and that extras of the package install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from atriz_realtime.api import ConfigurationError, install_hint


@contextmanager
def extra(name: str, user: str) -> Iterator[None]:
    """Import a library of an extra within this block.

    :param name: the extra that installs it.
    :param user: the plugin or setting that needs it.
    :raises ConfigurationError: when it is missing, saying what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{user} needs {error.name}: {install_hint(name)}") from error

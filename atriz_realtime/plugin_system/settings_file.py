"""Says which configuration file a server has read, and warns when a missing one leaves it open.

A service that is deployed without its file starts without the authorization and the privacy that
the file configures.  Nothing else would show that.
"""

from __future__ import annotations

import logging
from pathlib import Path

from atriz_realtime.plugin_system.config import LoadedConfig, RealtimeConfig, load_config
from atriz_realtime.plugin_system.registry import Registry
from atriz_realtime.plugin_system.sources import FILE_VARIABLE

logger = logging.getLogger("atriz_realtime")


def loaded(config: RealtimeConfig | None) -> LoadedConfig:
    """The configuration that was made in code; ``None``: read from the file and environment."""
    return load_config() if config is None else LoadedConfig(config)


def described(loaded: LoadedConfig) -> str:
    """Which file was read, or that there is none."""
    if loaded.file is None:
        return "made in code"
    if loaded.file.path is not None:
        return str(loaded.file.path.absolute())
    if loaded.file.searched is not None:
        return f"no atriz.toml in {loaded.file.searched}"
    return f"{FILE_VARIABLE}=none"


def missing_in(loaded: LoadedConfig, registry: Registry) -> Path | None:
    """The folder in which a file was expected, if nothing limits what users may do without it.

    Plugins that are configured elsewhere, and authorizers, show that it is meant.
    """
    file = loaded.file
    if file is None or loaded.config.plugins or registry.authorizers:
        return None
    return file.searched


def warn(loaded: LoadedConfig, registry: Registry) -> None:
    """Log which file was read, unless the configuration was made in code; warn of a missing one."""
    folder = missing_in(loaded, registry)
    if folder is not None:
        logger.warning(
            "no atriz.toml in %s: every user may track and publish everything; "
            "set ATRIZ_REALTIME_CONFIG to the path of the file, or to none if that is meant",
            folder,
        )
    elif loaded.file is not None:
        logger.info("settings: %s", described(loaded))

"""An Engine.IO v4 server."""

from atriz_realtime.engine.server import EngineServer

__all__ = ["EngineServer"]

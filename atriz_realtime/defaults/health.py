"""The documented health report."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atriz_realtime.api import VERSION, ServerHandle, Unavailable, hookimpl, tracking_stats


@hookimpl
def register_routes(server: ServerHandle) -> Route:
    """Register ``/health/realtime``."""

    async def health(_: Request) -> Response:
        reason = ""
        try:
            tracking = tracking_stats(await server.tracking.counts())
        except Unavailable as error:  # Redis is away, or refuses to count
            reason, tracking = error.message, tracking_stats({})
        status = server.status()
        healthy = status.state != "disconnected" and not status.detail and not reason
        report: dict[str, Any] = {
            "status": "healthy" if healthy else "degraded",
            "version": VERSION,
            "websocket": {"connections": server.sockets.connections, "rooms": server.sockets.rooms},
            "tracking": tracking,
            "redis": status.state,
        }
        if not healthy:
            report["reason"] = status.detail or reason
        report["statistics"] = server.statistics()
        incidents = server.incidents()
        if incidents:
            report["incidents"] = dict(incidents)
        failed_tasks = server.failed_tasks()
        if failed_tasks:  # no reason to be degraded: positions do not wait for them
            report["failedTasks"] = list(failed_tasks)
        return JSONResponse(report, 200 if healthy else Unavailable.status)

    return Route("/health/realtime", health, methods=["GET"])

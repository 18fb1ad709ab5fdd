"""The peer: plain python-socketio with its own Redis manager, as its documentation has it.

It offers what the benchmarks use: ``track:vehicle`` and ``POST /api/tracking/location``
with a JWT.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import jwt
import socketio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SECRET = os.environ["JWT_SECRET"]

sio = socketio.AsyncServer(
    async_mode="asgi", client_manager=socketio.AsyncRedisManager(os.environ["REDIS_URL"])
)


async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
    jwt.decode(auth["token"], SECRET, ["HS256"])


async def track(sid: str, ids: str | list[str]) -> dict[str, bool]:
    for entity_id in [ids] if isinstance(ids, str) else ids:
        await sio.enter_room(sid, f"vehicle:{entity_id}")
    return {"success": True}


async def publish(request: Request) -> Response:
    claims = jwt.decode(request.headers["authorization"].removeprefix("Bearer "), SECRET, ["HS256"])
    fields = await request.json()
    entity_id = fields.pop("vehicleId")
    location = {
        "deviceId": entity_id,
        "userId": claims["userId"],
        **fields,
        "timestamp": datetime.now(UTC).isoformat(),
    }
    event = {"type": "vehicle", "entityId": entity_id, "location": location}
    await sio.emit("location:update", event, room=f"vehicle:{entity_id}")
    return JSONResponse({"success": True})


sio.on("connect", connect)
sio.on("track:vehicle", track)
app = socketio.ASGIApp(
    sio, Starlette(routes=[Route("/api/tracking/location", publish, methods=["POST"])])
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="error", access_log=False)

"""The peer: plain python-socketio with its own Redis manager, as its documentation shows.

It has what the benchmarks use: ``authenticate``, ``track:vehicle`` with current locations from
Redis, and ``POST /api/tracking/location`` with a JWT.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import jwt
import socketio
import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SECRET, REDIS_URL = os.environ["JWT_SECRET"], os.environ["REDIS_URL"]
EXPIRY = 300

redis = Redis.from_url(REDIS_URL)

sio = socketio.AsyncServer(async_mode="asgi", client_manager=socketio.AsyncRedisManager(REDIS_URL))


async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
    jwt.decode(auth["token"], SECRET, ["HS256"])


async def authenticate(sid: str, token: str) -> None:
    try:
        jwt.decode(token, SECRET, ["HS256"])
    except jwt.InvalidTokenError:
        await sio.emit("authenticated", {"success": False, "message": "Authentication failed"}, sid)
        await sio.disconnect(sid)
    else:
        await sio.emit("authenticated", {"success": True}, sid)


async def track(sid: str, tracked: str | list[str]) -> dict[str, bool]:
    ids = [tracked] if isinstance(tracked, str) else tracked
    for entity_id in ids:
        await sio.enter_room(sid, f"vehicle:{entity_id}")
    cached = await redis.mget([f"location:current:vehicle:{entity_id}" for entity_id in ids])
    for entity_id, location in zip(ids, cached, strict=True):
        if location is not None:
            event = {"type": "vehicle", "entityId": entity_id, "location": json.loads(location)}
            await sio.emit("location:update", event, sid)
    return {"success": True}


async def publish(request: Request) -> Response:
    claims = jwt.decode(request.headers["authorization"].removeprefix("Bearer "), SECRET, ["HS256"])
    fields = await request.json()
    entity_id = fields.pop("vehicleId")
    location = {
        "deviceId": entity_id,
        "userId": claims["userId"],
        **fields,
    }
    if not (-90 <= location["latitude"] <= 90 and -180 <= location["longitude"] <= 180):
        return JSONResponse({"success": False, "code": "invalid_location"}, 422)
    event = {"type": "vehicle", "entityId": entity_id, "location": location}
    published = redis.publish(f"tracking:vehicle:{entity_id}", json.dumps(event))
    cached = redis.set(f"location:current:vehicle:{entity_id}", json.dumps(location), ex=EXPIRY)
    sent = sio.emit("location:update", event, room=f"vehicle:{entity_id}")
    await asyncio.gather(published, cached, sent)
    return JSONResponse(
        {"success": True, "timestamp": location["timestamp"], "message": "Location updated"}
    )


sio.on("connect", connect)
sio.on("authenticate", authenticate)
sio.on("track:vehicle", track)
app = socketio.ASGIApp(
    sio, Starlette(routes=[Route("/api/tracking/location", publish, methods=["POST"])])
)

if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(os.environ["PORT"]),
        log_level="error",
        access_log=False,
        ws_per_message_deflate=False,
    )

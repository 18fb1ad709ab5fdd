// The service of both Socket.IO peers.  As the documented package does, it checks a JWT at the
// handshake, in `authenticate` and on every POST, validates the fields, publishes the event on the
// entity's Redis channel, stores the current location in Redis, and emits to the entity's room
// through the adapter.  A socket that tracks entities is sent their current locations.

import { createAdapter } from '@socket.io/redis-adapter';
import { Redis } from 'ioredis';
import jwt from 'jsonwebtoken';
import { Server } from 'socket.io';

const { JWT_SECRET, REDIS_URL } = process.env;
const EXPIRY = 300;

export const PUBLISH = '/api/tracking/location';
export const PORT = Number(process.env.PORT);

const redis = new Redis(REDIS_URL);

export const io = new Server({
  adapter: createAdapter(redis, new Redis(REDIS_URL)),
  perMessageDeflate: false,
});

const userOf = (token) => jwt.verify(token, JWT_SECRET, { algorithms: ['HS256'] }).userId;

io.use((socket, next) => {
  try {
    socket.data.userId = userOf(socket.handshake.auth.token);
    next();
  } catch {
    next(new Error('Authentication failed'));
  }
});

io.on('connection', (socket) => {
  socket.join(`user:${socket.data.userId}`);
  socket.on('authenticate', (token) => {
    try {
      socket.data.userId = userOf(token);
      socket.emit('authenticated', { success: true });
    } catch {
      socket.emit('authenticated', { success: false, message: 'Authentication failed' });
      socket.disconnect();
    }
  });
  socket.on('track:vehicle', async (tracked, answer) => {
    const ids = [tracked].flat();
    socket.join(ids.map((id) => `vehicle:${id}`));
    const cached = await redis.mget(ids.map((id) => `location:current:vehicle:${id}`));
    cached.forEach((location, number) => {
      if (location === null) return;
      const event = { type: 'vehicle', entityId: ids[number], location: JSON.parse(location) };
      socket.emit('location:update', event);
    });
    answer?.({ success: true });
  });
});

const between = (value, low, high) => typeof value === 'number' && value >= low && value <= high;
const isId = (value) => typeof value === 'string' && value.length > 0 && value.length <= 256;

// Whether the fields of a location are as the documentation requires.
const isValid = (location) => isId(location.deviceId) && isId(location.userId)
  && between(location.latitude, -90, 90) && between(location.longitude, -180, 180)
  && (location.speed === undefined || between(location.speed, 0, Infinity))
  && (location.heading === undefined || between(location.heading, 0, 360))
  && (location.accuracy === undefined || between(location.accuracy, 0, Infinity))
  && !Number.isNaN(Date.parse(location.timestamp));

// Returns the status and the answer to a POST.
export async function publish(authorization, body) {
  let userId;
  try {
    userId = userOf(authorization.slice('Bearer '.length));
  } catch {
    return [401, { success: false, code: 'not_authenticated' }];
  }
  const { vehicleId, ...fields } = JSON.parse(body);
  const location = { deviceId: vehicleId, userId, ...fields };
  if (!isValid(location)) return [422, { success: false, code: 'invalid_location' }];
  const event = { type: 'vehicle', entityId: vehicleId, location };
  const sent = [
    redis.publish(`tracking:vehicle:${vehicleId}`, JSON.stringify(event)),
    redis.set(`location:current:vehicle:${vehicleId}`, JSON.stringify(location), 'EX', EXPIRY),
  ];
  io.to(`vehicle:${vehicleId}`).emit('location:update', event);
  await Promise.all(sent);
  return [200, { success: true, timestamp: location.timestamp, message: 'Location updated' }];
}

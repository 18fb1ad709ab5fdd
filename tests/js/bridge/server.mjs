// A server like the TypeScript package's: socket.io, @socket.io/redis-adapter and ioredis.
//
//   node server.mjs classic|sharded <redis url> <jwt secret>
//
// Driven over standard input and output, one JSON object a line; the first line out is
// {"port": …}.  A line in is {"id": 1, "do": "publish", "args": […]}, its answer
// {"id": 1, "result": …} or {"id": 1, "error": "<message>"}.  What another server emits
// to servers is reported as {"serverSide": […]}.  The process ends at the end of input.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';
import { Redis } from 'ioredis';
import jwt from 'jsonwebtoken';
import { Server } from 'socket.io';

const [kind, redisUrl, secret] = process.argv.slice(2);
const redis = new Redis(redisUrl);
const [pub, sub] = [redis.duplicate(), redis.duplicate()];
const makeAdapter = { classic: createAdapter, sharded: createShardedAdapter }[kind];
const http = createServer();
const io = new Server(http, { adapter: makeAdapter(pub, sub) });

const report = (line) => process.stdout.write(JSON.stringify(line) + '\n');

function authenticate(socket, token) {
  const { userId } = jwt.verify(token, secret);
  socket.data.userId = userId;
  socket.join([`user:${userId}`, 'authenticated']);
}

io.on('connection', (socket) => {
  socket.on('authenticate', (token) => {
    try {
      authenticate(socket, token);
      socket.emit('authenticated', { success: true });
    } catch {
      socket.emit('authenticated', { success: false, message: 'Authentication failed' });
      socket.disconnect();
    }
  });
  for (const type of ['vehicle', 'delivery']) {
    socket.on(`track:${type}`, async (id, done) => {
      if (!socket.data.userId) return socket.emit('error', 'Not authenticated');
      await socket.join(`${type}:${id}`);
      done?.({ success: true });
    });
    socket.on(`untrack:${type}`, (id) => socket.leave(`${type}:${id}`));
  }
  if (socket.handshake.auth.token) authenticate(socket, socket.handshake.auth.token);
});
io.on('told', (...args) => {
  const answer = typeof args.at(-1) === 'function' ? args.pop() : undefined;
  report({ serverSide: args });
  answer?.('heard');
});

// Binary comes in as {"$bytes": "<base64>"}, a Date as {"$date": "<ISO 8601>"}, and NaN, which
// has no JSON form, as {"$nan": true}.
const revive = (_, value) => {
  if (value?.$bytes !== undefined) return Buffer.from(value.$bytes, 'base64');
  if (value?.$date !== undefined) return new Date(value.$date);
  return value?.$nan ? NaN : value;
};

function target({ rooms = [], except = [], flags = {} }) {
  let operator = io.to(rooms).except(except);
  if (flags.local) operator = operator.local;
  if (flags.volatile) operator = operator.volatile;
  return operator;
}

const event = (type, entityId, location) => ({ type, entityId, location });

const commands = {
  async publish(type, id, location) {
    const update = event(type, id, location);
    await redis.setex(`location:current:${type}:${id}`, 300, JSON.stringify(location));
    await redis.publish(`tracking:${type}:${id}`, JSON.stringify(update));
    io.to(`${type}:${id}`).emit('location:update', update);
  },
  // The same without awaiting: over two connections, in no defined order.
  publishAtOnce(type, id, locations) {
    for (const location of locations) {
      const update = event(type, id, location);
      io.to(`${type}:${id}`).emit('location:update', update);
      redis.publish(`tracking:${type}:${id}`, JSON.stringify(update));
    }
  },
  emitLocationUpdate: (room, data) => void io.to(room).emit('location:update', data),
  sendToUser: (user, name, data) => void io.to(`user:${user}`).emit(name, data),
  broadcastToAuthenticated: (name, data) => void io.to('authenticated').emit(name, data),
  emit: (options, name, ...args) => void target(options).emit(name, ...args),
  emitInNamespace: (name, ...args) => void io.of('/other').emit(name, ...args),
  emitWithAck: (name, ...args) => io.timeout(3000).emitWithAck(name, ...args),
  fetchSockets: async (options) =>
    (await target(options).fetchSockets()).map(({ id, rooms }) => ({ id, rooms: [...rooms] })),
  allRooms: async () => [...(await io.of('/').adapter.allRooms())],
  allSockets: () => io.of('/').adapter.serverCount(),
  socketsJoin: (options, rooms) => void target(options).socketsJoin(rooms),
  socketsLeave: (options, rooms) => void target(options).socketsLeave(rooms),
  disconnectSockets: (options, close) => void target(options).disconnectSockets(close),
  serverSideEmit: (...args) => void io.serverSideEmit('told', ...args),
  serverSideEmitWithAck: (...args) => io.serverSideEmitWithAck('told', ...args),
};

const lines = createInterface({ input: process.stdin });
lines.on('line', async (line) => {
  const { id, do: name, args } = JSON.parse(line, revive);
  try {
    report({ id, result: (await commands[name](...args)) ?? null });
  } catch (error) {
    report({ id, error: error.message });
  }
});
lines.on('close', async () => {
  await io.close();
  for (const client of [redis, pub, sub]) client.disconnect();
  process.exit(); // even with commands pending
});

await Promise.all([redis.ping(), pub.ping()]);
http.listen(0, '127.0.0.1', () => report({ port: http.address().port }));

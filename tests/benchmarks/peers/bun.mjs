// Socket.IO on Bun, with its own Engine.IO server.

import { Server as Engine } from '@socket.io/bun-engine';

import { io, PORT, publish, PUBLISH } from './service.mjs';

const engine = new Engine({ path: '/socket.io/' });
io.bind(engine);
const handler = engine.handler();

Bun.serve({
  ...handler,
  port: PORT,
  hostname: '127.0.0.1',
  async fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (pathname === PUBLISH) {
      const authorization = request.headers.get('authorization');
      const [status, answer] = await publish(authorization, await request.text());
      return Response.json(answer, { status });
    }
    if (!pathname.startsWith('/socket.io/')) return new Response(null, { status: 404 });
    return handler.fetch(request, server);
  },
});

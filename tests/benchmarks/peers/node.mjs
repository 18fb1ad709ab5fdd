// Socket.IO on Node.

import { createServer } from 'node:http';

import { io, PORT, publish, PUBLISH } from './service.mjs';

const server = createServer((request, response) => {
  if (request.url !== PUBLISH) {
    if (!request.url.startsWith('/socket.io/')) response.writeHead(404).end();
    return;
  }
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', async () => {
    const [status, answer] = await publish(request.headers.authorization, Buffer.concat(chunks));
    const body = JSON.stringify(answer);
    response.writeHead(status, {
      'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body),
    });
    response.end(body);
  });
});

io.attach(server);
server.listen(PORT, '127.0.0.1');

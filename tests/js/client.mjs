// The real socket.io-client, driven over standard input and output by tests/support/node.py.
//
// Each line in is a command, each line out a report, both JSON:
//   {"do": "connect", "socket": 1, "url": "http://…", "options": {…}}
//   {"do": "emit", "socket": 1, "event": "…", "args": […], "ack": 7}   ack: wanted, and its number
//   {"do": "disconnect", "socket": 1}
//   {"socket": 1, "transport": "polling"}        opened with, and upgraded to
//   {"socket": 1, "connect": "<id>"}
//   {"socket": 1, "connect_error": "<message>", "data": …}
//   {"socket": 1, "event": "…", "args": […]}     an argument that JSON has no form for is null
//   {"socket": 1, "ack": 7, "args": […]}
//   {"socket": 1, "disconnect": "<reason>"}
// When the server asks for an acknowledgement, it gets the event's own arguments back.
// End of input closes every socket and ends the process.

import { createInterface } from 'node:readline';

import { io } from 'socket.io-client';

const sockets = new Map();

function report(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

function connect({ socket: number, url, options }) {
  const socket = io(url, { forceNew: true, reconnection: false, ...options });
  sockets.set(number, socket);
  socket.io.engine.on('open', () => {
    report({ socket: number, transport: socket.io.engine.transport.name });
  });
  socket.io.engine.on('upgrade', ({ name }) => report({ socket: number, transport: name }));
  socket.on('connect', () => report({ socket: number, connect: socket.id }));
  socket.on('connect_error', (error) => {
    report({ socket: number, connect_error: error.message, data: error.data });
  });
  socket.on('disconnect', (reason) => report({ socket: number, disconnect: reason }));
  socket.onAny((event, ...args) => {
    const answer = typeof args.at(-1) === 'function' ? args.pop() : undefined;
    report({ socket: number, event, args });
    answer?.(...args);
  });
}

function emit({ socket: number, event, args, ack }) {
  const answered = (...answers) => report({ socket: number, ack, args: answers });
  sockets.get(number).emit(event, ...args, ...(ack === undefined ? [] : [answered]));
}

const commands = {
  connect,
  emit,
  disconnect: ({ socket }) => sockets.get(socket).disconnect(),
};

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
lines.on('close', () => {
  for (const socket of sockets.values()) socket.disconnect();
});

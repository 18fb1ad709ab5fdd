// The real socket.io-client, driven over TCP by tests/support/clients/node.py: prints the port that it listens on.
//
// Each connection has its own sockets, which are closed with it.  Each line in is a command, each line out
// a report, both JSON:
//   {"do": "connect", "socket": 1, "url": "http://…", "options": {…}}
//   {"do": "emit", "socket": 1, "event": "…", "args": […], "ack": 7}   ack: the number of the wanted acknowledgement
//   {"do": "disconnect", "socket": 1}
//   {"socket": 1, "transport": "polling"}        the first transport, then the upgraded one
//   {"socket": 1, "connect": "<id>"}
//   {"socket": 1, "connect_error": "<message>", "data": …}
//   {"socket": 1, "event": "…", "args": […]}     an argument without a JSON form is null
//   {"socket": 1, "ack": 7, "args": […]}
//   {"socket": 1, "disconnect": "<reason>"}
//   {"socket": 1, "closed": true}                after the command: the socket has nothing left to send
// Acknowledgements that the server asks for are the arguments of the event.
// The process ends at the end of input, even if sockets are open.

import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

import { io } from 'socket.io-client';

function drive(connection) {
  const sockets = new Map();

  function report(line) {
    connection.write(JSON.stringify(line) + '\n');
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

  // A socket is disconnected before its packets are sent and an upgrade in progress is complete.  Then the
  // connection is closing, unless another socket shares it.
  function disconnect({ socket: number }) {
    const socket = sockets.get(number);
    const { engine } = socket.io;
    const closed = () => report({ socket: number, closed: true });
    socket.disconnect();
    if (engine.readyState === 'closing') engine.once('close', closed);
    else closed();
  }

  const commands = { connect, emit, disconnect };

  connection.on('error', () => {}); // the test has disconnected
  const lines = createInterface({ input: connection });
  lines.on('line', (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
  });
  lines.on('close', () => sockets.forEach((socket) => socket.disconnect()));
}

const server = createServer(drive);
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit()).resume();

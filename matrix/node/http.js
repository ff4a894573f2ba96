// Node's `http` and `https`: `server.close()` stops accepting and ends idle connections, `closeIdleConnections()` those
// that become idle later, `closeAllConnections()` what is left when patience ends. WebSockets by the package `ws`.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { WebSocketServer } = require('ws');
const { answer, patience } = require('./app.js');

const servers = [http.createServer(answer)];
servers[0].listen(Number(process.env.PORT), '127.0.0.1');
if (process.env.TLS_PORT) {
  const key = fs.readFileSync(process.env.TLS_KEY);
  const cert = fs.readFileSync(process.env.TLS_CERT);
  servers.push(https.createServer({ key, cert }, answer));
  servers[1].listen(Number(process.env.TLS_PORT), '127.0.0.1');
}
const sockets = new WebSocketServer({ server: servers[0], path: '/ws', maxPayload: 16 << 20 });
sockets.on('connection', (socket) => {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
  socket.on('error', () => {});
});

let leaving = false;
let forced = false;
function leave() {
  if (leaving) return;
  leaving = true;
  let open = servers.length;
  for (const server of servers) {
    server.close(() => {
      open -= 1;
      if (open === 0) process.exit(forced ? 1 : 0);
    });
  }
  for (const socket of sockets.clients) socket.close(1001);
  setInterval(() => servers.forEach((server) => server.closeIdleConnections()), 100).unref();
  setTimeout(() => {
    forced = true;
    servers.forEach((server) => server.closeAllConnections());
    for (const socket of sockets.clients) socket.terminate();
    setTimeout(() => process.exit(1), 100);
  }, patience).unref();
}
process.on('SIGTERM', leave);
process.on('SIGINT', leave);

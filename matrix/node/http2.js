// Node's `http2`: `server.close()` stops accepting; `session.close()` sends GOAWAY and lets the streams of a session end.
// Plain text is HTTP/2 only; TLS answers HTTP/1.1 too (`allowHTTP1`).
'use strict';

const fs = require('node:fs');
const http2 = require('node:http2');
const { answer, patience } = require('./app.js');

const servers = [http2.createServer(answer)];
servers[0].listen(Number(process.env.PORT), '127.0.0.1');
if (process.env.TLS_PORT) {
  const key = fs.readFileSync(process.env.TLS_KEY);
  const cert = fs.readFileSync(process.env.TLS_CERT);
  servers.push(http2.createSecureServer({ key, cert, allowHTTP1: true }, answer));
  servers[1].listen(Number(process.env.TLS_PORT), '127.0.0.1');
}
const sessions = new Set();
for (const server of servers) {
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => {});
    if (leaving) session.close();
  });
  server.on('sessionError', () => {});
}

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
  for (const session of sessions) session.close();
  setTimeout(() => {
    forced = true;
    for (const session of sessions) session.destroy();
    setTimeout(() => process.exit(1), 100);
  }, patience).unref();
}
process.on('SIGTERM', leave);
process.on('SIGINT', leave);

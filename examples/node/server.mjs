// A small HTTP service on node:http that leaves well when it is told to stop: `node server.mjs PORT`.
//
// For WINDOW it serves on, and says `Connection: close` with every response; then it closes its listener, QUIET later the
// connections that are idle, and exits by itself when the others are done. What is left when GRACE is over is cut, and
// the exit code says so.
// With CARELESS=1 in its environment it exits at once instead, as most services do.

import http from "node:http";
import net from "node:net";

const WINDOW = 500;
const QUIET = 300;
const GRACE = 3_000;
const FORCED = 124;

let leaving = false;

// Answers when the request was read whole: only then is it known whether we are leaving, and nothing unread is left
// behind that would turn the close into a reset.
const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => answer(request, Buffer.concat(parts), response));
});

function answer(request, body, response) {
  const url = new URL(request.url, "http://localhost");
  const end = (text, status = 200) => {
    if (leaving) response.setHeader("Connection", "close");
    response.statusCode = status;
    response.end(text);
  };
  if (url.pathname === "/slow") setTimeout(end, Number(url.searchParams.get("ms") ?? 100), "slow\n");
  else if (url.pathname === "/echo" && request.method === "POST") end(body);
  else if (url.pathname === "/") end("hello\n");
  else if (url.pathname === "/readyz") end(leaving ? "leaving\n" : "ready\n", leaving ? 503 : 200);
  else end("not here\n", 404);
}

// Longer than what stands in front keeps its connections: whoever closes second loses nothing.
server.keepAliveTimeout = 75_000;

server.listen(Number(process.argv[2]), "127.0.0.1", 1024, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});

// `server.close()` would end connections whose first request is on its way, and reset what waits to be accepted. This closes
// the listener alone, when two turns of the loop found nobody waiting; idle connections follow later.
function closeListener() {
  let turns = 0;
  server.on("connection", () => (turns = 0));
  const turn = () => (++turns > 2 ? net.Server.prototype.close.call(server) : setImmediate(turn));
  turn();
  setTimeout(() => server.closeIdleConnections(), QUIET);
}

if (!process.env.CARELESS) {
  process.on("SIGTERM", () => {
    if (leaving) return;
    leaving = true;
    setTimeout(() => process.exit(FORCED), GRACE).unref();
    setTimeout(closeListener, WINDOW);
  });
}

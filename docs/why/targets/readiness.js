// The same, with a readiness page that says no at once, and two seconds for balancers to see it.
const http = require('node:http');

let leaving = false;
const server = http.createServer((request, response) => {
  if (request.url === '/ready') {
    response.writeHead(leaving ? 503 : 200);
    return response.end();
  }
  const ms = Number(new URL(request.url, 'http://localhost').searchParams.get('ms'));
  request.resume().on('end', () => setTimeout(() => response.end('hello\n'), ms));
});
server.listen(Number(process.argv[2]), '127.0.0.1', 4096);
process.once('SIGTERM', () => {
  leaving = true;
  setTimeout(() => server.close(), 2000);
});

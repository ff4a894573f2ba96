// What the documentation of Node's http recommends: close the server when told to stop.
const http = require('node:http');

const server = http.createServer((request, response) => {
  const ms = Number(new URL(request.url, 'http://localhost').searchParams.get('ms'));
  request.resume().on('end', () => setTimeout(() => response.end('hello\n'), ms));
});
server.listen(Number(process.argv[2]), '127.0.0.1', 4096);
process.once('SIGTERM', () => server.close());

// The mend of `lameduck explain H1-02 --for node`: two seconds in which every answer says `Connection: close`.
const http = require('node:http');

let leaving = false;
const server = http.createServer((request, response) => {
  const ms = Number(new URL(request.url, 'http://localhost').searchParams.get('ms'));
  request.resume().on('end', () => setTimeout(() => response.end('hello\n'), ms));
});
server.prependListener('request', (request, response) => {
  const writeHead = response.writeHead;
  response.writeHead = function (...args) {
    if (leaving) response.setHeader('Connection', 'close');
    return writeHead.apply(this, args);
  };
});
server.listen(Number(process.argv[2]), '127.0.0.1', 4096);
process.once('SIGTERM', () => {
  leaving = true;
  setTimeout(() => server.close(), 2000);
  setTimeout(() => server.closeAllConnections(), 8000).unref();
});

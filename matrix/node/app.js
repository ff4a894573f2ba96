// The application of both Node servers: it works on `http` and on `http2` (through the compatibility API).
'use strict';

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Writes, and waits while the client does not read; false when it is gone. */
async function push(response, piece) {
  if (response.destroyed || response.writableEnded) return false;
  if (!response.write(piece)) {
    await new Promise((done) => {
      const go = () => {
        response.off('drain', go);
        response.off('close', go);
        done();
      };
      response.on('drain', go);
      response.on('close', go);
    });
  }
  return !response.destroyed;
}

exports.answer = async (request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1');
  const number = (name, otherwise) => Number(url.searchParams.get(name) ?? otherwise);
  try {
    switch (url.pathname) {
      case '/echo':
        return response.end(await read(request));
      case '/upload': {
        let count = 0;
        for await (const piece of request) count += piece.length;
        return response.end(`${count}\n`);
      }
      case '/slow':
        await sleep(number('ms', 1000));
        return response.end('slow\n');
      case '/large': {
        let left = number('bytes', 1 << 20);
        response.setHeader('content-length', left);
        const piece = Buffer.alloc(64 * 1024, 'x');
        while (left > 0) {
          const now = Math.min(left, piece.length);
          if (!(await push(response, piece.subarray(0, now)))) return;
          left -= now;
        }
        return response.end();
      }
      case '/stream':
        for (let index = 1; index <= number('chunks', 10); index += 1) {
          if (index > 1) await sleep(number('ms', 100));
          if (!(await push(response, `chunk ${index}\n`))) return;
        }
        return response.end();
      case '/sse':
        response.setHeader('content-type', 'text/event-stream');
        for (let index = 1; await push(response, `id: ${index}\ndata: ${index}\n\n`); index += 1) {
          await sleep(number('ms', 100));
        }
        return;
      default:
        request.resume();
        return response.end('ok\n');
    }
  } catch {
    response.destroy?.();
  }
};

// From the signal to giving up; the matrix kills after 6 s.
exports.patience = 4000;

"""The application of gunicorn's workers."""

import os
import time
from urllib.parse import parse_qs


def app(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])

    def number(name, otherwise):
        return int(query.get(name, [otherwise])[0])

    def answer(body, *headers):
        start_response("200 OK", [("Content-Type", "text/plain"), *headers])
        return body

    match environ["PATH_INFO"]:
        case "/echo":
            body = environ["wsgi.input"].read()
            return answer([body], ("Content-Length", str(len(body))))
        case "/upload":
            count = 0
            while part := environ["wsgi.input"].read(65536):
                count += len(part)
            body = b"%d\n" % count
            return answer([body], ("Content-Length", str(len(body))))
        case "/slow":
            time.sleep(number("ms", 1000) / 1000)
            return answer([b"slow\n"], ("Content-Length", "5"))
        case "/large":
            size = number("bytes", 1 << 20)
            return answer(large(size), ("Content-Length", str(size)))
        case "/stream":
            return answer(stream(number("chunks", 10), number("ms", 100) / 1000))
        case "/sse":
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            return events(number("ms", 100) / 1000)
        case "/configured":
            return answer([os.environ.get("CONFIGURED", "").encode()])
        case _:
            return answer([b"ok\n"], ("Content-Length", "3"))


def large(left):
    while left > 0:
        now = min(left, 65536)
        left -= now
        yield b"x" * now


def stream(chunks, apart):
    for index in range(1, chunks + 1):
        if index > 1:
            time.sleep(apart)
        yield b"chunk %d\n" % index


def events(apart):
    index = 1
    while True:
        yield b"id: %d\ndata: %d\n\n" % (index, index)
        index += 1
        time.sleep(apart)

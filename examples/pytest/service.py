"""A small HTTP/1.1 service on asyncio, standard library only, that leaves well when it is told to stop.

    python3 service.py PORT

It stops in three steps: for WINDOW it serves on, and says `Connection: close` with every response; then it closes its
listener and gives open connections QUIET for one last request; then it waits for what is in flight, until GRACE is over.
With CARELESS=1 in its environment it exits at once instead, as most services do.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import struct
import sys
from urllib.parse import parse_qs, urlsplit

WINDOW = 0.5
QUIET = 0.3
GRACE = 3.0
LINGER = 1.0
MOST_HEAD = 16 * 1024
MOST_BODY = 8 * 1024 * 1024
FORCED = 124
SO_ATTACH_FILTER = 26
HANDSHAKE = 0.05
# BPF over the TCP header: the flags, without all but SYN and ACK; SYN alone is dropped, anything else passes.
DROP_SYNS = [(0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF)]


class Service:
    def __init__(self):
        self.leaving = False
        self.idle = {}
        self.open = set()

    def accept(self, listener):
        """Called when somebody waits. No task that accepts: cancelled at the wrong moment, it would drop whom it had taken."""
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                self.take(sock)

    def take(self, sock):
        task = asyncio.create_task(self.connection(sock))
        self.open.add(task)

    async def sweep(self, listener):
        """Takes what the kernel has completed already: closing the listener would reset it.

        Before that the kernel is told to drop what asks to connect (those try again in a second, and are refused), and
        handshakes that are under way get a moment to complete.
        """
        if sys.platform == "linux":
            filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in DROP_SYNS))
            program = struct.pack("HL", len(DROP_SYNS), ctypes.addressof(filters))
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
            await asyncio.sleep(HANDSHAKE)
        self.accept(listener)
        listener.close()

    def close_idle(self):
        """Closes what is idle, after a look: a request that is here already is served."""
        for task, sock in list(self.idle.items()):
            with contextlib.suppress(OSError), sock.dup() as again:
                if again.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    continue
            task.cancel()

    async def connection(self, sock):
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MOST_HEAD)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            while await self.exchange(reader, writer, task):
                pass
            # Said `close`: send FIN first and read on, so that no RST overtakes the last response.
            writer.write_eof()
            async with asyncio.timeout(LINGER):
                while await reader.read(64 * 1024):
                    pass
        except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self.open.discard(task)
            self.idle.pop(task, None)
            writer.close()

    async def exchange(self, reader, writer, task):
        """One request and its response; whether another may follow."""
        self.idle[task] = writer.get_extra_info("socket")
        first = await reader.readexactly(1)
        self.idle.pop(task, None)
        lines = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        fields = dict(line.lower().split(":", 1) for line in lines[1:] if ":" in line)
        if "100-continue" in fields.get("expect", ""):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(fields.get("content-length", "0"))
        if length > MOST_BODY or "transfer-encoding" in fields:
            status, answer = "413 Content Too Large", b"send less, with Content-Length\n"
        else:
            body = await reader.readexactly(length)
            status, answer = await self.answer(method, target, body)
        close = self.leaving or status.startswith("413") or "close" in fields.get("connection", "")
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\n"
        writer.write((head + ("Connection: close\r\n" if close else "") + "\r\n").encode() + answer)
        await writer.drain()
        return not close

    async def answer(self, method, target, body):
        url = urlsplit(target)
        if method == "POST" and url.path == "/echo":
            return "200 OK", body
        if url.path == "/slow":
            await asyncio.sleep(int(parse_qs(url.query).get("ms", ["100"])[0]) / 1000)
            return "200 OK", b"slow\n"
        if url.path == "/":
            return "200 OK", b"hello\n"
        if url.path == "/readyz":
            return ("503 Service Unavailable", b"leaving\n") if self.leaving else ("200 OK", b"ready\n")
        return "404 Not Found", b"not here\n"


async def main(port):
    service = Service()
    # Not `asyncio.start_server`: its `close` resets connections that were accepted a moment before.
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(listener, service.accept, listener)
    if not os.environ.get("CARELESS"):
        loop.add_signal_handler(signal.SIGTERM, told.set)
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await told.wait()

    service.leaving = True
    deadline = loop.time() + GRACE
    await asyncio.sleep(WINDOW)
    loop.remove_reader(listener)
    await service.sweep(listener)
    await asyncio.sleep(QUIET)
    service.close_idle()
    if service.open:
        await asyncio.wait(service.open, timeout=deadline - loop.time())
    return FORCED if service.open else 0


if __name__ == "__main__":
    code = asyncio.run(main(int(sys.argv[1])))
    sys.stdout.flush()
    # What is left is cut: `sys.exit` would wait for it.
    os._exit(code)

"""A closed-loop HTTP/2 client on the Python package h2, which does what a pool does: after a GOAWAY it opens another connection.

The package refuses every frame that comes after a GOAWAY, even the answer to an open stream (4.4.1), so this client takes the
GOAWAYs out of what it gives the package.

http2.py HOST:PORT COUNT: says "crossing" after a third of the requests, and exits with 0 if every one was answered with 200.
"""

import socket
import sys

import h2.config
import h2.connection
import h2.events

GOAWAY = 7


class Connection:
    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=30)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.flush()
        self.buffer = b""
        self.last_stream = None

    def frames(self):
        """What came, frame by frame; a GOAWAY is noted instead."""
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the connection ended without an answer")
        self.buffer += data
        while len(self.buffer) >= 9:
            length = 9 + int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < length:
                return
            frame, self.buffer = self.buffer[:length], self.buffer[length:]
            if frame[3] == GOAWAY:
                self.last_stream = int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF
            else:
                yield frame

    def flush(self):
        data = self.http.data_to_send()
        if data:
            self.socket.sendall(data)

    def post(self, number):
        """The status of the answer, or None if the request may be sent again: the server never processed it."""
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "a"),
                (":path", "/echo"),
                ("x-request-id", str(number)),
            ],
        )
        self.http.send_data(stream, b"x" * 100, end_stream=True)
        self.flush()
        status = None
        while True:
            events = [event for frame in self.frames() for event in self.http.receive_data(frame)]
            for event in events:
                if getattr(event, "stream_id", None) != stream:
                    continue
                elif isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[":status"]
                elif isinstance(event, h2.events.DataReceived):
                    self.http.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamReset):
                    raise EOFError(f"request {number}: reset with {event.error_code}")
                elif isinstance(event, h2.events.StreamEnded):
                    self.flush()
                    return status
            self.flush()
            if self.last_stream is not None and self.last_stream < stream:
                return None


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    count = int(sys.argv[2])
    connection = Connection((host, int(port)))
    for number in range(count):
        if number == count // 3:
            print("crossing", flush=True)
        status = None
        while status is None:
            if connection.last_stream is not None:
                connection.socket.close()
                connection = Connection((host, int(port)))
            status = connection.post(number)
        if status != "200":
            raise SystemExit(f"request {number}: status {status}")
    print("answered", count, flush=True)


main()

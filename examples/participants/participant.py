#!/usr/bin/env python3
"""Takes part in the shutdown of a service, with Python's standard library.

    participant.py SOCKET NAME

SOCKET is the service's control socket, as in `lameduck demo --control SOCKET`.
"""

import http.client
import json
import socket
import sys
import time


class Control(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("control")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def post(path, target, message):
    connection = Control(path)
    connection.request("POST", target, json.dumps(message))
    return connection.getresponse()


class Lost(Exception):
    """The connection ended, or there was none: join again."""


def take_part(path, name):
    """From hello to over; the connection of this one answer is our life in the service."""
    answer = post(path, "/v1/participants", {"name": name, "budget_ms": 500})
    if answer.status != 200:
        raise Lost(answer.read().decode())
    messages = (json.loads(line[6:]) for line in answer if line.startswith(b"data: "))
    session, closing, done = None, False, False

    def say(kind, **fields):
        post(path, f"/v1/sessions/{session}", {"type": kind, **fields}).read()

    try:
        for message in messages:
            match message["type"]:
                case "hello":
                    session = message["session"]
                    say("ready")
                    print("joined", flush=True)
                case "shutdown_request":
                    say("ack", id=message["id"])
                case "close":
                    closing = True
                    say("need_more", id=message["id"], wish=1, by_ms=2000, why="three batches are left")
                case "granted":
                    print("granted", message["by_ms"], "ms", flush=True)
                    # An operator may give time too, at any moment: only the answer to our wish lets us go on.
                    if message.get("wish") == 1 and closing and not done:
                        finish(say, message["id"])
                        # From here on: the service may leave before it has answered.
                        done = True
                        say("done", id=message["id"], figures={"batches": 3})
                case "over":
                    return message["state"]
    except (OSError, http.client.HTTPException):
        if not done:
            raise
    if done:
        # It took our word, and left.
        return "done"
    raise Lost("the stream ended without a last word")


def finish(say, drain):
    """Whatever must be done before we may go: here three batches, for which the budget is too short."""
    for batch in range(1, 4):
        time.sleep(0.2)
        say("working", id=drain, done=batch, total=3, note=f"batch {batch}")


def main():
    path, name = sys.argv[1:]
    pause = 0.5
    while True:
        began = time.monotonic()
        try:
            print("over:", take_part(path, name), flush=True)
            return
        except (Lost, OSError, http.client.HTTPException) as error:
            print("lost:", error, file=sys.stderr)
        # After a session that lasted it is another loss, not the same one again.
        if time.monotonic() - began > 15:
            pause = 0.5
        time.sleep(pause)
        pause = min(2 * pause, 15)


main()

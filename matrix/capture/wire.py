"""What was on the wire and what the kernel was asked: TCP streams and HTTP/2 frames by tshark, signals and exits by strace.

Nothing here or in `rules.py` shares a line with `lameduck verify`."""

import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property

FIN, SYN, RST = 0x01, 0x02, 0x04


@dataclass
class Event:
    """A segment that says something: `side` is C(lient) or S(erver)."""

    at: float
    side: str
    data: bytes
    flags: int


@dataclass
class Frame:
    """A frame of HTTP/2."""

    at: float
    side: str
    kind: int
    stream: int
    flags: int
    last: int = None  # of a GOAWAY
    code: int = None  # of a GOAWAY or RST_STREAM


@dataclass
class Stream:
    """A TCP connection."""

    number: int
    port: int
    events: list = field(default_factory=list)
    frames: list = field(default_factory=list)
    texts: dict = field(default_factory=dict)  # what was asked for before
    tickets: int = 0  # records that a server of TLS sends unasked behind a handshake

    @property
    def begun(self):
        return self.events[0].at

    def data(self, side):
        return [event for event in self.events if event.side == side and event.data]

    def text(self, side, until=float("inf"), after=float("-inf")):
        known = self.texts.get((side, until, after))
        if known is None:
            known = b"".join(event.data for event in self.data(side) if after < event.at <= until)
            self.texts[side, until, after] = known
        return known

    def end(self):
        """The server's first FIN or RST."""
        for event in self.events:
            if event.side == "S" and event.flags & (FIN | RST):
                return event
        return None

    def client_end(self):
        for event in self.events:
            if event.side == "C" and event.flags & (FIN | RST):
                return event
        return None

    @property
    def opened(self):
        """The handshake was completed by the server's kernel."""
        return any(event.side == "S" and event.flags & SYN for event in self.events)

    @cached_property
    def kind(self):
        first = self.text("C")[:2000]
        if not first:
            return "silent"
        if first[0] == 0x16:
            return "tls"
        if b"PRI * HTTP/2.0".startswith(first[:14]) or first.startswith(b"PRI * HTTP/2.0"):
            return "h2"
        if b"upgrade: websocket" in first.lower():
            return "ws"
        return "h1"


def tshark(pcap, *arguments):
    command = ["tshark", "-n", "-r", pcap, "-T", "fields", "-E", "separator=|", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return [line.split("|") for line in done.stdout.splitlines()]


def fields(*names):
    return [word for name in names for word in ("-e", name)]


def streams(pcap):
    """All connections of a capture, in the order of their beginnings."""
    rows = tshark(
        pcap,
        "-o",
        "tcp.desegment_tcp_streams:FALSE",
        # What is above TCP is read elsewhere.
        "-d",
        "tcp.port==1024-32767,data",
        *fields("tcp.stream", "frame.time_epoch", "tcp.srcport", "tcp.dstport", "tcp.flags", "tcp.len", "tcp.payload", "tcp.seq_raw"),
    )
    found, seen = {}, defaultdict(set)
    for number, at, source, target, flags, length, payload, sequence in rows:
        if not number:
            continue
        number, flags = int(number), int(flags, 16)
        if number not in found:
            if not flags & SYN:
                continue
            found[number] = Stream(number, int(target))
        stream = found[number]
        side = "S" if int(source) == stream.port else "C"
        data = bytes.fromhex(payload) if int(length or 0) else b""
        # What was sent again is said once.
        key = (side, sequence, len(data), flags & (FIN | SYN | RST))
        if (data or flags & (FIN | SYN | RST)) and key not in seen[number]:
            seen[number].add(key)
            stream.events.append(Event(float(at), side, data, flags))
    return list(found.values())


def add_frames(pcap, found):
    """HTTP/2 in plain text, as tshark reads it."""
    by_number = {stream.number: stream for stream in found if stream.kind == "h2"}
    ports = {stream.port for stream in by_number.values()}
    if not ports:
        return
    rows = tshark(
        pcap,
        *(word for port in sorted(ports) for word in ("-d", f"tcp.port=={port},http2")),
        "-Y",
        "http2",
        *fields(
            "tcp.stream",
            "frame.time_epoch",
            "tcp.srcport",
            "http2.type",
            "http2.streamid",
            "http2.flags",
            "http2.goaway.last_stream_id",
            "http2.goaway.error",
            "http2.rst_stream.error",
        ),
    )
    for number, at, source, kinds, ids, flags, last, goaway, reset in rows:
        stream = by_number.get(int(number))
        if stream is None or not kinds:
            continue
        lasts, goaways, resets = (iter(text.split(",")) for text in (last, goaway, reset))
        side = "S" if int(source) == stream.port else "C"
        for kind, where, flag in zip(kinds.split(","), ids.split(","), flags.split(",")):
            frame = Frame(float(at), side, int(kind), int(where or 0), int(flag or "0", 16))
            if frame.kind == 7:
                frame.last, frame.code = int(next(lasts)) & 0x7FFFFFFF, int(next(goaways))
            elif frame.kind == 3:
                frame.code = int(next(resets))
            stream.frames.append(frame)


@dataclass
class Launch:
    """A process that was told to stop."""

    pid: int
    begun: float
    told: float = None
    ended: float = None
    how: str = "still ran when the trace ended"
    kills: list = field(default_factory=list)  # when a process died of SIGKILL while this launch was the last


LINE = re.compile(r"^(\d+) +(\d+\.\d+) (.*)$")
KILL = re.compile(r"kill\((-?\d+), (SIG\w+)(?:\) += 0$| <unfinished)")
# A process may also be signalled by a descriptor: which it is of, and then the signal.
OPEN = re.compile(r"pidfd_open\((\d+), \w+(?:\) += (\d+)$| <unfinished)")
OPENED = re.compile(r"<\.\.\. pidfd_open resumed>.*\) += (\d+)$")
SEND = re.compile(r"pidfd_send_signal\((\d+), (SIG\w+), ")
EXIT = re.compile(r"\+\+\+ (exited with \d+|killed by \w+)")


def trace(path, signal):
    """Each process that the tester sent `signal`, and what became of it. Whoever became another program is no tester."""
    programs, told, ends, kills, tester = {}, {}, {}, [], None
    descriptors, opening = {}, {}
    for line in open(path, errors="replace"):
        found = LINE.match(line)
        if not found:
            continue
        pid, at, what = int(found[1]), float(found[2]), found[3]
        tester = tester or pid
        if what.startswith("execve(") and pid != tester:
            programs.setdefault(pid, at)
        elif kill := KILL.match(what):
            if kill[2] == signal and pid not in programs:
                told.setdefault(int(kill[1]), at)
        elif opened := OPEN.match(what):
            opening[pid] = int(opened[1])
            if opened[2]:
                descriptors[opened[2]] = opening[pid]
        elif resumed := OPENED.match(what):
            descriptors[resumed[1]] = opening[pid]
        elif sent := SEND.match(what):
            if sent[2] == signal and pid not in programs and sent[1] in descriptors:
                told.setdefault(descriptors[sent[1]], at)
        elif end := EXIT.match(what):
            ends.setdefault(pid, (at, end[1]))
            if "SIGKILL" in end[1]:
                kills.append(at)
    launches = []
    for pid, at in told.items():
        if pid not in programs:
            continue
        launch = Launch(pid, programs[pid], at)
        if pid in ends:
            launch.ended, launch.how = ends[pid]
        launches.append(launch)
    launches.sort(key=lambda launch: launch.begun)
    for launch, after in zip(launches, [*launches[1:], None]):
        launch.kills = [at for at in kills if launch.told <= at and (after is None or at < after.begun)]
    return launches


def owner(stream, launches):
    """The launch that `stream` went to: the last that had begun."""
    before = [launch for launch in launches if launch.begun <= stream.begun]
    return before[-1] if before else None

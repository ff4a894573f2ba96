"""For each id, which streams of a capture show what it is about, and which of those are broken: by times, bytes and flags alone.

A rule takes a stream and its launch and returns None (not about it), False (about it, and nothing is wrong) or True. T is
the instant at which the process was told to stop; times are seconds."""

import re

from wire import FIN, RST

HEAD_END = b"\r\n\r\n"
RULES = {}


def rule(*ids, kinds=("h1",)):
    def keep(function):
        for name in ids:
            RULES[name] = (function, kinds)
        return function

    return keep


def unanswered(stream):
    """The client's last bytes were followed by none of the server's, and not by the client's own end either; the server
    had not said that it would end before they were sent."""
    client = stream.data("C")
    if not client or not stream.opened:
        return False
    last = client[-1].at
    if answer(stream, last):
        return False
    end, gone = stream.end(), stream.client_end()
    if end and end.at < last - 0.001:
        return False
    # A client that ends first waited for nothing, unless it was long. Under TLS the server's alert is its end.
    ends = [event.at for event in stream.data("S") if event.at > last] + ([end.at] if end else [])
    if gone and (not ends or gone.at < min(ends)) and gone.at < last + 2:
        return False
    return end is not None or gone is not None


def answer(stream, after):
    """The server said something after an instant; under TLS alerts and tickets are no answer."""
    text = stream.text("S", after=after)
    if stream.kind != "tls":
        return bool(text)
    early = [kind for kind, _, _ in records(stream.text("C", until=after)) if kind == 23]
    said = [1 for kind, length, _ in records(text) if not is_alert(kind, length)]
    # The first records of the client that are secret end its handshake: tickets come behind them.
    first_request = 0 < len(early) <= 2 and len(list(records(stream.text("S", until=after)))) <= 4 + stream.tickets
    return len(said) > (stream.tickets if first_request and tickets_are_late(stream, after) else 0)


def tickets_are_late(stream, after):
    """Nothing of the server came between the end of the client's handshake and its request, as tickets would have."""
    secret = [event.at for event in stream.data("C") if any(kind == 23 for kind, _, _ in records(event.data))]
    return bool(secret) and not stream.text("S", after=secret[0], until=after)


def spoke(stream, until):
    """The client had sent a request, and the server an answer, before the instant of the client's last bytes."""
    secret = [event.at for event in stream.data("C") if any(kind == 23 for kind, _, _ in records(event.data))]
    return bool(secret) and bool(stream.text("S", after=secret[0], until=until - 0.0005))


def learn(streams):
    """How many tickets each port sends: the records behind a handshake and one request, without the answer, as most have it."""
    counts = {}
    for stream in streams:
        if stream.kind != "tls":
            continue
        secret = [event.at for event in stream.data("C") for kind, _, _ in records(event.data) if kind == 23]
        said = [1 for kind, length, _ in records(stream.text("S", after=secret[0])) if not is_alert(kind, length)] if secret else []
        if len(secret) == 2 and said:
            counts.setdefault(stream.port, []).append(len(said) - 1)
    every = [count for port in counts.values() for count in port]
    usual = max(set(every), key=every.count) if every else 0
    for stream in streams:
        stream.tickets = usual


def is_alert(kind, length):
    """As an alert, or as long as one that is secret is in TLS 1.3."""
    return kind == 21 or kind == 23 and length == 19


def told_close(text):
    """The last answer said that its connection ends."""
    head = text[text.rfind(b"HTTP/1.1 ") :]
    return b"connection: close" in head.lower()


def cut_by_kill(stream, launch):
    """Still open when a process of the launch was killed."""
    if not launch.kills:
        return False
    ends = [event.at for event in (stream.end(), stream.client_end()) if event]
    return stream.opened and (not ends or min(ends) >= launch.kills[0] - 0.002)


def first(stream, side="C"):
    data = stream.data(side)
    return data[0].at if data else None


def last(stream, side="C"):
    data = stream.data(side)
    return data[-1].at if data else None


def path(stream):
    found = re.match(rb"[A-Z]+ (\S+)", stream.text("C")[:300])
    return found[1].decode(errors="replace") if found else ""


def ends_early(stream):
    """The server's end, with less than a whole answer before it."""
    return stream.end() is not None and not whole(stream.text("S"))


def whole(text):
    """An HTTP/1.1 answer that is complete by its own framing."""
    head, found, body = text.partition(HEAD_END)
    if not found:
        return False
    if length := re.search(rb"content-length: *(\d+)", head, re.I):
        return len(body) >= int(length[1])
    return body.endswith(b"0\r\n\r\n")


def is_half(text):
    """It ends inside a head."""
    last = max(text.rfind(b"GET "), text.rfind(b"POST "), text.rfind(b"HEAD "))
    return last >= 0 and HEAD_END not in text[last:]


@rule("A3")
def queue(stream, launch):
    """Connected around T, its request at once behind the handshake, and before the server's end."""
    begun, sent = stream.begun, first(stream)
    if not stream.opened or not launch.told - 0.6 < begun or sent - begun > 0.05:
        return None
    return not stream.text("S") and unanswered(stream)


@rule("A4", kinds=("h1", "silent"))
def late(stream, launch):
    return None if not stream.opened else not stream.text("S")


@rule("H1-01")
def in_flight(stream, launch):
    """A request of 0.1 to 2 s before T that is not answered at T."""
    t = launch.told
    before = [event.at for event in stream.data("C") if event.at < t]
    if not before or not t - 2 < before[-1] < t - 0.1 or re.search("sse|stream|upload|large", path(stream)):
        return None
    # Half a head is not in flight yet: that is for H1-06.
    if is_half(stream.text("C", until=t)) or stream.text("S", after=before[-1], until=t):
        return None
    return unanswered(stream) and not told_close(stream.text("S"))


@rule("H1-02")
def idle(stream, launch):
    """Answered before T, and asked again up to 0.15 s after it."""
    t, sent = launch.told, last(stream)
    before = stream.text("C", until=t)
    if not stream.text("S", until=t) or not t <= sent <= t + 0.15 or told_close(stream.text("S", until=t)):
        return None
    if is_half(before):
        return None
    return unanswered(stream)


@rule("H1-04")
def silent(stream, launch):
    """Connected more than 0.05 s before T, first bytes up to 0.15 s after it."""
    t, sent = launch.told, first(stream)
    if not stream.opened or stream.begun > t - 0.05 or not t <= sent <= t + 0.15:
        return None
    return unanswered(stream)


@rule("H1-05")
def unread(stream, launch):
    """A whole request within 0.03 s before T."""
    t, sent = launch.told, last(stream)
    if not t - 0.03 <= sent <= t or is_half(stream.text("C")) or stream.begun > t - 0.05:
        return None
    if b" HTTP/1.1" not in stream.data("C")[-1].data:
        return None
    return unanswered(stream)


@rule("H1-06")
def half(stream, launch):
    """Half a head before T, the rest up to 0.15 s after it."""
    t, sent = launch.told, last(stream)
    if not is_half(stream.text("C", until=t)) or not t < sent <= t + 0.15:
        return None
    return unanswered(stream)


@rule("H1-08")
def pipelined(stream, launch):
    """Several requests in one segment before T: fewer answers than requests, and none that said close."""
    t = launch.told
    asked = max((event.data.count(b" HTTP/1.1\r\n") for event in stream.data("C") if event.at <= t), default=0)
    if asked < 2:
        return None
    answers = stream.text("S").count(b"HTTP/1.1 ")
    total = stream.text("C").count(b" HTTP/1.1\r\n")
    return answers < total and not told_close(stream.text("S"))


@rule("H1-09")
def upload(stream, launch):
    """Uploads under way at T: answered, or the stalled ones ended, before anything has to be killed."""
    t = launch.told
    sent = [event.at for event in stream.data("C")]
    if "upload" not in path(stream) or not sent or not sent[0] < t or stream.text("S", until=t).count(HEAD_END):
        return None
    end = stream.end()
    going_on = sent[-1] > t + 0.2 or end is not None and sent[-1] > end.at - 0.1
    return unanswered(stream) and going_on or cut_by_kill(stream, launch)


@rule("H1-10")
def reader(stream, launch):
    """Body of a large answer that the kernel still sent when its process had exited (or that never came)."""
    if "large" not in path(stream) or not launch.ended:
        return None
    late = sum(len(event.data) for event in stream.data("S") if event.at > launch.ended)
    return late > 0 or ends_early(stream)


@rule("H1-11")
def chunked(stream, launch):
    if "stream" not in path(stream) or not first(stream) < launch.told:
        return None
    endless = re.search(r"chunks=\d{4,}", path(stream))
    if endless:
        return cut_by_kill(stream, launch) or whole(stream.text("S"))
    return not whole(stream.text("S"))


@rule("H1-12")
def early(stream, launch):
    """A POST of more than it sends, first bytes after T: reset, by which an answer may be lost."""
    t, sent = launch.told, first(stream)
    if not stream.text("C").startswith(b"POST") or not t < sent < t + 0.3 or len(stream.text("C")) < 100_000:
        return None
    return any(event.side == "S" and event.flags & RST for event in stream.events)


@rule("H1-13")
def expecting(stream, launch):
    t = launch.told
    if b"100-continue" not in stream.text("C", until=t).lower():
        return None
    final = re.findall(rb"HTTP/1\.1 (\d+)", stream.text("S"))
    return not any(status != b"100" for status in final)


@rule("H1-14")
def events(stream, launch):
    """An event stream open at T: ended by a terminator behind an empty line, or not."""
    if "sse" not in path(stream) or not stream.text("S", until=launch.told) or stream.begun < launch.begun:
        return None
    return cut_by_kill(stream, launch) or not re.search(rb"\n\n\r\n0\r\n\r\n$", stream.text("S"))


@rule("L-H1")
def load(stream, launch):
    """Any request around T that met an end instead of an answer."""
    sent = last(stream)
    if sent < launch.told - 0.5:
        return None
    return unanswered(stream) and not told_close(stream.text("S"))


# HTTP/2, in plain text

DATA, HEADERS, RESET, SETTINGS, GOAWAY, WINDOW = 0, 1, 3, 4, 7, 8
REFUSED = 7


def asked(stream, side="C"):
    """Streams by number: (when asked, when the server ended it, the code of its RST_STREAM)."""
    found = {}
    for frame in stream.frames:
        if frame.stream and frame.side == "C" and frame.kind == HEADERS:
            found.setdefault(frame.stream, [frame.at, None, None])
        elif frame.stream in found and frame.side == "S":
            if frame.kind == RESET:
                found[frame.stream][2] = frame.code
            elif frame.kind in (DATA, HEADERS) and frame.flags & 1:
                found[frame.stream][1] = frame.at
    return found


def bound(stream):
    """The lowest stream number of the server's GOAWAYs: what is above it was not processed, and may be sent again."""
    return min((frame.last for frame in stream.frames if frame.kind == GOAWAY and frame.side == "S"), default=2**31)


def lost_streams(stream, since, until):
    return [
        number
        for number, (at, answered, reset) in asked(stream).items()
        if since <= at <= until and answered is None and reset != REFUSED and number <= bound(stream)
    ]


def about(stream, since, until):
    return any(since <= at <= until for at, _, _ in asked(stream).values())


def open_streams(stream, launch):
    """Streams of before T, no tunnels, that were not ended by the server, not refused, and not above a GOAWAY."""
    t = launch.told
    if not about(stream, t - 2, t) or b"websocket" in stream.text("C"):
        return None
    return bool(lost_streams(stream, launch.begun, t))


def waits(stream, launch):
    """The client opens the window of a stream after T."""
    t = launch.told
    return any(frame.kind == WINDOW and frame.side == "C" and frame.stream and frame.at > t for frame in stream.frames)


@rule("H2-02", kinds=("h2",))
def few(stream, launch):
    return open_streams(stream, launch) if len(asked(stream)) < 50 and not waits(stream, launch) else None


@rule("H2-07", kinds=("h2",))
def waiting(stream, launch):
    """The client had opened no window: its first SETTINGS say 0, or it opens one after T."""
    zero = b"\x00\x04\x00\x00\x00\x00" in stream.text("C")[:120]
    return open_streams(stream, launch) if zero or waits(stream, launch) else None


@rule("H2-08", kinds=("h2",))
def many(stream, launch):
    return open_streams(stream, launch) if len(asked(stream)) >= 50 else None


@rule("H2-03", kinds=("h2",))
def late_streams(stream, launch):
    """The same of streams opened after T, on connections of before."""
    t = launch.told
    return bool(lost_streams(stream, t, t + 1)) if stream.begun < t and about(stream, t, t + 1) else None


@rule("H2-04", kinds=("h2",))
def behind(stream, launch):
    """A stream above the last GOAWAY: its connection must not be reset."""
    if not any(number > bound(stream) for number in asked(stream)):
        return None
    return any(event.side == "S" and event.flags & RST for event in stream.events)


@rule("H2-06", kinds=("h2", "silent"))
def half_preface(stream, launch):
    """Open at T with half a preface, or no whole request: still there when the process had to be killed."""
    if asked(stream) or not stream.opened or stream.begun > launch.told or stream.client_end() and stream.client_end().at < launch.told:
        return None
    return cut_by_kill(stream, launch)


@rule("H2-10", kinds=("h2", "silent"))
def newcomers(stream, launch):
    """Accepted after T: the first stream of the connection."""
    if stream.begun < launch.told or not stream.opened or stream.kind != "h2":
        return None
    if not stream.frames or not asked(stream):
        return unanswered(stream) and stream.end() is not None
    return bool(lost_streams(stream, launch.told, float("inf")))


@rule("L-H2", kinds=("h2",))
def load_h2(stream, launch):
    t = launch.told
    return bool(lost_streams(stream, t - 0.5, t + 6)) if about(stream, t - 0.5, t + 6) else None


# WebSocket

CLOSE = 8


def frames(text):
    """Opcodes and payloads of a server's frames behind its 101, and how long they were to be."""
    text = text.partition(HEAD_END)[2]
    while len(text) >= 2:
        opcode, length, start = text[0] & 15, text[1] & 127, 2
        if length == 126:
            length, start = int.from_bytes(text[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(text[2:10], "big"), 10
        yield opcode, text[start : start + length], length
        text = text[start + length :]


def code(stream):
    """The code of the server's Close; None without one."""
    for opcode, payload, _ in frames(stream.text("S")):
        if opcode == CLOSE:
            return int.from_bytes(payload[:2], "big")
    return None


@rule("WS-01", kinds=("ws",))
def farewell(stream, launch):
    """Open at T: a Close of 1001 or 1012 before the end."""
    if b" 101 " not in stream.text("S", until=launch.told)[:20] or stream.client_end() and stream.client_end().at < launch.told:
        return None
    return code(stream) not in (1001, 1012)


@rule("WS-02", kinds=("ws",))
def torn(stream, launch):
    """Messages under way after T: the last frame of the server is not whole."""
    if b" 101 " not in stream.text("S", until=launch.told)[:20] or last(stream, "S") < launch.told:
        return None
    *_, final = [None, *frames(stream.text("S"))]
    return final is not None and len(final[1]) < final[2]


@rule("WS-03", kinds=("ws",))
def deaf(stream, launch):
    if b" 101 " not in stream.text("S", until=launch.told)[:20]:
        return None
    return cut_by_kill(stream, launch)


@rule("WS-05", kinds=("h2",))
def tunnel(stream, launch):
    """A stream of HTTP/2 that carried messages both ways at T: no bytes of the server look like a Close of 1001 or 1012."""
    if not any(frame.kind == SETTINGS and frame.side == "S" for frame in stream.frames):
        return None
    if not b"websocket" in stream.text("C") or not about(stream, launch.begun, launch.told):
        return None
    said = stream.text("S", after=launch.told)
    return not re.search(rb"\x88[\x02-\x7d]\x03[\xe9\xf4]", said)


@rule("L-WS", kinds=("ws",))
def load_ws(stream, launch):
    """A message that met an end without a Close."""
    if not stream.opened or last(stream) < launch.told - 0.5:
        return None
    return code(stream) is None and unanswered(stream)


# TLS: what is not secret are the lengths and types of records.


def records(text):
    while len(text) >= 5:
        length = int.from_bytes(text[3:5], "big")
        yield text[0], length, text[5 : 5 + length]
        text = text[5 + length :]


def shook_hands(stream):
    return len(list(records(stream.text("S")))) >= 4


@rule("TLS-1", kinds=("tls",))
def handshakes(stream, launch):
    """Not through at T: what the client sends up to 0.2 s after T is not answered, or the
    server ends it before that."""
    t, end = launch.told, stream.end()
    if not stream.begun < t - 0.05 or not first(stream) < t or shook_hands(Until(stream, t)):
        return None
    goes_on = any(t < event.at < t + 0.2 for event in stream.data("C"))
    if end and end.at < t + 0.2 and not shook_hands(stream):
        return True
    return unanswered(stream) if goes_on else None


class Until:
    """A stream as it stood at an instant."""

    def __init__(self, stream, at):
        self.stream, self.at = stream, at

    def text(self, side):
        return self.stream.text(side, until=self.at)


@rule("TLS-3", kinds=("tls",))
def notified(stream, launch):
    """Answered before T, ended by the server first, and not by the exit: the last record is an alert, or has the length of one."""
    end, gone = stream.end(), stream.client_end()
    if not spoke(stream, launch.told) or not end or end.at < launch.told or gone and gone.at < end.at:
        return None
    if launch.ended and end.at > launch.ended - 0.005 and launch.how != "exited with 0" or cut_by_kill(stream, launch):
        return None
    if end.flags & RST:
        return True
    kind, length, _ = list(records(stream.text("S")))[-1]
    return not is_alert(kind, length)


@rule("TLS-4", kinds=("tls",))
def newcomers_tls(stream, launch):
    """A new client around T: how long from its ClientHello to the server's first bytes; 0.7 s is broken."""
    sent = first(stream)
    if stream.begun < launch.told - 1 or not stream.opened:
        return None
    hello, end = first(stream, "S"), stream.end()
    if stream.text("C")[:1] != b"\x16" or len(stream.text("C")) < 200:
        return None
    until = hello or (end.at if end else None)
    return until is not None and until - sent > 0.7


@rule("L-TLS", kinds=("tls",))
def load_tls(stream, launch):
    if not shook_hands(stream) or last(stream) < launch.told - 0.5:
        return None
    return unanswered(stream) and not records_end(stream)


def records_end(stream):
    """The server had said close_notify before the client's last bytes."""
    sent = last(stream)
    known = list(records(stream.text("S", until=sent)))
    return bool(known) and is_alert(*known[-1][:2])


@rule("L-MIX", kinds=("h1", "h2", "ws", "tls"))
def load_all(stream, launch):
    if stream.kind == "h1":
        if "sse" in path(stream):
            return events(stream, launch)
        return load(stream, launch) if stream.data("C") else None
    return {"h2": load_h2, "ws": load_ws, "tls": load_tls}[stream.kind](stream, launch)

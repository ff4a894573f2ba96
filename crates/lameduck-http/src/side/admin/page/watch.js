"use strict";
// Where the statuses come from, what time it is there, and what is known when nothing comes any more.
const at = (id) => document.getElementById(id);
const phases = ["Initializing", "Running", "Terminating", "Draining", "Stopped"];
// The last status, when it came by this page's clock, and how it ended.
const seen = { status: null, came: 0, wall: null, gone: null, failed: 0 };
let stream = null;

// Milliseconds since the start of the process, as far as this page knows.
const uptime = () => seen.status.uptime_ms + (seen.gone ? 0 : performance.now() - seen.came);
const wall = (ms) => new Date(seen.status.started_unix_ms + ms);
const clock = (date) => date.toLocaleTimeString([], { hour12: false });

function span(ms) {
  const sign = ms < 0 ? "−" : "";
  const tenths = Math.floor(Math.abs(ms) / 100);
  if (tenths < 600) return `${sign}${Math.floor(tenths / 10)}.${tenths % 10} s`;
  const s = Math.floor(tenths / 10);
  if (s < 3600) return `${sign}${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${sign}${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${sign}${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

function say(text) {
  at("said").textContent = text;
}

function take(status) {
  const before = seen.status;
  const isOther = before && (before.pid !== status.pid || before.started_unix_ms !== status.started_unix_ms);
  if (isOther) {
    forgetMinute();
    say(`Another process answers: pid ${status.pid}, ${status.phase}`);
  } else if (!before || before.phase !== status.phase) {
    say(`${status.phase}${status.holds ? ". " + status.holds : ""}`);
  }
  seen.status = status;
  seen.came = performance.now();
  seen.wall = new Date();
  seen.gone = null;
  seen.failed = 0;
  remember(status);
  draw();
}

// The process ended, and said so or did not.
function end(status) {
  if (status) {
    seen.status = status;
    seen.came = performance.now();
    seen.wall = new Date();
  }
  if (!seen.status || seen.gone) return;
  seen.gone = { at: new Date(), said: Boolean(status) };
  say(goneSentence());
  draw();
}

function goneSentence() {
  const { status, gone, wall: last } = seen;
  const when = clock(gone.at);
  if (gone.said) {
    const code = status.exit ? `, exit code ${status.exit.code}` : "";
    return `Gone at ${when}: ${status.outcome_said || status.outcome}${code}.`;
  }
  return `Gone at ${when} without a last word, last seen at ${clock(last)} in ${status.phase}.`;
}

function listen() {
  stream = new EventSource("/events");
  stream.addEventListener("status", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("end", (event) => {
    stream.close();
    end(JSON.parse(event.data));
    again();
  });
  stream.addEventListener("error", () => {
    // Closed here, so that the page and not the browser chooses when to look again.
    stream.close();
    end(null);
    again();
  });
}

// Every two seconds at first, every fifteen later: the next process of a restart comes soon or late.
function again() {
  seen.failed += 1;
  setTimeout(listen, Math.min(15000, 2000 * Math.max(1, seen.failed - 5)));
}
